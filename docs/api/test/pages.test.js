/** The pages with React and Vue, made as a reader makes them, in a browser and at a real gateway. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchBrowser } from './desk.js';
import { beginning, pages } from './pages.js';
import { freePort, start, startExecutor, startGateway, until } from './rig.js';
import { isPrepared, prepared } from './tutorial.js';

let gateway;
let executor;
let browser;
const running = [];

beforeAll(async () => {
  if (!isPrepared()) throw new Error('node prepare.js first');
  gateway = await startGateway();
  executor = await startExecutor(gateway);
  browser = await launchBrowser();
});

afterAll(async () => {
  await browser?.close();
  // With what npx has started.
  for (const { child } of running) process.kill(-child.pid, 'SIGKILL');
  await executor?.stop();
  await gateway?.stop();
});

/** What is written for the usual port, for the gateway that is tested. */
const here = body => body.replaceAll('127.0.0.1:3001', `127.0.0.1:${gateway.port}`);

async function run(body, cwd) {
  const command = start('bash', ['-euc', body], { cwd });
  expect(await command.ended, command.said).toBe(0);
  return command.said;
}

/** Serves a folder, and opens it; what has gone wrong in the page. */
async function open(command, cwd, query) {
  const port = await freePort();
  const server = start('bash', ['-euc', `${command} --port ${port} --strictPort`], { cwd, detached: true });
  running.push(server);
  await until(
    () => `${command} to serve: ${server.said}`,
    () => server.code !== undefined || server.said.includes(`${port}`),
  );
  expect(server.code, server.said).toBeUndefined();
  const page = await browser.newPage();
  const faults = [];
  page.on('pageerror', error => faults.push(`${error}`));
  // Of an execution that nobody knows yet there is no history; that is an answer, which browsers tell as an error.
  const isAnswer = text => text.startsWith('Failed to load resource') && text.includes('404');
  page.on('console', it => it.type() === 'error' && !isAnswer(it.text()) && faults.push(it.text()));
  await page.goto(`http://localhost:${port}/${query}`);
  return { page, faults };
}

describe.each(pages)('with $name', ({ name, files, serve }) => {
  const place = join(prepared, 'pages', name.toLowerCase());

  it('shows an execution from its beginning, and answers its question', async () => {
    expect(files.length).toBeGreaterThan(3);
    for (const { path, body } of files) writeFileSync(join(place, path), here(body));
    const id = `approval-${name}`;
    const { page, faults } = await open(serve, place, `?execution=${id}`);
    await page.getByRole('heading', { name: `${id}: pending` }).waitFor();
    await page.getByText('Live').first().waitFor();
    await run(here(beginning).replace('approval-1', id));
    await page.getByRole('heading', { name: `${id}: running` }).waitFor();
    await page.getByText('checking: Roll out version 2').first().waitFor();
    await page.getByRole('button', { name: 'Yes' }).click();
    await page.getByRole('heading', { name: `${id}: completed` }).waitFor();
    await page.getByText('applied: Roll out version 2').waitFor();
    expect(faults).toEqual([]);
    await page.close();
  });

  it('is built for any web server', async () => {
    rmSync(join(place, 'dist'), { recursive: true, force: true });
    mkdirSync(place, { recursive: true });
    await run('npx vite build', place);
    const { page, faults } = await open('npx vite preview', place, `?execution=approval-${name}`);
    await page.getByRole('heading', { name: `approval-${name}: completed` }).waitFor();
    expect(faults).toEqual([]);
    await page.close();
  });
});
