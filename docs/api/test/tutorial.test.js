/** The tutorial, executed as it stands: in a folder that has what the repository has, and a network of its own where possible. */
import { cpSync, existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Desk, launchBrowser } from './desk.js';
import { root, until } from './rig.js';
import { isPrepared, prepared, steps } from './tutorial.js';

let desk;
let work;
/** What the last command has written. */
let written = '';
let browser;
let page;

beforeAll(async () => {
  if (!isPrepared()) throw new Error('node prepare.js first');
  desk = await Desk.prepared(8000);
  work = desk.work;
  for (const name of ['Makefile', 'deploy', 'services', 'clients']) symlinkSync(join(root, name), join(work, name));
  browser = await launchBrowser();
  page = await browser.newPage();
});

afterAll(async () => {
  await browser?.close();
  await desk?.clear();
});

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
    const command = desk.shell(body);
    const code = await command.ended;
    written = command.said;
    expect(code, `${body}${written}`).toBe(0);
  },
  async start({ terminal, until: text, body }) {
    await desk.open(terminal, body, text);
  },
  async 'as printed'({ terminal, body }) {
    const printed = new RegExp(`^ +(${body.trim().replace(/\d+$/, '')}\\d+)$`, 'm');
    const [, command] = desk.terminal(terminal).said.match(printed) ?? [];
    expect(command, `${body} in ${desk.terminal(terminal).said}`).toBeTruthy();
    await act.run({ body: command });
  },
  async 'ctrl-c'({ rest }) {
    await desk.interrupt(rest);
  },
  async wait({ rest }) {
    const terminal = desk.terminal(rest);
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
