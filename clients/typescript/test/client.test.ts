import { afterEach, describe, expect, test } from 'vitest';
import type { Gap, State, WeftError, WeftEvent } from '../src/index.js';
import { client, endAll, ends, log, sleep, until } from './rig/index.js';
import { Log, type Message, Scripted } from './rig/scripted.js';

afterEach(endAll);

const gateway = async (shared?: Log) => ends(await Scripted.start(shared), it => it.stop());
const texts = (events: unknown[]) => events.map(event => (event as { data: { message: string } }).data.message);
const subscribes = (from: { received: Message[] }) => from.received.filter(({ type }) => type === 'subscribe');

describe('following', () => {
  test('an execution begins with its state and goes on with its events', async () => {
    const server = await gateway();
    server.snapshots.set('execution:e', {
      executionId: 'e',
      status: 'running',
      progress: 5,
      nodes: {},
      pendingInput: [],
    });
    const run = client(server).execution('e');
    const seen: WeftEvent[] = [];
    run.on('*', event => seen.push(event));
    await until(() => run.snapshot?.progress === 5, 'the snapshot');
    server.log.publish('execution:e', { type: 'execution:progress', executionId: 'e', data: { progress: 40 } });
    server.log.publish('execution:e', log('e', 'one'));
    await until(
      () => seen.length === 2,
      () => JSON.stringify(seen),
    );
    expect(run.snapshot).toMatchObject({ status: 'running', progress: 40 });
    expect(run.offset).toBe('a.2.00000000');
  });

  test('listeners hear their type, narrowed; one that throws does not silence the others', async () => {
    const server = await gateway();
    const run = client(server).execution('e');
    const messages: string[] = [];
    const errors: unknown[] = [];
    const onError = (error: unknown) => errors.push(error);
    process.on('uncaughtException', onError);
    ends(onError, () => process.off('uncaughtException', onError));
    run.on('log', () => {
      throw new Error('mine');
    });
    run.on('log', event => messages.push(event.data?.message ?? ''));
    run.on('billing:charged', event => messages.push(event.type));
    await until(() => server.connections[0]?.rooms.size, 'subscribed');
    server.log.publish('execution:e', log('e', 'one'));
    server.log.publish('execution:e', { type: 'billing:charged', executionId: 'e' });
    await until(
      () => messages.length === 2,
      () => JSON.stringify(messages),
    );
    expect(messages).toEqual(['one', 'billing:charged']);
    await until(() => errors.length === 1, 'the error is reported');
  });

  test('a listener and a follow end with their signals', async () => {
    const server = await gateway();
    const [one, two] = [new AbortController(), new AbortController()];
    const run = client(server).execution('e', { signal: two.signal });
    let heard = 0;
    run.on('log', () => heard++, { signal: one.signal });
    await until(() => server.connections[0]?.rooms.size, 'subscribed');
    server.log.publish('execution:e', log('e', 'one'));
    await until(() => heard === 1, 'the first');
    one.abort();
    server.log.publish('execution:e', log('e', 'two'));
    await until(() => run.offset === 'a.2.00000000', 'the second');
    expect(heard).toBe(1);
    two.abort();
    await until(() => server.received.some(({ type }) => type === 'unsubscribe'), 'the room is left');
  });

  test('one subscribe for many rooms, one subscription for many follows, left when the last has lingered', async () => {
    const server = await gateway();
    const weft = client(server);
    const follows = [weft.execution('e'), weft.execution('e'), weft.room('user:u')];
    await until(() => server.connections[0]?.rooms.size === 2, 'both rooms');
    expect(subscribes(server)).toHaveLength(1);
    follows[0]?.close();
    await sleep(60);
    expect(server.received.some(({ type }) => type === 'unsubscribe')).toBe(false);
    follows[1]?.close();
    await until(() => server.received.some(({ type }) => type === 'unsubscribe'), 'left');
    expect(server.last.rooms.has('user:u')).toBe(true);
  });

  test('names that are no rooms are refused before they reach a gateway', async () => {
    const weft = client(await gateway());
    for (const name of ['execution:', 'kb:a b', 'agent:a', 'agent:a:b:c d', 'other:x', `user:${'x'.repeat(129)}`]) {
      expect(() => weft.room(name), name).toThrow(TypeError);
    }
    expect(weft.room('agent:a:e:1').room).toBe('agent:a:e:1');
  });

  test('a follow iterates, and ends with its execution', async () => {
    const server = await gateway();
    const run = client(server).execution('e');
    await until(() => server.connections[0]?.rooms.size, 'subscribed');
    const events = run.events();
    server.log.publish('execution:e', log('e', 'one'));
    server.log.publish('execution:e', { type: 'execution:completed', executionId: 'e', data: { result: 7 } });
    const types = [];
    for await (const event of events) types.push(event.type);
    expect(types).toEqual(['log', 'execution:completed']);
    expect(run.snapshot).toMatchObject({ status: 'completed', result: 7 });
    for await (const event of run) types.push(event.type);
    expect(types).toHaveLength(2);
  });

  test('an iterator that is too slow is told so', async () => {
    const server = await gateway();
    const run = client(server).room('user:u');
    await until(() => server.connections[0]?.rooms.size, 'subscribed');
    const events = run.events({ max: 3 });
    for (let n = 0; n < 5; n++) server.log.publish('user:u', log('e', `${n}`));
    await until(() => run.offset === 'a.5.00000000', 'all have come');
    const seen: unknown[] = [];
    await expect(
      (async () => {
        for await (const event of events) seen.push(event);
      })(),
    ).rejects.toMatchObject({ code: 'too_slow' });
    expect(texts(seen)).toEqual(['0', '1', '2']);
  });

  test('an event of two followed rooms comes once and is heard in both', async () => {
    const server = await gateway();
    const weft = client(server);
    const heard: Record<string, string[]> = { user: [], run: [], all: [], agent: [] };
    weft.on('event', event => heard.all?.push(event.id ?? ''));
    weft.room('user:u').on('*', event => heard.user?.push(event.id ?? ''));
    weft.room('agent:a:e').on('*', event => heard.agent?.push(event.id ?? ''));
    weft.execution('e').on('*', event => heard.run?.push(event.id ?? ''));
    await until(() => server.connections[0]?.rooms.size === 3, 'subscribed');
    // As the gateway does: by the execution's room only.
    server.log.publish('execution:e', { ...log('e', 'one'), userId: 'u', id: '1' });
    server.log.publish('execution:e', {
      type: 'agent:token',
      executionId: 'e',
      userId: 'u',
      id: '2',
      data: { agentId: 'a', token: 't' },
    });
    server.log.publish('user:u', { ...log('f', 'elsewhere'), userId: 'u', id: '3' });
    // A copy that comes all the same is none.
    server.log.publish('user:u', { ...log('e', 'one'), userId: 'u', id: '1' });
    await until(
      () => heard.all?.length === 3,
      () => JSON.stringify(heard),
    );
    await sleep(30);
    expect(heard).toEqual({ user: ['1', '2', '3'], run: ['1', '2'], all: ['1', '2', '3'], agent: ['2'] });
  });
});

describe('history', () => {
  test('begins where it is told, without a seam and without doubles', async () => {
    const server = await gateway();
    for (let n = 0; n < 120; n++) server.log.publish('execution:e', log('e', `${n}`));
    const weft = client(server);
    weft.execution('e');
    await until(() => server.connections[0]?.rooms.size, 'subscribed');
    const seen: unknown[] = [];
    // Events that come while the pages are read.
    server.onRequest = (_request, _response, url) => {
      if (url.pathname.includes('/rooms/'))
        server.log.publish('execution:e', log('e', `${server.log.end('execution:e')}`));
      return false;
    };
    const late = weft.execution('e', { from: 'a.20.00000000' });
    let caughtUp = false;
    late.on('*', event => seen.push(event));
    late.on('caughtUp', () => {
      caughtUp = true;
    });
    await until(() => caughtUp, 'caught up');
    server.log.publish('execution:e', log('e', 'last'));
    await until(() => texts(seen).includes('last'), 'live');
    const expected = Array.from({ length: server.log.end('execution:e') - 21 }, (_, n) => `${n + 20}`);
    expect(texts(seen)).toEqual([...expected, 'last']);
  });

  test('only log entries where that was wished', async () => {
    const server = await gateway();
    server.log.publish('execution:e', log('e', 'one'));
    server.log.publish('execution:e', { type: 'node:started', executionId: 'e', nodeId: 'n' });
    const run = client(server).execution('e', { history: 'logs' });
    const types: string[] = [];
    run.on('*', event => types.push(event.type));
    await until(() => types.length > 0, 'history');
    server.log.publish('execution:e', { type: 'node:completed', executionId: 'e', nodeId: 'n' });
    await until(() => types.length > 1, 'live');
    expect(types).toEqual(['log', 'node:completed']);
  });

  test('that is lost while it is read begins anew, and tells nothing twice', async () => {
    const server = await gateway();
    for (let n = 0; n < 70; n++) server.log.publish('execution:e', log('e', `${n}`));
    let isLost = false;
    server.onRequest = (_request, response, url) => {
      if (isLost || !url.pathname.includes('/rooms/') || url.searchParams.get('after') === '0') return false;
      isLost = true;
      server.json(response, 410, { error: { code: 'gone', message: 'x' } });
      return true;
    };
    const seen: unknown[] = [];
    const run = client(server).execution('e', { from: '0' });
    run.on('*', event => seen.push(event));
    run.on('gap', ({ reason }) => seen.push(log('e', reason)));
    await until(
      () => seen.length >= 71,
      () => `${seen.length}`,
    );
    const expected = Array.from({ length: 70 }, (_, n) => `${n}`);
    expect(texts(seen)).toEqual([...expected.slice(0, 50), 'reset', ...expected.slice(50)]);
  });

  test('that something in between holds back does not hold back what comes live', async () => {
    const server = await gateway();
    server.log.publish('execution:e', log('e', 'before'));
    server.onRequest = (_request, response, url) => {
      if (url.pathname.includes('/rooms/')) server.json(response, 502, 'a proxy');
      return url.pathname.includes('/rooms/');
    };
    const seen: unknown[] = [];
    const errors: WeftError[] = [];
    const run = client(server, { times: { baseMs: 1, capMs: 2 } }).execution('e', { from: '0' });
    run.on('*', event => seen.push(event));
    run.on('error', error => errors.push(error));
    await until(() => server.connections[0]?.rooms.size, 'subscribed');
    server.log.publish('execution:e', log('e', 'live'));
    await until(() => seen.length === 1 && errors.length === 1, 'live, and why there is no history');
    expect(texts(seen)).toEqual(['live']);
    expect(errors[0]?.code).toBe('http_502');
  });

  test('that is gone is told as a gap; that cannot be had as an error', async () => {
    const server = await gateway();
    server.log.publish('execution:e', log('e', 'one'));
    const old = server.log.offset(0);
    let answer: [number, string] = [410, 'gone'];
    server.onRequest = (_request, response, url) => {
      if (!url.pathname.includes('/rooms/') || url.searchParams.get('after') === '0') return false;
      server.json(response, answer[0], { error: { code: answer[1], message: 'x' } });
      return true;
    };
    const weft = client(server);
    const told: (Gap | WeftEvent)[] = [];
    const first = weft.execution('e', { from: old });
    first.on('gap', gap => told.push(gap));
    first.on('*', event => told.push(event));
    await until(
      () => told.length === 2,
      () => JSON.stringify(told),
    );
    expect(told).toMatchObject([{ type: 'gap', reason: 'reset', missedFrom: old }, { type: 'log' }]);
    answer = [409, 'not_durable'];
    const errors: WeftError[] = [];
    weft.execution('e', { from: old }).on('error', error => errors.push(error));
    await until(() => errors.length === 1, 'the error');
    expect(errors[0]?.code).toBe('not_durable');
  });
});

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

describe('tokens', () => {
  test('are sent first, asked for before each connection, and renewed in time', async () => {
    const server = await gateway();
    let count = 0;
    const weft = client(server, { token: async () => `t${++count}` });
    weft.execution('e');
    await until(() => weft.state === 'connected', 'connected');
    expect(server.received[0]).toMatchObject({ type: 'auth', token: 't1' });
    server.last.send({ type: 'error', code: 'token_expired', message: 'soon' });
    await until(() => server.received.some(({ token }) => token === 't2'), 'renewed');
    expect(server.connections).toHaveLength(1);
    server.last.socket.close(4401);
    await until(() => server.received.some(({ token }) => token === 't3'), 'asked again after 4401');
  });

  test('that are refused are no connection; after five of them in a row it has failed', async () => {
    const server = await gateway();
    server.onMessage = (connection, { type, ref }) => {
      if (type === 'auth') connection.send({ type: 'error', code: 'unauthenticated', message: 'no', ref });
      return true;
    };
    let asked = 0;
    const weft = client(server, { token: () => `t${++asked}` });
    const states: State[] = [];
    weft.on('state', state => states.push(state));
    await until(
      () => weft.state === 'failed',
      () => weft.state,
    );
    expect(asked).toBe(5);
    expect(states).not.toContain('connected');
    expect(weft.error?.code).toBe('unauthenticated');
    const fixed = client(server, { token: 'fixed' });
    await until(() => fixed.state === 'failed', 'a fixed token is tried once');
  });

  test('where there is none yet, being greeted before being refused is no success either', async () => {
    const server = await gateway();
    server.onConnect = connection => connection.socket.close(4401);
    const weft = client(server, { token: () => '' });
    await until(() => weft.state === 'failed', 'failed after five');
    expect(server.connections).toHaveLength(5);
    expect(weft.error?.code).toBe('unauthenticated');
  });

  test('a source that fails is asked again', async () => {
    const server = await gateway();
    let asked = 0;
    const weft = client(server, {
      token: () => {
        asked += 1;
        if (asked < 3) throw new Error('the identity provider is away');
        return 't';
      },
    });
    await until(() => weft.state === 'connected', 'connected');
  });
});

describe('commands', () => {
  test('wait while there is no connection, are sent again after a loss, and have one answer', async () => {
    const server = await gateway();
    server.onMessage = (_connection, { type }) => type === 'cancel' && server.connections.length === 1;
    const weft = client(server);
    let answers = 0;
    const cancelled = weft
      .execution('e')
      .cancel('enough')
      .then(() => answers++);
    await until(() => server.received.some(({ type }) => type === 'cancel'), 'sent');
    server.last.cut();
    await cancelled;
    const sent = server.received.filter(({ type }) => type === 'cancel');
    expect(sent).toHaveLength(2);
    expect(sent[0]).toEqual(sent[1]);
    server.last.send({ type: 'ack', ref: sent[0]?.ref });
    await sleep(20);
    expect(answers).toBe(1);
  });

  test('are refused by what the gateway says, by a full queue, a timeout, a signal, and the end', async () => {
    const server = await gateway();
    server.onMessage = (connection, { type, ref, executionId }) => {
      if (type === 'user_input:provide') connection.send({ type: 'error', code: 'rejected', message: 'not that', ref });
      return type === 'user_input:provide' || executionId === 'slow';
    };
    const weft = client(server, { commandsMax: 2, times: { commandMs: 80 } });
    await expect(weft.execution('e').provideInput('r', undefined)).rejects.toMatchObject({ code: 'rejected' });
    expect(server.received.find(({ type }) => type === 'user_input:provide')).toMatchObject({ value: null });
    const slow = weft.execution('slow');
    const over = new AbortController();
    const outcomes = Promise.allSettled([slow.cancel(), slow.cancel('x', { signal: over.signal }), slow.cancel()]);
    over.abort();
    const codes = (await outcomes).map(outcome =>
      outcome.status === 'rejected' ? (outcome.reason.code ?? outcome.reason.name) : 'ok',
    );
    expect(codes).toEqual(['timeout', 20, 'queue_full']);
    const last = slow.cancel();
    weft.close();
    await expect(last).rejects.toMatchObject({ code: 'closed' });
  });
});

describe('refused rooms', () => {
  test('are told to who follows them; the others begin all the same', async () => {
    const server = await gateway();
    server.onMessage = (connection, { type, rooms, ref }) => {
      const names = ((rooms ?? []) as { room: string }[]).map(({ room }) => room);
      if (type !== 'subscribe' || !names.includes('execution:bad')) return false;
      connection.send({
        type: 'error',
        code: 'invalid',
        message: 'no',
        ref,
        ...(names.length === 1 ? { room: names[0] } : {}),
      });
      return true;
    };
    const weft = client(server);
    const errors: WeftError[] = [];
    weft.execution('bad').on('error', error => errors.push(error));
    weft.execution('good');
    await until(() => errors.length === 1 && server.connections[0]?.rooms.has('execution:good'), 'told');
    expect(errors[0]).toMatchObject({ code: 'invalid', room: 'execution:bad' });
    await expect(weft.execution('bad').events().next()).rejects.toMatchObject({ code: 'invalid' });
  });

  test('are asked for again when somebody wants to try again', async () => {
    const server = await gateway();
    server.onMessage = (connection, { type, ref }) => {
      if (type !== 'subscribe' || server.connections.length > 2) return false;
      connection.send({ type: 'error', code: 'forbidden', message: 'no', ref, room: 'execution:e' });
      return true;
    };
    const weft = client(server);
    let refusals = 0;
    const run = weft.execution('e');
    run.on('error', () => refusals++);
    await until(() => refusals === 1, 'refused');
    server.last.cut();
    await until(() => server.connections.length === 2 && weft.state === 'connected', 'connected again');
    await sleep(20);
    expect(refusals).toBe(1);
    weft.reconnect();
    await until(() => server.connections[2]?.rooms.has('execution:e'), 'let in');
  });

  test('are asked for again where it was for the moment only', async () => {
    const server = await gateway();
    let times = 0;
    server.onMessage = (connection, { type, ref }) => {
      if (type !== 'subscribe' || ++times > 2) return false;
      connection.send({ type: 'error', code: 'overloaded', message: 'later', ref, room: 'execution:e' });
      return true;
    };
    client(server).execution('e');
    await until(() => server.connections[0]?.rooms.has('execution:e'), 'it was let in the third time');
  });
});
