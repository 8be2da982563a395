/** The package as others get it: what it holds, that every entry can be imported, and that the README's examples compile. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createElement } from 'react';
import { renderToString } from 'react-dom/server';
import ts from 'typescript';
import { build } from 'vite';
import { beforeAll, expect, test } from 'vitest';
import { createSSRApp, h } from 'vue';
import { compileScript, parse } from 'vue/compiler-sfc';
import { renderToString as renderVue } from 'vue/server-renderer';

const root = new URL('../', import.meta.url).pathname;
const cache = `${root}.cache/package`;

beforeAll(() => {
  if (!existsSync(`${root}dist/index.js`)) throw new Error('there is no dist: npm run build');
  rmSync(cache, { recursive: true, force: true });
  mkdirSync(cache, { recursive: true });
});

/** The code blocks of the README that are programs. */
function examples(): { language: string; code: string }[] {
  const text = readFileSync(`${root}README.md`, 'utf8');
  return [...text.matchAll(/^```(ts|tsx|vue)\n([\s\S]*?)^```$/gm)].map(([, language = '', code = '']) => ({
    language,
    code,
  }));
}

test('it holds what it exports, and nothing else', () => {
  const [packed] = JSON.parse(
    execFileSync('npm', ['pack', '--dry-run', '--json'], { cwd: root, encoding: 'utf8', stdio: 'pipe' }),
  );
  const files: string[] = packed.files.map(({ path }: { path: string }) => path);
  const manifest = JSON.parse(readFileSync(`${root}package.json`, 'utf8'));
  const exported = Object.values(manifest.exports).flatMap(entry =>
    typeof entry === 'string' ? [entry] : Object.values(entry as object),
  );
  for (const path of exported as string[]) expect(files).toContain(path.slice(2));
  for (const file of files) expect(file).toMatch(/^(dist\/.*\.(js|d\.ts|css)|README\.md|LICENSE|package\.json)$/);
});

test('every entry can be imported, also on a server, where nothing is connected', async () => {
  const load = (entry: string) => import(/* @vite-ignore */ `${root}dist/${entry}`);
  for (const entry of ['index.js', 'zustand.js', 'pinia.js'])
    expect(Object.keys(await load(entry)).length).toBeGreaterThan(0);
  const react = await load('react/index.js');
  const vue = await load('vue/index.js');
  const inner = createElement(react.ExecutionStatus, { executionId: 'e' });
  expect(renderToString(createElement(react.WeftProvider, { url: 'https://weft.invalid' }, inner))).toContain(
    'Pending',
  );
  expect(renderToString(inner)).toContain('Pending');
  const app = createSSRApp({ render: () => h(vue.ExecutionStatus, { executionId: 'e' }) });
  expect(await renderVue(app.use(vue.weftPlugin, { url: 'https://weft.invalid' }))).toContain('Pending');
});

test('the examples of the README compile', () => {
  const found = examples();
  const count = (of: string) => found.filter(({ language }) => language === of).length;
  expect({ ts: count('ts'), tsx: count('tsx'), vue: count('vue') }).toEqual({ ts: 7, tsx: 2, vue: 1 });
  const files = found.map(({ language, code }, index) => {
    const path = `${cache}/example-${index}.${language === 'tsx' ? 'tsx' : 'ts'}`;
    writeFileSync(path, language === 'vue' ? fromVue(code) : code);
    return path;
  });
  writeFileSync(`${cache}/css.d.ts`, "declare module '*.css';\n");
  const program = ts.createProgram([...files, `${cache}/css.d.ts`], {
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    jsx: ts.JsxEmit.ReactJSX,
    lib: ['lib.es2022.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts'],
  });
  const faults = ts.getPreEmitDiagnostics(program).map(({ file, start, messageText }) => {
    const line = file && start !== undefined ? file.getLineAndCharacterOfPosition(start).line + 1 : 0;
    return `${file?.fileName}:${line} ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
  });
  expect(faults).toEqual([]);
});

/** A single-file component as a module: its script, with its template as a function, so that names in it are checked. */
function fromVue(code: string): string {
  const { descriptor, errors } = parse(code);
  expect(errors).toEqual([]);
  return compileScript(descriptor, { id: 'example', inlineTemplate: true }).content;
}

test('VITE_WS_URL names the gateway', async () => {
  writeFileSync(`${cache}/app.js`, "import { useWeft } from '@weft/client/react';\nglobalThis.app = useWeft;\n");
  writeFileSync(`${cache}/.env`, 'VITE_WS_URL=wss://named.example/api/ws\n');
  const built = await build({
    root: cache,
    configFile: false,
    logLevel: 'silent',
    build: { write: false, lib: { entry: `${cache}/app.js`, formats: ['es'] } },
  });
  const { output } = ([built].flat() as { output: { code?: string }[] }[])[0] ?? { output: [] };
  expect(output.some(({ code }) => code?.includes('wss://named.example/api/ws'))).toBe(true);
});
