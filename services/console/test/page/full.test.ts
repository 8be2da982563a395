/** What takes long: gateways that die, networks that go, floods. */
import type { Page } from 'playwright-core';
import { afterAll, afterEach, expect, test } from 'vitest';
import { endAll, ends, sleep, until } from '../../../../clients/typescript/test/rig/index.js';
import { publish, startBroker, startGateway } from '../../../../clients/typescript/test/rig/processes.js';
import { Scripted } from '../../../../clients/typescript/test/rig/scripted.js';
import { endBrowser, front, hasLines, live, open, passage } from './rig.js';
import { watchTasks } from './tasks.js';

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
const ALL = RATE * SECONDS;
/** Lines of a frame: events that come one by one are told a few at a time. */
const LINES_A_FRAME = 10;
/** The part of the rate that must be reached at least: a machine that others use as well is late now and then. */
const RATE_PART_MIN = 0.9;
/** The longest task of the page may use a processor for so long, in milliseconds. */
const TASK_MS_MAX = 200;

// A gateway that was built for debugging, on a machine that others use as well, tells fewer lines a second than this. So they
// come from one that only sends, at their pace, whatever becomes of it; the next test has a real one, at whatever pace it has.
test('10,000 lines a second for 10 s: the page takes them in less than their time, and answers meanwhile', {
  timeout: 240_000,
}, async () => {
  const gateway = ends(await Scripted.start(), it => it.stop());
  const { page, faults } = await open(`${(await front([gateway.address])).url}#/executions/flood`);
  await live(page);
  await until(() => gateway.connections.at(-1)?.rooms.has('execution:flood'), 'the page follows');
  const { socket } = gateway.last;
  const told = (n: number) =>
    JSON.stringify({ ...log('flood', `line ${n}`), id: `${n}`, offset: `a.${n + 1}.00000000` });
  const frames = Array.from({ length: ALL / LINES_A_FRAME }, (_, frame) =>
    Array.from({ length: LINES_A_FRAME }, (_, n) => told(frame * LINES_A_FRAME + n)).join('\n'),
  );
  const tasks = await watchTasks(page);
  const using = use(page);
  const began = performance.now();
  for (let sent = 0; sent < frames.length; ) {
    const due = Math.min(frames.length, Math.floor(((performance.now() - began) / 1000 / SECONDS) * frames.length));
    for (; sent < due; sent++) socket.send(frames[sent] as string);
    await sleep(5);
  }
  // What still waits in the sender has not been sent.
  await until(() => socket.bufferedAmount === 0, 'all is sent', 120_000);
  const sentMs = performance.now() - began;
  await hasCount(page, ALL);
  const shownMs = performance.now() - began;
  await using;
  const { longestMs, totalMs } = await tasks();
  process.stdout.write(
    `sent in ${seconds(sentMs)}, shown after ${seconds(shownMs)}, of which the page computed ${seconds(totalMs)}\n`,
  );
  await endsWith(page, ALL);
  expect(faults).toEqual([]);
  // Figures of a flood that was none would say nothing.
  expect(ALL / (sentMs / 1000), 'lines a second that were sent').toBeGreaterThanOrEqual(RATE * RATE_PART_MIN);
  expect(longestMs).toBeLessThanOrEqual(TASK_MS_MAX);
  expect(totalMs, 'the page would keep up with this for ever').toBeLessThan(SECONDS * 1000);
});

test('a task that takes long is noticed', async () => {
  const gateway = ends(await Scripted.start(), it => it.stop());
  const { page } = await open((await front([gateway.address])).url);
  await live(page);
  const tasks = await watchTasks(page);
  const wallMs = 20 * TASK_MS_MAX;
  await page.evaluate(ms => {
    for (const end = performance.now() + ms; performance.now() < end; );
  }, wallMs);
  const { longestMs, totalMs } = await tasks();
  // Of a processor it has less than of time where others use the machine as well.
  expect(longestMs).toBeGreaterThan(TASK_MS_MAX);
  expect(totalMs).toBeGreaterThanOrEqual(longestMs);
});

test('100,000 lines pour in from a real gateway: all of them are there, and the page answers meanwhile', {
  timeout: 480_000,
}, async () => {
  const gateway = await startGateway('memory:', { WEFT_RETENTION_EVENTS: '200000' });
  const { page, faults } = await open(`${(await front([gateway.address])).url}#/executions/flood`);
  await live(page);
  const tasks = await watchTasks(page);
  const using = use(page);
  const began = performance.now();
  const { some } = source(gateway.http, 'flood');
  for (let n = 0; n < ALL; n += 500) await some(500);
  const publishedMs = performance.now() - began;
  await hasCount(page, ALL);
  await using;
  const { longestMs } = await tasks();
  process.stdout.write(`published in ${seconds(publishedMs)}: ${Math.round(ALL / publishedMs)} lines a millisecond\n`);
  await endsWith(page, ALL);
  expect(faults).toEqual([]);
  expect(longestMs).toBeLessThanOrEqual(TASK_MS_MAX);
});

test('100,000 lines that were told before are all there when the page opens', { timeout: 240_000 }, async () => {
  const gateway = await startGateway('memory:', { WEFT_RETENTION_EVENTS: '200000' });
  const { some, lines } = source(gateway.http, 'e');
  while (lines.length < ALL) await some(1000);
  const { page } = await open((await front([gateway.address])).url);
  await live(page);
  const tasks = await watchTasks(page);
  await page.goto(`${page.url().split('#')[0]}#/executions/e`);
  await hasCount(page, ALL);
  const { longestMs } = await tasks();
  await hasLines(page, lines);
  expect(longestMs).toBeLessThanOrEqual(TASK_MS_MAX);
});

test('of 1,000 nodes that change all the time only those on the screen are drawn', async () => {
  const gateway = await startGateway();
  const of = (type: string, n: number, data: object = {}) => ({ type, executionId: 'wide', nodeId: `node-${n}`, data });
  const numbers = Array.from({ length: 1000 }, (_, n) => n);
  await gateway.publish({ type: 'execution:started', executionId: 'wide', data: {} });
  await gateway.publish(numbers.map(n => of('node:started', n)));
  const { page } = await open(`${(await front([gateway.address])).url}#/executions/wide`);
  await page.getByRole('heading', { name: 'Nodes 1000' }).waitFor();
  const tasks = await watchTasks(page);
  for (let n = 0; n < 100; n++) {
    await gateway.publish(numbers.slice(0, 20).map(node => of('node:progress', node, { progress: n })));
    await sleep(20);
  }
  await page.getByRole('row', { name: /^node-0 .*99 %/ }).waitFor();
  const nodes = page.getByRole('group', { name: 'Nodes over time' });
  expect(await nodes.getByRole('button').count()).toBeLessThan(120);
  await nodes.evaluate(element => element.scrollTo(0, element.scrollHeight));
  await nodes.getByRole('button', { name: 'node-999' }).waitFor();
  expect((await tasks()).longestMs).toBeLessThanOrEqual(TASK_MS_MAX);
});

const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;

/** Uses the page as a reader would while lines pour in: a level is hidden, something is searched for, all is shown again. */
async function use(page: Page): Promise<void> {
  const count = page.locator('.log h2 .figure');
  const some = (least: number) =>
    until(async () => kept(await count.textContent()) >= least, `${least} lines`, 120_000);
  await some(ALL * 0.3);
  await page.getByRole('button', { name: /^Debug/ }).click();
  await some(ALL * 0.4);
  await page.getByRole('searchbox', { name: 'Search in the log' }).fill('line 1');
  await some(ALL * 0.6);
  await page.getByRole('button', { name: 'Show all' }).click();
}

/** How many lines the log has, of which it may show a part. */
const kept = (text: string | null): number => Number((text ?? '0').split(' ').at(-1)?.replaceAll(',', ''));

async function hasCount(page: Page, wanted: number): Promise<void> {
  const count = page.locator('.log h2 .figure');
  await until(async () => kept(await count.textContent()) === wanted, 'all lines', 240_000).catch(async error => {
    throw new Error(`${await count.textContent()} lines`, { cause: error });
  });
}

/** Whether it follows the end, finds what is searched for, and has all lines in their order. */
async function endsWith(page: Page, count: number): Promise<void> {
  await page.getByRole('option', { name: new RegExp(`line ${count - 1}`) }).waitFor();
  await page.getByRole('searchbox', { name: 'Search in the log' }).fill('line 77');
  await page.getByRole('heading', { name: /Log 1,111 of 100,000/ }).waitFor();
  await page.getByRole('button', { name: 'Show all' }).click();
  await hasLines(
    page,
    Array.from({ length: count }, (_, n) => `line ${n}`),
  );
}
