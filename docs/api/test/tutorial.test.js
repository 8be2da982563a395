/** The tutorial, executed as it stands: in a folder that has what the repository has, and a network of its own where possible. */
import { cpSync, existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { built, folder, root, start, until } from './rig.js';
import { isPrepared, prepared, steps } from './tutorial.js';

const work = folder();
const terminals = new Map();
/** What the last command has written. */
let written = '';
let browser;
let page;

// Built already: `make run` must not build it again, nor anything else.
const inherited = Object.entries(process.env).filter(
  ([name]) => !name.startsWith('WEFT_') || name.startsWith('WEFT_TEST_'),
);
const env = { ...Object.fromEntries(inherited), MAKEFLAGS: 'BUILD=true', CARGO_TARGET_DIR: join(work, 'target') };

function listens(port) {
  return new Promise(resolve => {
    const socket = createConnection({ port, host: '127.0.0.1' });
    socket.on('connect', () => resolve(true) || socket.destroy()).on('error', () => resolve(false));
  });
}

beforeAll(async () => {
  for (const port of [3001, 3002, 3003, 4222, 8000])
    if (await listens(port))
      throw new Error(`port ${port} is in use; the tutorial needs it (unshare would give a network of its own)`);
  if (!isPrepared()) throw new Error('node prepare.js first');
  for (const name of ['Makefile', 'deploy', 'services', 'clients']) symlinkSync(join(root, name), join(work, name));
  mkdirSync(join(work, 'target/debug'), { recursive: true });
  for (const name of ['gateway', 'executor']) symlinkSync(built(name), join(work, 'target/debug', name));
  mkdirSync(join(work, '.cache'));
  const nats = join(root, '.cache/natsvenv');
  if (existsSync(nats)) symlinkSync(nats, join(work, '.cache/natsvenv'));
  const programs = [
    process.env.WEFT_TEST_CHROMIUM,
    '/usr/bin/chromium',
    '/usr/bin/chromium-browser',
    '/usr/bin/google-chrome',
  ];
  const executablePath = programs.find(path => path && existsSync(path));
  if (!executablePath) throw new Error('no Chromium: deploy/dev/fetch.sh chromium, or WEFT_TEST_CHROMIUM');
  browser = await chromium.launch({ executablePath, args: process.getuid?.() === 0 ? ['--no-sandbox'] : [] });
  page = await browser.newPage();
});

afterAll(async () => {
  await browser?.close();
  for (const terminal of terminals.values()) await interrupt(terminal);
});

async function interrupt(terminal) {
  if (terminal.code !== undefined) return;
  // Ctrl-C goes to everything that the terminal runs.
  process.kill(-terminal.child.pid, 'SIGINT');
  await until(
    () => `the terminal to end: ${terminal.said}`,
    () => terminal.code !== undefined,
  );
}

const shell = (body, more) => start('bash', ['-euc', body], { cwd: work, env, ...more });

/** A text in which `…` stands for anything, as a pattern. */
function pattern(text) {
  const parts = text.trim().split('…');
  return new RegExp(parts.map(part => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('[\\s\\S]*?'));
}

const act = {
  file({ path, body }) {
    mkdirSync(join(work, path, '..'), { recursive: true });
    writeFileSync(join(work, path), body);
  },
  prepare() {
    // Executed by prepare.js; here its outcome appears where the commands would have put it.
    if (!existsSync(join(work, 'hello')))
      cpSync(join(prepared, 'hello'), join(work, 'hello'), { recursive: true, verbatimSymlinks: true });
  },
  async run({ body }) {
    const command = shell(body);
    const code = await command.ended;
    written = command.said;
    expect(code, `${body}${written}`).toBe(0);
  },
  async start({ terminal, until: text, body }) {
    const command = shell(body, { detached: true });
    terminals.set(terminal, command);
    if (!text) return;
    const told = () => command.code !== undefined || command.said.includes(text);
    await until(() => `${body}to say "${text}": ${command.said}`, told);
    expect(command.said, body).toContain(text);
  },
  async 'as printed'({ terminal, body }) {
    const printed = new RegExp(`^ +(${body.trim().replace(/\d+$/, '')}\\d+)$`, 'm');
    const [, command] = terminals.get(terminal).said.match(printed) ?? [];
    expect(command, `${body} in ${terminals.get(terminal).said}`).toBeTruthy();
    await act.run({ body: command });
  },
  async 'ctrl-c'({ rest }) {
    await interrupt(terminals.get(rest));
  },
  async wait({ rest }) {
    const terminal = terminals.get(rest);
    await until(
      () => `terminal ${rest} to end: ${terminal.said}`,
      () => terminal.code !== undefined,
    );
    written = terminal.said;
    expect(terminal.code, written).toBe(0);
  },
  shown: ({ body }) => expect(written).toMatch(pattern(body)),
  async browser({ rest }) {
    const [, word, what] = rest.match(/^(\w+) (.+)$/);
    if (word === 'open') return page.goto(what);
    if (word === 'title') return expect(await page.title()).toContain(what);
    if (word === 'click') return page.getByRole('button', { name: what }).click();
    const [, place, text] = what.match(/^(\S+) (.+)$/);
    const read = async () =>
      (await page
        .locator(place)
        .textContent()
        .catch(() => '')) ?? '';
    let last = '';
    await until(
      () => `${place} of the page to say ${text}, it says ${last}`,
      async () => {
        last = await read();
        return last.includes(text);
      },
    );
  },
};

it('does what it says', { timeout: 120_000 }, async () => {
  const all = steps();
  for (const step of all) await act[step.kind](step);
  expect(all.filter(({ kind }) => ['run', 'start', 'prepare', 'as printed'].includes(kind)).length).toBeGreaterThan(10);
  expect(existsSync(join(work, 'hello'))).toBe(false);
});

it('notices output that is not as shown', () => {
  written = '{"accepted":2,"ids":["a"]}';
  expect(() => act.shown({ body: '{"accepted":1,"ids":["…"]}\n' })).toThrow();
  rmSync(join(work, 'hello'), { recursive: true, force: true });
});
