/** The documents are what their standards say, and hold every route and every code that the sources have. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import SwaggerParser from '@apidevtools/swagger-parser';
import { fromFile, Parser } from '@asyncapi/parser';
import { describe, expect, it } from 'vitest';
import { api, root } from './rig.js';
import { flaws, operations, read } from './specs.js';

const source = path => readFileSync(join(root, path), 'utf8');

describe.each(['openapi.yaml', 'executor.yaml', 'control.yaml'])('%s', name => {
  it('is OpenAPI 3.1', async () => {
    const document = await SwaggerParser.validate(join(api, name));
    expect(document.openapi).toMatch(/^3\.1\./);
    const broken = read(name);
    delete broken.info;
    await expect(SwaggerParser.validate(broken)).rejects.toThrow(/info/);
  });

  it('gives each operation a name of its own', () => {
    const names = operations(read(name)).map(operation => operation.operationId);
    expect(names.every(Boolean)).toBe(true);
    expect(new Set(names).size).toBe(names.length);
  });

  it('has examples that its own schemas accept', () => {
    let seen = 0;
    for (const { path, method, requestBody } of operations(read(name))) {
      for (const [type, { example, examples = {} }] of Object.entries(requestBody?.content ?? {})) {
        const at = `/paths/${path.replaceAll('/', '~1')}/${method}/requestBody/content/${type.replaceAll('/', '~1')}/schema`;
        for (const value of [example, ...Object.values(examples).map(named => named.value)].filter(
          one => one !== undefined,
        )) {
          expect(flaws(name, at, value)).toBe('');
          seen++;
        }
      }
    }
    expect(seen).toBeGreaterThan(0);
  });
});

/** `GET /x` for each route of an axum router; those for any method stand as `ANY`. */
function routes(text, router) {
  const begin = text.indexOf(`pub fn ${router}(`);
  const body = text.slice(begin, text.indexOf('\n}\n', begin));
  return [...body.matchAll(/\.route\(\s*"([^"]+)",\s*((?:[^()]|\([^()]*\))*)\)/g)].flatMap(([, path, methods]) =>
    [...methods.matchAll(/\b(get|post|put|delete|patch|any)\(/g)].map(
      ([, method]) => `${method.toUpperCase()} ${path}`,
    ),
  );
}

describe.each([
  ['openapi.yaml', 'services/gateway/src/http/mod.rs', 'router', ['/socket.io']],
  ['executor.yaml', 'services/executor/src/http.rs', 'router', []],
  ['control.yaml', 'services/gateway/src/http/control.rs', 'router_of_control', []],
])('%s and the router', (name, file, router, aliases) => {
  const text = source(file);
  const inSource = routes(text, router);

  it('finds every route of the source', () => {
    const begin = text.indexOf(`pub fn ${router}(`);
    const lines = text
      .slice(begin, text.indexOf('\n}\n', begin))
      .match(/\.route\(|\.route_service\(|\.nest|\.merge\(/g);
    expect(new Set(inSource.map(route => route.split(' ')[1])).size).toBe(lines.length);
  });

  it('documents each route, and nothing else', () => {
    const documented = operations(read(name)).map(({ path, method }) => `${method.toUpperCase()} ${path}`);
    const any = inSource.filter(route => route.startsWith('ANY ')).map(route => route.slice(4));
    const single = inSource.filter(route => !route.startsWith('ANY '));
    const ofAny = documented.filter(route => any.includes(route.split(' ')[1]));
    expect(any.filter(path => !aliases.includes(path) && !ofAny.some(route => route.endsWith(` ${path}`)))).toEqual([]);
    expect(documented.filter(route => !ofAny.includes(route)).sort()).toEqual(single.sort());
    expect(documented.length).toBeGreaterThan(4);
  });
});

describe('codes', () => {
  it('are those of the table that the service has', () => {
    const table = source('shared/dialect/src/told.rs');
    const codes = [...table.matchAll(/^ {4}[A-Z_]+ "([a-z_]+)" \d+ /gm)].map(([, code]) => code);
    expect(read('openapi.yaml').components.schemas.ErrorCode.enum).toEqual(codes);
    expect(codes.length).toBeGreaterThan(10);
  });

  it('of the executor are those of its table', () => {
    const codes = [...source('services/executor/src/refusal.rs').matchAll(/=> \("([a-z_]+)", StatusCode/g)].map(
      ([, code]) => code,
    );
    expect(read('executor.yaml').components.schemas.Error.properties.error.properties.code.enum).toEqual(codes);
    expect(codes.length).toBeGreaterThan(10);
  });
});

describe('asyncapi.yaml', () => {
  const problems = diagnostics =>
    diagnostics.filter(({ severity }) => severity === 0).map(({ message, path }) => `${path.join('.')}: ${message}`);

  it('is AsyncAPI 3.0', async () => {
    const { document, diagnostics } = await fromFile(new Parser(), join(api, 'asyncapi.yaml')).parse();
    expect(problems(diagnostics)).toEqual([]);
    expect(document.version()).toBe('3.0.0');
    const broken = read('asyncapi.yaml');
    broken.operations.tellClient.action = 'shout';
    const refused = await new Parser().parse(broken, { source: join(api, 'asyncapi.yaml') });
    expect(problems(refused.diagnostics)).not.toEqual([]);
  });

  it('has examples that its own schemas accept', () => {
    const { messages } = read('asyncapi.yaml').components;
    const examples = Object.entries(messages).flatMap(([key, { examples = [] }]) =>
      examples.map(({ payload }) => [key, payload]),
    );
    for (const [key, payload] of examples)
      expect(flaws('asyncapi.yaml', `/components/messages/${key}/payload`, payload)).toBe('');
    expect(examples.length).toBeGreaterThan(20);
  });

  it('names every type of event that the protocol lists, and no other', () => {
    const protocol = source('docs/PROTOCOL.md');
    const table = protocol.slice(
      protocol.indexOf('| type | `data` |'),
      protocol.indexOf('`execution:completed`, `execution:failed` and'),
    );
    const types = table
      .split('\n')
      .flatMap(row => [...(row.split('|')[1] ?? '').matchAll(/`([a-z_:]+)`/g)].map(([, type]) => type));
    const named = Object.entries(read('asyncapi.yaml').components.messages)
      .filter(([key]) => key.startsWith('event') && key !== 'eventOther')
      .map(([, { name }]) => name);
    expect(named.sort()).toEqual(types.sort());
    expect(types.length).toBeGreaterThan(20);
  });
});
