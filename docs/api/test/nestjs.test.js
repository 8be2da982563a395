/** The NestJS recipe, as it stands: installed, compiled, run, and its gateway taken away meanwhile. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { freePort, root, start, startGateway, until } from './rig.js';

/** What its commands install; pinned, or it would be another test each day. */
const PINNED = {
  '@nestjs/common': '12.5.1',
  '@nestjs/core': '12.5.1',
  '@nestjs/platform-express': '12.5.1',
  'reflect-metadata': '0.2.2',
  rxjs: '7.8.2',
  typescript: '5.9.3',
  '@types/node': '20.19.43',
};

const text = readFileSync(join(root, 'docs/cookbook/nestjs.md'), 'utf8');
const blocks = [...text.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map(([, language, body]) => ({ language, body }));
const place = join(process.env.CARGO_TARGET_DIR ?? join(root, 'target'), 'docs-nestjs');
const commands = blocks.find(({ body }) => body.startsWith('npm install')).body;

let gateway;
let app;

beforeAll(async () => {
  const named = [...commands.matchAll(/^npm install (.+)$/gm)].flatMap(([, rest]) => rest.split(' ').slice(0));
  const packages = named.filter(one => !one.startsWith('--'));
  expect(packages.sort()).toEqual(Object.keys(PINNED).sort());
  mkdirSync(place, { recursive: true });
  rmSync(join(place, 'dist'), { recursive: true, force: true });
  const manifest = JSON.stringify({ private: true, type: 'module', dependencies: PINNED }, null, 2);
  const isInstalled =
    existsSync(join(place, 'node_modules/.made-of')) &&
    readFileSync(join(place, 'node_modules/.made-of'), 'utf8') === manifest;
  writeFileSync(join(place, 'package.json'), manifest);
  const run = (program, ...args) => execFileSync(program, args, { cwd: place, stdio: 'pipe', encoding: 'utf8' });
  if (!isInstalled) {
    run('npm', 'install', '--no-audit', '--no-fund', '--loglevel=error');
    writeFileSync(join(place, 'node_modules/.made-of'), manifest);
  }
  for (const { language, body } of blocks) {
    const [, name] = body.match(/^\/\/ (\S+)\n/) ?? [];
    if (name) writeFileSync(join(place, name), language === 'json' ? body.replace(/^.*\n/, '') : body);
  }
  expect(commands).toContain('npx tsc\n');
  run('npx', 'tsc');
  gateway = await startGateway();
}, 300_000);

afterAll(async () => {
  await app?.stop('SIGKILL');
  await gateway?.stop();
});

async function serve(port) {
  const [, entry] = commands.match(/^node (\S+)$/m);
  app = start('node', [entry], {
    cwd: place,
    env: { ...process.env, PORT: `${port}`, WEFT_GATEWAY_URL: gateway.url },
  });
  await until(
    () => `the application to serve: ${app.said}`,
    () => app.code !== undefined || app.said.includes('Nest application successfully started'),
  );
  expect(app.code, app.said).toBeUndefined();
}

const report = async (port, wished) => {
  const body = wished && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(wished) };
  const response = await fetch(`http://127.0.0.1:${port}/reports`, { method: 'POST', ...body });
  expect(response.status).toBe(202);
  return (await response.json()).executionId;
};

const types = async id => {
  const page = await (await fetch(`${gateway.url}/api/executions/${id}/events`)).json();
  return page.events?.map(({ type }) => type) ?? [];
};
const ALL = ['execution:started', 'node:started', 'log', 'log', 'log', 'node:completed', 'execution:completed'];

it('tells an execution in order, once, also while the gateway was away, and all of it before it ends', async () => {
  const port = await freePort();
  await serve(port);
  const first = await report(port);
  await until('the first report', async () => (await types(first)).includes('execution:completed'));
  expect(await types(first)).toEqual(ALL);
  const { status, result, userId } = await (await fetch(`${gateway.url}/api/executions/${first}`)).json();
  expect({ status, result, userId }).toEqual({ status: 'completed', result: { pages: 3 }, userId: 'ada' });

  // A node tells its end also where its work fails.
  const failing = await report(port, { pages: 0 });
  await until('the failure', async () => (await types(failing)).includes('execution:failed'));
  expect(await types(failing)).toEqual(['execution:started', 'node:started', 'node:failed', 'execution:failed']);

  // Frozen, it takes what is sent and answers nothing.
  gateway.child.kill('SIGSTOP');
  const second = await report(port);
  // Asked to end while its events wait, it stores them first.
  const ended = app.stop('SIGTERM');
  await new Promise(resolve => setTimeout(resolve, 500));
  expect(app.code).toBeUndefined();
  gateway.child.kill('SIGCONT');
  await ended;
  expect(await types(second)).toEqual(ALL);
});
