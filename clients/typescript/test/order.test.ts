/** Whatever gateways repeat, cut or hold back: every follow hears every event of its room once, in the room's order. */
import fc from 'fast-check';
import { afterEach, expect, test } from 'vitest';
import { client, endAll, ends, log, sleep, until } from './rig/index.js';
import { Log, Scripted, seqOf } from './rig/scripted.js';

afterEach(endAll);

interface Step {
  kind: 'publish' | 'cut' | 'repeat' | 'rewind' | 'refresh' | 'drain' | 'late' | 'pause';
  room: number;
  count: number;
}

const ROOMS = ['execution:e', 'execution:f', 'user:u'];
const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom(
    'publish',
    'publish',
    'publish',
    'cut',
    'repeat',
    'rewind',
    'refresh',
    'drain',
    'late',
    'pause',
  ),
  room: fc.nat(ROOMS.length - 1),
  count: fc.integer({ min: 1, max: 12 }),
});

const isFull = process.env.WEFT_TEST_FULL !== undefined;
const seed = Number(process.env.WEFT_TEST_SEED ?? Date.now() % 2 ** 31);

test(`every event once and in order, whatever happens (WEFT_TEST_SEED=${seed})`, {
  timeout: isFull ? 600_000 : 60_000,
}, async () => {
  await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), play), {
    seed,
    numRuns: isFull ? 1000 : 40,
    endOnFailure: true,
  });
});

async function play(steps: Step[]): Promise<void> {
  const shared = new Log();
  const gateways = await Promise.all([0, 1].map(async () => ends(await Scripted.start(shared), it => it.stop())));
  let since = 0;
  for (const gateway of gateways) gateway.since = () => since;
  const weft = client(gateways, { times: { baseMs: 1, capMs: 4 } });
  const heard = new Map<string, string[]>();
  const hear = (name: string, room: string, from?: string) => {
    const texts: string[] = [];
    heard.set(name, texts);
    weft.room(room, from === undefined ? {} : { from }).on('log', event => texts.push(event.data?.message ?? ''));
  };
  for (const room of ROOMS) hear(room, room);
  const all: string[] = [];
  weft.on('event', event => all.push((event.data as { message: string }).message));
  // It goes on exactly after what it has heard: not further on, and not further back.
  const wrong: string[] = [];
  for (const gateway of gateways) {
    gateway.onMessage = (_connection, { type, rooms }) => {
      for (const { room, offset } of type === 'subscribe' ? (rooms as { room: string; offset?: string }[]) : []) {
        const count = heard.get(room)?.length ?? 0;
        if (offset !== undefined && seqOf(offset) !== count) wrong.push(`${room}: ${offset} after ${count}`);
      }
      return false;
    };
  }
  const connections = () => gateways.flatMap(gateway => gateway.connections);
  const live = () => connections().filter(({ socket }) => socket.readyState === socket.OPEN);
  await until(() => live().some(({ rooms }) => rooms.size === ROOMS.length), 'subscribed');
  let late = 0;
  for (const { kind, room: number, count } of steps) {
    const room = ROOMS[number] ?? '';
    if (kind === 'publish') {
      for (let n = 0; n < count; n++)
        shared.publish(room, log(room.slice(10) || 'x', `${room} ${shared.end(room) + 1}`));
    } else if (kind === 'cut') for (const connection of live()) connection.cut();
    else if (kind === 'repeat') {
      for (const connection of live())
        for (const stored of shared.after(room, shared.end(room) - count)) connection.event(room, stored);
    } else if (kind === 'rewind') {
      // The gateway begins again some way back, as after an offset that was told and lost.
      for (const connection of live())
        for (const stored of shared.after(room, 0).slice(-50).slice(0, count)) connection.event(room, stored);
    } else if (kind === 'refresh') since += 1;
    else if (kind === 'drain') {
      for (const connection of live()) {
        connection.send({ type: 'reconnect', afterMs: count });
        setTimeout(() => connection.socket.close(1012), count);
      }
    } else if (kind === 'late') hear(`${room} late ${late++}`, room, '0');
    else await sleep(count);
  }
  // Every follow has the last event: nothing more is on its way.
  for (const room of ROOMS) shared.publish(room, log(room.slice(10) || 'x', `${room} ${shared.end(room) + 1}`));
  const expected = (room: string) => shared.after(room, 0).map((_, index) => `${room} ${index + 1}`);
  const last = (name: string) => expected(ROOMS.find(room => name.startsWith(room)) ?? '').at(-1) ?? '';
  await until(
    () => [...heard].every(([name, texts]) => texts.includes(last(name))),
    () => JSON.stringify([...heard].map(([name, texts]) => [name, texts.at(-1), last(name)])),
  );
  for (const [name, texts] of heard)
    expect(texts, name).toEqual(expected(ROOMS.find(room => name.startsWith(room)) ?? ''));
  expect(wrong).toEqual([]);
  expect(new Set(all).size).toBe(all.length);
  expect(all.length).toBe(ROOMS.reduce((sum, room) => sum + shared.end(room), 0));
  await endAll();
}
