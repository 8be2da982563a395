/** What a page tells its client: that it is looked at again, that the network is gone or back. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { State } from '../src/index.js';
import { client, endAll, ends, log, sleep, until } from './rig/index.js';
import { Scripted } from './rig/scripted.js';

const page = Object.assign(new EventTarget(), { visibilityState: 'visible' });
const view = new EventTarget();
const browser = { onLine: true };
let server: Scripted;

beforeEach(async () => {
  for (const [name, value] of Object.entries({ document: page, window: view, navigator: browser })) {
    const before = Object.getOwnPropertyDescriptor(globalThis, name);
    Object.defineProperty(globalThis, name, { value, configurable: true });
    ends(name, () =>
      before ? Object.defineProperty(globalThis, name, before) : Reflect.deleteProperty(globalThis, name),
    );
  }
  browser.onLine = true;
  server = ends(await Scripted.start(), it => it.stop());
});
afterEach(endAll);

/** Never tries again by itself within a test. */
const patient = { random: () => 1, times: { baseMs: 600_000, capMs: 600_000, pongMs: 60 } };

test('online, shown and back from the cache each try at once', async () => {
  const weft = client(server, patient);
  await until(() => weft.state === 'connected', 'connected');
  let count = 1;
  for (const [target, name] of [
    [view, 'online'],
    [page, 'visibilitychange'],
    [view, 'pageshow'],
  ] as const) {
    server.last.cut();
    await until(() => weft.state === 'reconnecting', 'lost');
    await sleep(20);
    expect(server.connections).toHaveLength(count);
    target.dispatchEvent(new Event(name));
    await until(() => weft.state === 'connected', `${name}: connected`);
    count += 1;
  }
});

test('a gateway that has asked for time gets it, whatever the page is told', async () => {
  const weft = client(server, patient);
  let count = 0;
  for (const ask of [
    () => server.last.send({ type: 'reconnect', afterMs: 400 }),
    () => server.last.socket.close(1013, 'full: come back after 400 ms'),
  ]) {
    await until(() => weft.state === 'connected', 'connected');
    count += 1;
    expect(server.connections).toHaveLength(count);
    ask();
    await sleep(20);
    server.last.cut();
    await until(() => weft.state === 'reconnecting', 'lost');
    for (const [target, name] of [
      [view, 'online'],
      [page, 'visibilitychange'],
      [view, 'pageshow'],
    ] as const) {
      target.dispatchEvent(new Event(name));
      await sleep(20);
    }
    expect(weft.state).toBe('reconnecting');
    expect(server.connections).toHaveLength(count);
  }
  await until(() => weft.state === 'connected', 'after the time that was asked for');
});

test('a hidden page does not try because it was hidden', async () => {
  const weft = client(server, patient);
  await until(() => weft.state === 'connected', 'connected');
  server.last.cut();
  await until(() => weft.state === 'reconnecting', 'lost');
  page.visibilityState = 'hidden';
  page.dispatchEvent(new Event('visibilitychange'));
  await sleep(30);
  expect(server.connections).toHaveLength(1);
  page.visibilityState = 'visible';
});

test('offline: a connection that still answers stays, one that does not is left, and the state says why', async () => {
  const weft = client(server, patient);
  const states: State[] = [];
  await until(() => weft.state === 'connected', 'connected');
  weft.on('state', state => states.push(state));
  browser.onLine = false;
  view.dispatchEvent(new Event('offline'));
  await sleep(120);
  expect(states).toEqual([]);
  server.onMessage = (_connection, { type }) => type === 'ping';
  view.dispatchEvent(new Event('offline'));
  await until(
    () => weft.state === 'disconnected',
    () => weft.state,
  );
  browser.onLine = true;
  server.onMessage = undefined;
  view.dispatchEvent(new Event('online'));
  await until(() => weft.state === 'connected', 'connected');
});

test('a connection that died while the page slept is found out when it wakes', async () => {
  const weft = client(server, { times: { pongMs: 60 } });
  const seen: unknown[] = [];
  weft.execution('e').on('log', event => seen.push(event));
  await until(() => server.connections[0]?.rooms.size, 'subscribed');
  // It is there, and takes what is sent, but nothing comes of it any more.
  const asleep = server.last;
  server.onMessage = connection => connection === asleep;
  asleep.rooms.clear();
  server.log.publish('execution:e', log('e', 'missed'));
  page.dispatchEvent(new Event('visibilitychange'));
  await until(() => seen.length === 1, 'what was missed');
  expect(server.connections).toHaveLength(2);
});

test('nothing is listened to any more once it is closed', async () => {
  const weft = client(server, patient);
  await until(() => weft.state === 'connected', 'connected');
  weft.close();
  view.dispatchEvent(new Event('online'));
  await sleep(30);
  expect(server.connections).toHaveLength(1);
  expect(weft.state).toBe('disconnected');
});
