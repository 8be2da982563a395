import { afterEach, describe, expect, test } from 'vitest';
import type { Gap, State, WeftError } from '../../src/index.js';
import { client, endAll, gateway, log, sleep, subscribes, texts, until } from '../rig/index.js';
import { Log } from '../rig/scripted.js';

afterEach(endAll);

describe('coming back', () => {
  test('on another gateway, all rooms in one message, with their offsets as they were given', async () => {
    const shared = new Log();
    const [one, two] = [await gateway(shared), await gateway(shared)];
    one.since = () => 17;
    const weft = client([one, two]);
    const seen: unknown[] = [];
    weft.on('event', event => seen.push(event));
    weft.execution('e');
    weft.room('user:u');
    await until(() => one.connections[0]?.rooms.size === 2, 'subscribed');
    shared.publish('execution:e', log('e', 'one'));
    await until(() => seen.length === 1, 'the first');
    // Another room made copies possible: fresh offsets of what is followed already.
    one.last.send({
      type: 'subscribed',
      room: 'kb:k',
      outcome: 'live',
      recovered: false,
      offsets: { 'user:u': shared.offset(0, 9) },
    });
    await sleep(20);
    await one.stop();
    shared.publish('execution:e', log('e', 'two'));
    shared.publish('user:u', log('f', 'three'));
    await until(
      () => seen.length === 3,
      () => JSON.stringify(seen),
    );
    expect(subscribes(two)).toMatchObject([
      {
        rooms: [
          { room: 'execution:e', offset: 'a.1.00000000.17' },
          { room: 'user:u', offset: 'a.0.00000000.9' },
        ],
      },
    ]);
    expect(texts(seen)).toEqual(['one', 'two', 'three']);
  });

  test('tells its states', async () => {
    const server = await gateway();
    const states: State[] = [];
    const weft = client(server);
    expect(weft.state).toBe('connecting');
    weft.on('state', state => states.push(state));
    await until(() => weft.state === 'connected', 'connected');
    server.last.cut();
    await until(
      () => states.length === 3,
      () => states.join(),
    );
    weft.close();
    weft.connect();
    await until(() => weft.state === 'connected', 'connected again');
    expect(states).toEqual(['connected', 'reconnecting', 'connected', 'disconnected', 'reconnecting', 'connected']);
  });

  test('waits as long as the gateway says', async () => {
    const server = await gateway();
    const weft = client(server, { random: () => 1, times: { baseMs: 5_000, capMs: 60_000 } });
    await until(() => weft.state === 'connected', 'connected');
    server.last.send({ type: 'reconnect', afterMs: 10 });
    await sleep(20);
    server.last.socket.close(1012);
    await until(() => server.connections.length === 2, 'it came back after the hint, not after 5 s', 4_000);
    // Who has missed the message finds the same in the close.
    await until(() => weft.state === 'connected', 'connected again');
    server.last.socket.close(1013, 'shed: come back after 30 ms');
    await until(() => server.connections.length === 3, 'it came back after the hint, not after 10 s', 4_000);
  });

  test('gives one that is full more time, also where it did not say how much', async () => {
    const server = await gateway();
    const weft = client(server, { random: () => 1, times: { baseMs: 20, capMs: 1000 } });
    await until(() => weft.state === 'connected', 'connected');
    const closed = performance.now();
    server.last.socket.close(1013);
    await until(() => server.connections.length === 2, 'back');
    expect(performance.now() - closed).toBeGreaterThan(150);
  });

  test('waits longer each time, and a connection that did not last is none', async () => {
    const server = await gateway();
    server.onConnect = connection => setTimeout(() => connection.cut(), 1);
    const bounds: number[] = [];
    client(server, {
      times: { baseMs: 2, capMs: 64, stableMs: 60_000 },
      random: () => {
        bounds.push(performance.now());
        return 1;
      },
    });
    await until(() => server.connections.length >= 7, 'seven attempts');
    // Chance was asked once for each pause; each pause is at least the doubled bound before it.
    const pauses = bounds.slice(1).map((at, index) => at - (bounds[index] ?? 0));
    expect(pauses[4]).toBeGreaterThanOrEqual(30);
  });

  test.each([
    [1002, 'failed'],
    [1003, 'failed'],
    [1007, 'failed'],
    [1009, 'failed'],
    [4400, 'failed'],
    [4403, 'failed'],
    [4401, 'failed'],
    [1000, 'connected'],
    [1008, 'connected'],
    [1012, 'connected'],
    [1013, 'connected'],
    [4408, 'connected'],
    [4409, 'connected'],
  ])('after close %i it ends up %s', async (code, state) => {
    const server = await gateway();
    const weft = client(server);
    const errors: WeftError[] = [];
    weft.on('error', error => errors.push(error));
    const stream = weft.execution('e').events();
    await until(() => weft.state === 'connected', 'connected');
    server.last.socket.close(code);
    await until(
      () => weft.state === state && (state === 'failed' || server.connections.length === 2),
      () => weft.state,
    );
    if (state !== 'failed') return;
    expect(errors).toHaveLength(1);
    expect(errors[0]?.code).toBe(code === 4401 ? 'unauthenticated' : code === 4403 ? 'forbidden' : 'refused');
    await expect(stream.next()).rejects.toBe(errors[0]);
    expect(weft.error).toBe(errors[0]);
    weft.reconnect();
    await until(() => weft.state === 'connected', 'a person may try again');
  });

  test('a gap is told to the follow, to the client and to the iterator', async () => {
    const server = await gateway();
    const weft = client(server);
    const run = weft.execution('e');
    const gaps: Gap[] = [];
    weft.on('gap', gap => gaps.push(gap));
    run.on('gap', gap => gaps.push(gap));
    const stream = run.events();
    await until(() => server.connections[0]?.rooms.size, 'subscribed');
    server.last.send({
      type: 'gap',
      room: 'execution:e',
      missedFrom: 'x',
      missedTo: server.log.offset(9),
      reason: 'retention',
    });
    expect((await stream.next()).value).toMatchObject({ type: 'gap', reason: 'retention' });
    expect(gaps).toHaveLength(2);
    server.last.cut();
    await until(() => subscribes(server).length === 2, 'resumed');
    expect(subscribes(server)[1]).toMatchObject({ rooms: [{ offset: 'a.9.00000000' }] });
  });

  test('where nothing is stored, a loss is told as a gap', async () => {
    const server = await gateway();
    server.onMessage = (connection, { type, rooms, ref }) => {
      if (type !== 'subscribe') return false;
      for (const { room } of rooms as { room: string }[]) {
        connection.send({ type: 'subscribed', room, ref, outcome: 'live', recovered: false });
      }
      return true;
    };
    const gaps: Gap[] = [];
    client(server)
      .execution('e')
      .on('gap', gap => gaps.push(gap));
    await until(() => subscribes(server).length === 1, 'subscribed');
    await sleep(20);
    server.last.cut();
    await until(() => gaps.length === 1, 'the gap');
    expect(gaps[0]).toMatchObject({ reason: 'live_only' });
  });

  test('a cut before the snapshot asks for it again', async () => {
    const server = await gateway();
    let cut = true;
    server.onMessage = (connection, { type, ref }) => {
      if (type !== 'subscribe' || !cut) return false;
      cut = false;
      connection.send({
        type: 'subscribed',
        room: 'execution:e',
        ref,
        outcome: 'snapshot',
        offset: server.log.offset(3),
        recovered: false,
      });
      setTimeout(() => connection.cut(), 5);
      return true;
    };
    server.snapshots.set('execution:e', { executionId: 'e', status: 'failed', nodes: {}, pendingInput: [] });
    const run = client(server).execution('e');
    await until(() => run.snapshot?.status === 'failed', 'the snapshot');
    expect(subscribes(server)[1]).toMatchObject({ rooms: [{ room: 'execution:e' }], snapshot: true });
    expect(JSON.stringify(subscribes(server)[1])).not.toContain('offset');
  });

  test('a gateway that falls silent is left', async () => {
    const server = await gateway();
    server.onMessage = (_connection, { type }) => type === 'ping' && server.connections.length === 1;
    const weft = client(server, { times: { heartbeatMs: 30, pongMs: 40 } });
    await until(() => server.connections.length === 2, 'left');
    await until(() => weft.latencyMs !== undefined, 'the round trip was measured');
  });

  test('a gateway that never says a word is left', async () => {
    const server = await gateway();
    server.greets = false;
    client(server, { times: { openMs: 40 } });
    await until(() => server.connections.length >= 2, 'left');
  });

  test('a frame that cannot be read is asked for again', async () => {
    const server = await gateway();
    const run = client(server).execution('e');
    const seen: unknown[] = [];
    run.on('log', event => seen.push(event));
    await until(() => server.connections[0]?.rooms.size, 'subscribed');
    server.last.socket.send('{"type":"log","exec');
    server.last.rooms.clear();
    server.log.publish('execution:e', log('e', 'one'));
    await until(() => seen.length === 1, 'the event');
  });
});
