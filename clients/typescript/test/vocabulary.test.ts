/** What the client knows, held against what the gateway and its documentation know. */
import { readFileSync } from 'node:fs';
import ts from 'typescript';
import { expect, test } from 'vitest';
import { comeBack, LATER } from '../src/index.js';

const read = (path: string) => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');
const own = new URL('../src/core/event.ts', import.meta.url).pathname;
const matches = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].map(match => match.slice(1) as string[]);
const camel = (name: string) => name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());

/** The members of `WeftEvent`, each with the fields of its `data`, as the compiler sees them. */
function declare(): Map<string, { fields: string[]; required: string[] }> {
  const program = ts.createProgram([own], { strict: true, target: ts.ScriptTarget.ES2022 });
  const checker = program.getTypeChecker();
  const source = program.getSourceFile(own);
  const alias = source?.statements.find(it => ts.isTypeAliasDeclaration(it) && it.name.text === 'WeftEvent');
  if (!alias) throw new Error('no WeftEvent');
  const union = checker.getTypeAtLocation(alias) as ts.UnionType;
  const found = new Map<string, { fields: string[]; required: string[] }>();
  for (const member of union.types) {
    const of = (name: string) => checker.getTypeOfSymbol(member.getProperty(name) as ts.Symbol);
    const type = (of('type') as ts.StringLiteralType).value;
    const data = checker.getNonNullableType(of('data')).getProperties();
    const ids = type.startsWith('node:') ? ['nodeId'] : type.startsWith('agent:') ? ['agentId'] : [];
    const fields = data.filter(field => !ids.includes(field.name));
    found.set(type, {
      fields: fields.map(field => field.name).sort(),
      required: fields.filter(field => !(field.flags & ts.SymbolFlags.Optional)).map(field => field.name),
    });
  }
  return found;
}

let known: ReturnType<typeof declare> | undefined;
const declared = () => {
  known ??= declare();
  return known;
};

/** What the publisher library writes: each type with the struct of its data, and the structs' fields. */
function written(): Map<string, string[]> {
  const structs = new Map<string, string[]>();
  for (const [name, body] of matches(read('shared/publisher/src/data.rs'), /\n {4}(\w+) \{\n([\s\S]*?)\n {4}\}/g)) {
    structs.set(
      name ?? '',
      matches(body ?? '', /^ +(\w+): /gm).map(([field]) => camel(field ?? '')),
    );
  }
  const found = new Map<string, string[]>();
  const run = read('shared/publisher/src/run.rs');
  for (const [body] of matches(run, /pub (?:async )?fn (\w+\([\s\S]*?\n {4}\})/g)) {
    const type = /"([a-z_]+:[a-z_]+|log)"/.exec(body ?? '')?.[1];
    const data = /data: (?:impl Into<)?(?:data::)?(\w+)/.exec(body ?? '')?.[1];
    if (type) found.set(type, structs.get(data ?? '') ?? []);
  }
  return found;
}

/** Told by our executor alone: no function of the library takes it, and the table has it in brackets. */
const OF_THE_EXECUTOR: Record<string, string> = { 'node:started': 'dependsOn' };
const commonFields = (type: string) =>
  declared()
    .get(type)
    ?.fields.filter(field => field !== OF_THE_EXECUTOR[type]);

test('every event of the Rust vocabulary is a member of the union, with the same fields, and no other is', () => {
  const types = declared();
  const rust = written();
  expect(rust.size).toBeGreaterThan(20);
  // The library has no function of its own for `log` entries of every level; their struct is `Log`.
  for (const [type, fields] of rust) {
    expect(types.has(type), type).toBe(true);
    if (fields.length > 0) expect(commonFields(type), type).toEqual([...fields].sort());
  }
  expect([...types.keys()].filter(type => !rust.has(type) && type !== 'log')).toEqual([]);
});

test('the documented types, fields and necessities are the same', () => {
  const types = declared();
  const table = read('docs/PROTOCOL.md').split('| type | `data` |')[1]?.split('\n\n')[0] ?? '';
  const documented = new Map<string, { fields: string[]; required: string[] }>();
  for (const [names, data] of matches(table, /^\| (`.*?) \| (.*) \|$/gm)) {
    const text = data?.replace(/\(.*?\)/g, '').replace(/: [a-z ]+$/, '') ?? '';
    const fields = matches(text, /`(\w+\??)`/g).map(([field]) => field ?? '');
    const entry = {
      fields: fields.map(field => field.replace('?', '')).sort(),
      required: fields.filter(field => !field.endsWith('?')),
    };
    for (const [name] of matches(names ?? '', /`([\w:]+)`/g)) documented.set(name ?? '', entry);
  }
  expect([...documented.keys()].sort()).toEqual([...types.keys()].sort());
  for (const [type, { fields, required }] of documented) {
    // One row tells of the start and the end of a stream, and what it lists is of the end.
    if (type === 'agent:streaming_start') continue;
    expect(commonFields(type), type).toEqual(fields);
    expect(types.get(type)?.required.sort(), type).toEqual(required.sort());
  }
});

test('families and terminal types are those of the gateway', () => {
  const kind = read('shared/event/src/kind.rs');
  const families = matches(kind, /"(\w+)" => Family::\w+/g).map(([family]) => family);
  expect(new Set([...declared().keys()].map(type => type.split(':')[0]))).toEqual(new Set(families));
  const terminal = /fn is_terminal[\s\S]*?matches!\(self\.0, (.*)\)/.exec(kind)?.[1]?.match(/[\w:]+/g);
  const mine = /\/\^execution:\(([\w|]+)\)\$\//.exec(
    readFileSync(new URL('../src/core/follow.ts', import.meta.url), 'utf8'),
  )?.[1];
  expect(mine?.split('|').map(name => `execution:${name}`)).toEqual(terminal);
});

test('after each close and error code the client does what the table says', () => {
  const told = read('shared/dialect/src/told.rs');
  const words: Record<string, string> = { No: 'no', Yes: 'yes', Later: 'later', NewToken: 'token' };
  const closes = matches(told, /^ +[A-Z_]+ (\d{4}) (\w+) "/gm);
  expect(closes.length).toBeGreaterThan(10);
  for (const [code, come] of closes) expect(comeBack(Number(code)), code).toBe(words[come ?? '']);
  expect(comeBack(1006)).toBe('yes');
  const errors = matches(told, /^ +[A-Z_]+ "(\w+)" \d{3} (\w+) "/gm);
  expect(errors.length).toBeGreaterThan(20);
  for (const [code, come] of errors) expect(LATER.has(code ?? ''), code).toBe(come === 'Later' || come === 'Yes');
});

test('a snapshot has the fields that the gateway tells', () => {
  const rust = read('shared/event/src/snapshot.rs');
  const fieldsOf = (struct: string) => {
    const body = new RegExp(`struct ${struct}(?:<'a>)? \\{([\\s\\S]*?)\\n\\}`).exec(rust)?.[1] ?? '';
    return matches(body, /^ {4}(?:pub )?(\w+): /gm)
      .map(([field]) => camel(field ?? ''))
      .sort();
  };
  const source = readFileSync(new URL('../src/core/snapshot.ts', import.meta.url), 'utf8');
  const mine = (name: string) => {
    const body = new RegExp(`interface ${name} \\{([\\s\\S]*?)\\n\\}`).exec(source)?.[1] ?? '';
    return matches(body, /^ {2}(\w+)\??: /gm)
      .map(([field]) => field)
      .sort();
  };
  expect(mine('Snapshot')).toEqual(fieldsOf('Shown'));
  expect(mine('NodeState')).toEqual(fieldsOf('NodeState'));
});
