/** The first minutes of somebody who has just come: the README's own commands, as they stand there, in a copy of the tree. */
import { cpSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Desk, launchBrowser } from './desk.js';
import { root, until } from './rig.js';
import { prepared } from './tutorial.js';

const readme = readFileSync(join(root, 'README.md'), 'utf8');
/** The blocks of a section, in its order. */
function blocks(heading) {
  const from = readme.indexOf(`\n## ${heading}\n`);
  expect(from, heading).toBeGreaterThan(0);
  const section = readme.slice(from, readme.indexOf('\n## ', from + 4));
  return [...section.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map(([, language, body]) => ({ language, body }));
}
const first = blocks('Five minutes');
const raw = blocks('Publishing without a library');
const block = (all, language, part) => {
  const found = all.filter(one => one.language === language && one.body.includes(part));
  expect(found.length, `blocks of ${language} with ${part}`).toBe(1);
  return found[0].body;
};
/** A line of a block, without the comment after it. */
const line = (all, part) =>
  block(all, 'sh', part)
    .split('\n')
    .find(one => one.includes(part))
    .replace(/ +#.*$/, '');

const UP = 'Weft is up';
let desk;
let browser;

beforeAll(async () => {
  desk = await Desk.prepared();
  // The files that a clone has. What its first `make run` would build or fetch was put there by the desk.
  const own = ['target', '.git', '.cache', 'node_modules', 'dist'];
  for (const name of readdirSync(root))
    if (!own.includes(name))
      cpSync(join(root, name), join(desk.work, name), {
        recursive: true,
        filter: path => !/\/(node_modules|\.cache|dist|build|__pycache__|\.\w+_cache)$/.test(path),
      });
  browser = await launchBrowser();
});

afterAll(async () => {
  await browser?.close();
  await desk?.clear();
});

/** Runs commands to their end; what they wrote. */
async function run(body) {
  const command = desk.shell(body);
  expect(await command.ended, `${body}${command.said}`).toBe(0);
  return command.said;
}

const python = (body, program = 'python3') => run(`${program} - <<'PYTHON'\n${body}PYTHON\n`);

const hears = (terminal, text, times = 1) =>
  until(
    () => `${times} × "${text}" in ${terminal.said}`,
    () => terminal.said.split(text).length - 1 >= times,
  );

/** Opens the page at an execution, in the console or in the small page, whichever the gateway was built with. */
async function look(executionId) {
  const page = await browser.newPage();
  await page.goto('http://127.0.0.1:3001/');
  expect(await page.title()).toContain('Weft');
  const isSmall = (await page.locator('form#follow').count()) > 0;
  await page.goto(`http://127.0.0.1:3001/#${isSmall ? '' : '/executions/'}${executionId}`);
  if (isSmall) await page.reload();
  return page;
}

it('five minutes: the page, curl, Python, a workflow', { timeout: 90_000 }, async () => {
  await desk.open('fabric', block(first, 'sh', 'make run\n'), UP);
  const page = await look('hello');
  const follower = await desk.open('follower', block(first, 'sh', 'follow.py hello'), '"subscribed"');
  const said = await run(block(first, 'sh', '/api/events -H'));
  expect(said).toContain('"accepted":1');
  expect(said).toMatch(/"events":\[\{"type":"log","executionId":"hello".*"message":"Hello, Weft"/);
  await hears(follower, '"message":"Hello, Weft"');
  expect(await python(block(first, 'python', 'urllib'))).toContain('"accepted":1');
  await hears(follower, '"message": "Hello from Python"');
  for (const text of ['Hello, Weft', 'Hello from Python']) await page.getByText(text).first().waitFor();
  const { executionId } = JSON.parse((await run(block(first, 'sh', '/execute'))).match(/\{.*\}/)[0]);
  const state = async () => (await fetch(`http://127.0.0.1:3001/api/executions/${executionId}`)).json();
  await until('the workflow to run', async () => /running|completed/.test((await state()).status));
  await desk.interrupt('follower');
  await desk.interrupt('fabric');
});

it('on Redis: what redis-cli publishes arrives at both gateways', { timeout: 90_000 }, async () => {
  await desk.open('fabric', line(first, 'make run-redis'), UP);
  const page = await look('exec-1');
  const followers = [];
  for (const port of [3001, 3003])
    followers.push(await desk.open(port, `python3 deploy/dev/follow.py exec-1 ${port}`, '"subscribed"'));
  await run(block(raw, 'sh', 'redis-cli'));
  for (const follower of followers) await hears(follower, '"message":"hello"');
  await page.getByText('hello', { exact: true }).first().waitFor();
  for (const name of [3001, 3003, 'fabric']) await desk.interrupt(name);
});

it('on NATS: what a plain client publishes arrives, is kept, and survives its gateway', {
  timeout: 90_000,
}, async () => {
  const fabric = await desk.open('fabric', line(first, 'make run-nats'), UP);
  const follower = await desk.open('follower', 'python3 deploy/dev/follow.py exec-1 3001 3003', '"subscribed"');
  const own = join(prepared, 'readme/bin/python');
  expect(existsSync(own), 'node prepare.js first').toBe(true);
  await python(block(raw, 'python', 'nats.connect'), own);
  await hears(follower, '"message":"hello"');
  await natsPub(block(raw, 'sh', 'nats pub'));
  await hears(follower, '"message":"hello"', 2);
  // The gateway goes; what comes then is told by the other one, after what was told before.
  const [, pid] = fabric.said.match(/kill -9 (\d+)/);
  process.kill(Number(pid), 'SIGKILL');
  await python(block(raw, 'python', 'nats.connect'), own);
  await hears(follower, '"message":"hello"', 3);
  expect(follower.said.split('"message":"hello"').length - 1).toBe(3);
  for (const name of ['follower', 'fabric']) await desk.interrupt(name);
});

/** `nats pub <subject> '<payload>'`: by that program where it is there, else by what it says to a server. */
async function natsPub(body) {
  const has = await desk.shell('command -v nats').ended;
  if (has === 0) return run(body);
  const [, subject, payload] = body.match(/^nats pub (\S+) '([^']*)'\n$/);
  const socket = connect(4222, '127.0.0.1');
  let said = '';
  socket.on('data', data => {
    said += data;
  });
  socket.write(`CONNECT {"verbose":false}\r\nPUB ${subject} ${Buffer.byteLength(payload)}\r\n${payload}\r\nPING\r\n`);
  await until(
    () => `the server to take it: ${said}`,
    () => said.includes('PONG'),
  );
  socket.destroy();
}
