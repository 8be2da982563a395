/** What the package weighs, and that its core needs nothing. */
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { expect, test } from 'vitest';

const KB = 1000;
const base = { bundle: true, minify: true, format: 'esm', target: 'es2022', write: false } as const;
const source = (path: string) => new URL(`../src/${path}`, import.meta.url).pathname;
const weigh = (bytes: Uint8Array) => gzipSync(bytes, { level: 9 }).length;

test('the core is smaller than 8 KB gzipped; what few pages need is fetched by those that do', async () => {
  const rest = ['./fallback.js', './history.js', './http.js'];
  const core = await build({ ...base, entryPoints: [source('index.ts')], external: rest });
  const all = await build({ ...base, entryPoints: [source('index.ts')] });
  const [coreBytes, allBytes] = [core, all].map(({ outputFiles }) =>
    weigh(outputFiles[0]?.contents ?? new Uint8Array()),
  );
  process.stdout.write(`core ${coreBytes} bytes gzipped, with requests, history and the fallback ${allBytes}\n`);
  expect(coreBytes).toBeLessThan(8 * KB);
  expect(allBytes).toBeLessThan(12 * KB);
});

test('the core imports nothing from elsewhere', async () => {
  const { metafile } = await build({ ...base, entryPoints: [source('index.ts')], metafile: true, platform: 'neutral' });
  for (const input of Object.keys(metafile.inputs)) expect(input).toMatch(/^src\//);
});

test('the package has no dependencies of its own', () => {
  const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  expect(manifest.dependencies).toBeUndefined();
  for (const name of Object.keys(manifest.peerDependencies))
    expect(manifest.peerDependenciesMeta[name].optional).toBe(true);
  for (const version of Object.values(manifest.devDependencies)) expect(version).toMatch(/^\d+\.\d+\.\d+/);
});
