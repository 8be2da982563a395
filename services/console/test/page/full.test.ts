/** What takes long: gateways that die, networks that go, floods. */
import type { Page } from 'playwright-core';
import { afterAll, afterEach, expect, test } from 'vitest';
import { endAll, sleep, until } from '../../../../clients/typescript/test/rig/index.js';
import { publish, startBroker, startGateway } from '../../../../clients/typescript/test/rig/processes.js';
import { endBrowser, front, hasLines, live, open, passage } from './rig.js';

afterEach(endAll);
afterAll(endBrowser);

const log = (executionId: string, message: string) => ({ type: 'log', executionId, data: { level: 'info', message } });

/** Publishes numbered lines, and knows which. */
function source(http: string, executionId: string) {
  const lines: string[] = [];
  return {
    lines,
    async some(count: number) {
      const own = Array.from({ length: count }, (_, n) => `line ${lines.length + n}`);
      lines.push(...own);
      await publish(
        http,
        own.map(message => log(executionId, message)),
      );
    },
  };
}

test('the gateway under the page is killed, and the page goes on at the other: no line is missing, none comes twice', async () => {
  const bus = await startBroker('nats');
  const [one, two] = [await startGateway(bus), await startGateway(bus)];
  const { page, faults } = await open(`${(await front([one.address, two.address])).url}#/executions/e`);
  await live(page);
  const { some, lines } = source(two.http, 'e');
  await some(50);
  await hasLines(page, lines);
  let isOver = false;
  const publishing = (async () => {
    while (!isOver) {
      await some(5);
      await sleep(20);
    }
  })();
  await sleep(500);
  // It must be seen that the page lost its connection, however short.
  const lost = page.locator('.badge[data-state="reconnecting"]').waitFor();
  await one.kill();
  await lost;
  await live(page);
  await sleep(1000);
  isOver = true;
  await publishing;
  expect(lines.length).toBeGreaterThan(150);
  await hasLines(page, lines);
  expect(faults).toEqual([]);
});

test('a page that was offline says so, and catches up when it is online again', async () => {
  const gateway = await startGateway();
  const door = await front([gateway.address]);
  const { page, faults } = await open(`${door.url}#/executions/e`);
  await live(page);
  const { some, lines } = source(gateway.http, 'e');
  await some(100);
  await hasLines(page, lines);
  for (let round = 0; round < 2; round++) {
    await page.context().setOffline(true);
    door.close();
    await page.locator('.badge[data-state="disconnected"]').getByText('Offline').waitFor();
    await some(300);
    door.open();
    await page.context().setOffline(false);
    await live(page);
    await hasLines(page, lines);
  }
  expect(faults).toEqual([]);
});

test('while the broker is away the page says so, and goes on when it is back', async () => {
  const broker = new URL(await startBroker('nats'));
  const door = await passage(Number(broker.port));
  const gateway = await startGateway(`nats://${door.address}`);
  const { page } = await open(`${(await front([gateway.address])).url}#/executions/e`);
  await live(page);
  const { some, lines } = source(gateway.http, 'e');
  await some(20);
  door.close();
  await page.getByRole('alert').getByText('The gateway has lost its broker.').waitFor();
  await page.locator('.badge').getByText('Broker away').waitFor();
  door.open();
  await page.locator('.badge').getByText('Live').waitFor({ timeout: 60_000 });
  await some(20);
  await hasLines(page, lines);
});

test('an execution that nobody knows yet appears when it begins, and its failure is told', async () => {
  const gateway = await startGateway();
  const { page } = await open(`${(await front([gateway.address])).url}#/executions/later`);
  await live(page);
  await page.getByText('Nothing is known of its beginning.').waitFor();
  await publish(gateway.http, { type: 'execution:started', executionId: 'later', data: {} });
  await page.locator('.head .status.running').waitFor();
  await publish(gateway.http, { type: 'execution:failed', executionId: 'later', data: { error: 'no more disk' } });
  await page.locator('.head .status.failed').waitFor();
  await page.locator('pre.bad').getByText('no more disk').waitFor();
  // A prompt and a command that nobody can take are answered in words.
  await publish(gateway.http, [
    { type: 'execution:started', executionId: 'alone', data: {} },
    { type: 'user_input:required', executionId: 'alone', data: { requestId: 'r', prompt: 'Anybody there?' } },
  ]);
  await page.goto(`${page.url().split('#')[0]}#/executions/alone`);
  await page.getByRole('textbox', { name: 'Anybody there?' }).fill('hello');
  await page.getByRole('button', { name: 'Answer' }).click();
  await page.getByText('No executor runs this at the moment.').waitFor();
});

/** Lines a second, and seconds. */
const [RATE, SECONDS] = [10_000, 10];
/** Longest task in the page, in milliseconds. */
const TASK_MS_MAX = 200;

test('10,000 lines a second for 10 s: the page stays responsive, and has all of them', {
  timeout: 480_000,
}, async () => {
  // Compressing costs a gateway that was built for debugging more than all the rest.
  const gateway = await startGateway('memory:', { WEFT_RETENTION_EVENTS: '200000', WEFT_COMPRESSION: 'false' });
  const { url } = await front([gateway.address]);
  // Where others keep the machine busy, the gateway may not take as many, and the page may have to wait for its turn. Then
  // it is tried again: in one and the same run it must be fast enough to be a test, and no task of the page too long.
  const runs: { tookMs: number; longestMs: number }[] = [];
  const isGood = ({ tookMs, longestMs }: (typeof runs)[number]) =>
    tookMs <= SECONDS * 1000 * 1.15 && longestMs <= TASK_MS_MAX;
  while (!runs.some(isGood) && runs.length < 5) runs.push(await flood(gateway.http, url, `flood-${runs.length}`));
  expect(runs.some(isGood), `10 s of 10,000 lines, no task over 200 ms: ${JSON.stringify(runs)}`).toBe(true);
});

test('100,000 lines that were told before are all there when the page opens', { timeout: 240_000 }, async () => {
  const gateway = await startGateway('memory:', { WEFT_RETENTION_EVENTS: '200000' });
  const { some, lines } = source(gateway.http, 'e');
  while (lines.length < RATE * SECONDS) await some(1000);
  const { page } = await open((await front([gateway.address])).url);
  await live(page);
  const longTasks = await watchTasks(page);
  await page.goto(`${page.url().split('#')[0]}#/executions/e`);
  await hasLines(page, lines);
  expect(Math.max(0, ...(await longTasks()))).toBeLessThanOrEqual(TASK_MS_MAX);
});

test('of 1,000 nodes that change all the time only those on the screen are drawn', async () => {
  const gateway = await startGateway();
  const of = (type: string, n: number, data: object = {}) => ({ type, executionId: 'wide', nodeId: `node-${n}`, data });
  const numbers = Array.from({ length: 1000 }, (_, n) => n);
  await gateway.publish({ type: 'execution:started', executionId: 'wide', data: {} });
  await gateway.publish(numbers.map(n => of('node:started', n)));
  const { page } = await open(`${(await front([gateway.address])).url}#/executions/wide`);
  await page.getByRole('heading', { name: 'Nodes 1000' }).waitFor();
  const longTasks = await watchTasks(page);
  for (let n = 0; n < 100; n++) {
    await gateway.publish(numbers.slice(0, 20).map(node => of('node:progress', node, { progress: n })));
    await sleep(20);
  }
  await page.getByRole('row', { name: /^node-0 .*99 %/ }).waitFor();
  const nodes = page.getByRole('group', { name: 'Nodes over time' });
  expect(await nodes.getByRole('button').count()).toBeLessThan(120);
  await nodes.evaluate(element => element.scrollTo(0, element.scrollHeight));
  await nodes.getByRole('button', { name: 'node-999' }).waitFor();
  expect(Math.max(0, ...(await longTasks()))).toBeLessThanOrEqual(TASK_MS_MAX);
});

/** Notes tasks of the page that take longer than 50 ms; the answer tells them, in milliseconds. */
async function watchTasks(page: Page): Promise<() => Promise<number[]>> {
  await page.evaluate(() => {
    const tasks: number[] = [];
    Object.assign(globalThis, { tasks });
    new PerformanceObserver(list => {
      for (const { duration } of list.getEntries()) tasks.push(duration);
    }).observe({ type: 'longtask' });
  });
  return () => page.evaluate(() => (globalThis as unknown as { tasks: number[] }).tasks);
}

/** Has a page see the flood, and use it meanwhile; tells how long publishing took, and the longest task in the page. */
async function flood(http: string, url: string, executionId: string): Promise<{ tookMs: number; longestMs: number }> {
  const { page, faults } = await open(`${url}#/executions/${executionId}`);
  await live(page);
  const longTasks = await watchTasks(page);
  const batch = RATE / 20;
  const bodies = Array.from({ length: SECONDS * 20 }, (_, n) =>
    JSON.stringify(Array.from({ length: batch }, (_, m) => log(executionId, `line ${n * batch + m}`))),
  );
  const search = page.getByRole('searchbox', { name: 'Search in the log' });
  const showAll = page.getByRole('button', { name: 'Show all' });
  const began = performance.now();
  for (const [n, body] of bodies.entries()) {
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(`${http}/api/events`, { method: 'POST', headers, body });
    expect(response.status).toBe(202);
    await sleep(Math.max(0, began + (n + 1) * 50 - performance.now()));
    // It answers while lines pour in.
    if (n === 60) await page.getByRole('button', { name: /^Debug/ }).click();
    if (n === 80) await search.fill('line 1');
    if (n === 120) await showAll.click();
  }
  const tookMs = performance.now() - began;
  const count = page.locator('.log h2 .figure');
  await until(async () => (await count.textContent()) === '100,000', 'all lines', 60_000).catch(async error => {
    throw new Error(`${await count.textContent()} lines`, { cause: error });
  });
  const shownMs = performance.now() - began;
  await page.getByRole('option', { name: /line 99999/ }).waitFor();
  await search.fill('line 77');
  await page.getByRole('heading', { name: /Log 1,111 of 100,000/ }).waitFor();
  await showAll.click();
  const tasks = await longTasks();
  const longestMs = Math.max(0, ...tasks);
  process.stdout.write(
    `published in ${(tookMs / 1000).toFixed(1)} s, shown after ${(shownMs / 1000).toFixed(1)} s; ` +
      `${tasks.length} tasks over 50 ms, the longest ${longestMs} ms\n`,
  );
  await hasLines(
    page,
    Array.from({ length: RATE * SECONDS }, (_, n) => `line ${n}`),
  );
  expect(faults).toEqual([]);
  await page.context().close();
  return { tookMs, longestMs };
}
