/** Against the real gateway. */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { connect, type Gap, type LogEvent, type Options, type Snapshot, type State } from '../src/index.js';
import { endAll, ends, log, sleep, texts, until } from './rig/index.js';
import { type GatewayProcess, publish, startBroker, startGateway } from './rig/processes.js';

afterEach(endAll);

const follow = (gateways: GatewayProcess[], options: Options = {}) =>
  ends(
    connect(
      gateways.map(({ http }) => http),
      { WebSocket, times: { baseMs: 20, capMs: 500 }, ...options },
    ),
    weft => weft.close(),
  );

const numbered = (from: number, to: number, of = '') => Array.from({ length: to - from }, (_, n) => `${of}${from + n}`);

describe('one gateway, no broker', () => {
  let gateway: GatewayProcess;
  beforeEach(async () => {
    gateway = await startGateway();
  });

  test('state, history and live events of an execution', async () => {
    await gateway.publish([
      { type: 'execution:started', executionId: 'e', workflowId: 'w', userId: 'u' },
      ...numbered(0, 30).map(text => log('e', text)),
    ]);
    // Where nobody authenticates a token does no harm.
    const weft = follow([gateway], { token: async () => 'a.b.c' });
    const run = weft.execution('e', { history: 'logs' });
    const [mine, users]: LogEvent[][] = [[], []];
    run.on('log', event => mine?.push(event));
    weft.room('user:u').on('log', event => users?.push(event));
    await until(() => mine?.length === 30 && run.snapshot, 'history and state');
    expect(run.snapshot).toMatchObject({ status: 'running', workflowId: 'w', userId: 'u' });
    await gateway.publish(numbered(30, 60).map(text => log('e', text, { userId: 'u' })));
    await gateway.publish({ type: 'execution:completed', executionId: 'e', userId: 'u', data: { result: { sum: 6 } } });
    await until(() => run.snapshot?.status === 'completed' && users?.length === 30, 'the end');
    expect(texts(mine ?? [])).toEqual(numbered(0, 60));
    expect(texts(users ?? [])).toEqual(numbered(30, 60));
    expect(run.snapshot?.result).toEqual({ sum: 6 });
    expect(weft.latencyMs).toBeGreaterThan(0);
  });

  test('goes on from a stored offset, in another client', async () => {
    await gateway.publish(numbered(0, 10).map(text => log('e', text)));
    const first = follow([gateway]).execution('e', { from: '0' });
    let kept: string | undefined;
    for await (const event of first) {
      if (event.type === 'log' && event.data?.message === '6') {
        kept = event.offset;
        break;
      }
    }
    const seen: LogEvent[] = [];
    follow([gateway])
      .execution('e', { from: kept ?? '' })
      .on('log', event => seen.push(event));
    await until(() => seen.length === 3, 'the rest');
    expect(texts(seen)).toEqual(['7', '8', '9']);
  });

  test('a command without an executor is refused as such, and an execution that is not there yet begins live', async () => {
    const weft = follow([gateway]);
    const run = weft.execution('later');
    await until(() => run.snapshot, 'begun');
    await expect(run.cancel()).rejects.toMatchObject({ code: 'no_executor' });
    const seen: LogEvent[] = [];
    run.on('log', event => seen.push(event));
    await gateway.publish(log('later', 'hello'));
    await until(() => seen.length === 1, 'live');
    expect(run.snapshot?.status).toBe('pending');
  });

  test('folds as the gateway does', { timeout: 120_000 }, async () => {
    const weft = follow([gateway]);
    const types =
      'execution:started execution:updated execution:progress node:started node:progress node:completed node:failed ' +
      'agent:started agent:progress agent:completed agent:failed agent:token user_input:required user_input:provided log ' +
      'execution:started:again node:odd';
    const event = fc.record({
      type: fc.oneof(
        { weight: 12, arbitrary: fc.constantFrom(...types.split(' ')) },
        fc.constantFrom('execution:completed', 'execution:failed', 'execution:cancelled'),
      ),
      who: fc.nat(2),
      data: fc.record(
        {
          status: fc.constantFrom('running', 'failed', 'pending', 'nonsense'),
          progress: fc.option(fc.nat(100)),
          currentNode: fc.constantFrom('n1', null),
          currentAgent: fc.constant('a1'),
          startedAt: fc.constantFrom('2026-01-01T00:00:00.000Z', 7),
          completedAt: fc.constant('2026-01-02T00:00:00.000Z'),
          output: fc.jsonValue({ maxDepth: 1 }),
          outputs: fc.jsonValue({ maxDepth: 1 }),
          result: fc.jsonValue({ maxDepth: 1 }),
          error: fc.constantFrom('broken', null),
          reason: fc.constant('enough'),
          requestId: fc.constantFrom('r1', 'r2', 3),
        },
        { requiredKeys: [] },
      ),
    });
    let count = 0;
    const same = async (events: { type: string; who: number; data: object }[]) => {
      const id = `fold-${count++}`;
      const run = weft.execution(id);
      await until(() => run.snapshot, 'begun');
      const published = events.map(({ type, who, data }) => ({
        type,
        executionId: id,
        userId: 'u',
        timestamp: `2026-02-01T00:00:0${who}.000Z`,
        ...(type.startsWith('node:') ? { nodeId: `n${who}` } : {}),
        data: type.startsWith('agent:') ? { ...data, agentId: `a${who}` } : data,
      }));
      const all = new Promise(resolve => run.on('log', entry => entry.data?.message === 'last' && resolve(undefined)));
      await gateway.publish([...published, log(id, 'last')]);
      await all;
      const { offset: _, ...told } = await weft.request<Snapshot & { offset: string }>(`/api/executions/${id}`);
      expect(run.snapshot).toEqual(told);
      run.close();
    };
    await fc.assert(fc.asyncProperty(fc.array(event, { minLength: 1, maxLength: 25 }), same), {
      numRuns: process.env.WEFT_TEST_FULL ? 300 : 60,
      endOnFailure: true,
    });
  });

  test('polling gets through where nothing else does', async () => {
    await gateway.publish(log('e', 'before'));
    const weft = follow([gateway], { transport: 'poll', times: { pollMs: 20 } });
    const run = weft.execution('e', { history: 'logs' });
    const users = weft.room('user:u');
    const seen: LogEvent[] = [];
    const copies: LogEvent[] = [];
    run.on('log', event => seen.push(event));
    users.on('log', event => copies.push(event));
    await until(() => seen.length === 1, 'history');
    await gateway.publish(numbered(0, 200).map(text => log('e', text, { userId: 'u' })));
    await until(
      () => seen.length === 201 && copies.length >= 200,
      () => `${seen.length} ${copies.length}`,
    );
    await sleep(60);
    expect(texts(seen)).toEqual(['before', ...numbered(0, 200)]);
    expect(texts(copies)).toEqual(numbered(0, 200));
  });
});

describe('a gateway that spreads its clients', () => {
  test('ends connections that have become old: they come back, and nothing is lost', { timeout: 60_000 }, async () => {
    const gateway = await startGateway('memory:', { WEFT_CONNECTION_AGE_MAX_SECS: '2' });
    const weft = follow([gateway]);
    const seen: LogEvent[] = [];
    const states: State[] = [];
    const run = weft.execution('e');
    run.on('log', event => seen.push(event));
    weft.on('state', state => states.push(state));
    await until(() => run.snapshot, 'begun');
    let published = 0;
    while (states.filter(state => state === 'reconnecting').length < 3 || weft.state !== 'connected') {
      await gateway.publish(log('e', `${published++}`));
      await sleep(20);
    }
    await until(
      () => seen.length >= published,
      () => `${seen.length} of ${published}`,
    );
    expect(texts(seen)).toEqual(numbered(0, published));
    expect(states).not.toContain('failed');
  });

  test('lets in so many a second: the others come when they were told to, still by WebSocket', {
    timeout: 60_000,
  }, async () => {
    const gateway = await startGateway('memory:', { WEFT_CONNECTS_PER_SEC: '2' });
    const all = Array.from({ length: 24 }, () => follow([gateway]));
    await until(
      () => all.every(({ state }) => state === 'connected'),
      () => all.map(({ state }) => state).join(),
      45_000,
    );
    expect(all.map(({ transport }) => transport)).toEqual(all.map(() => 'websocket'));
  });
});

describe.each(['nats', 'redis'] as const)('two gateways on %s', kind => {
  test.for(['websocket', 'sse', 'poll'] as const)(
    'by %s: one is killed, one leaves politely, nothing is lost and nothing comes twice',
    { timeout: 60_000 },
    async transport => {
      const bus = await startBroker(kind);
      // One after the other: the first sets the broker up.
      const gateways = [await startGateway(bus), await startGateway(bus)];
      const ingress = await startGateway(bus);
      const weft = follow(gateways, { transport, times: { baseMs: 20, capMs: 500, pollMs: 30 } });
      const heard: Record<string, LogEvent[]> = { e: [], f: [], user: [], all: [] };
      const gaps: Gap[] = [];
      weft.on('gap', gap => gaps.push(gap));
      weft.on('event', event => event.type === 'log' && heard.all?.push(event));
      let subscribed = 0;
      for (const [name, room] of [
        ['e', 'execution:e'],
        ['f', 'execution:f'],
        ['user', 'user:u'],
      ] as const) {
        const followed = weft.room(room);
        followed.on('subscribed', () => subscribed++);
        followed.on('log', event => heard[name]?.push(event));
      }
      await until(() => subscribed === 3, 'subscribed');
      await publish(ingress.http, [log('e', 'e0', { userId: 'u' }), log('f', 'f0', { userId: 'u' })]);
      await until(() => heard.all?.length === 2, 'the first events');

      let published = 1;
      let go = true;
      const publishing = (async () => {
        while (go) {
          await publish(ingress.http, [
            log('e', `e${published}`, { userId: 'u' }),
            log('f', `f${published}`, { userId: 'u' }),
          ]);
          published += 1;
          await sleep(5);
        }
      })();
      await sleep(300);
      await gateways[0]?.kill();
      await until(
        () => weft.state === 'connected' && (heard.e?.length ?? 0) > 60,
        () => `${weft.state} ${heard.e?.length}`,
        30_000,
      );
      const third = await startGateway(bus, { WEFT_LISTEN: gateways[0]?.address ?? '', WEFT_DRAIN_SECS: '1' });
      gateways[1]?.drain();
      const before = published;
      await until(() => published > before + 60, 'more is published', 30_000);
      go = false;
      await publishing;
      await until(
        () => (heard.all?.length ?? 0) >= published * 2,
        () => `${heard.all?.length} of ${published * 2}`,
        30_000,
      );
      await sleep(200);
      expect(texts(heard.e ?? [])).toEqual(numbered(0, published, 'e'));
      expect(texts(heard.f ?? [])).toEqual(numbered(0, published, 'f'));
      const ofUser = texts(heard.user ?? []);
      expect(ofUser.filter(text => text?.startsWith('e'))).toEqual(numbered(0, published, 'e'));
      expect(ofUser.filter(text => text?.startsWith('f'))).toEqual(numbered(0, published, 'f'));
      expect(heard.all).toHaveLength(published * 2);
      expect(gaps).toEqual([]);
      expect(third.address).toBe(gateways[0]?.address);
    },
  );

  test('one that leaves says when to come back; the client waits as long, and goes on at the other', {
    timeout: 60_000,
  }, async () => {
    const bus = await startBroker(kind);
    const gateways = [await startGateway(bus, { WEFT_DRAIN_SECS: '2' }), await startGateway(bus)];
    const told: { afterMs?: number; closed?: number; opened: number[] } = { opened: [] };
    class Watched extends WebSocket {
      constructor(url: string, protocols?: string[]) {
        super(url, protocols);
        told.opened.push(performance.now());
        this.on('message', data => {
          const hint = /"type":"reconnect","afterMs":(\d+)/.exec(String(data));
          if (hint) told.afterMs = Number(hint[1]);
        });
        this.on('close', code => {
          if (code === 1012) told.closed = performance.now();
        });
      }
    }
    const WebSocketClass = Watched as unknown as NonNullable<Options['WebSocket']>;
    // Without the hint it would wait for nothing.
    const weft = follow(gateways, { WebSocket: WebSocketClass, random: () => 0 });
    const states: State[] = [];
    weft.on('state', state => states.push(state));
    const seen: LogEvent[] = [];
    const run = weft.execution('e');
    run.on('log', event => seen.push(event));
    await until(() => run.snapshot, 'begun');
    gateways[0]?.drain();
    await until(
      () => weft.state === 'connected' && told.opened.length === 2,
      () => `${states} ${JSON.stringify(told)}`,
    );
    await publish(gateways[1]?.http ?? '', log('e', 'after'));
    await until(() => seen.length === 1, 'the event');
    expect(states).toEqual(['connected', 'reconnecting', 'connected']);
    expect(told.closed, 'it was closed with 1012').toBeDefined();
    expect(told.afterMs, 'it was told when to come back').toBeGreaterThanOrEqual(0);
    const waited = (told.opened[1] ?? 0) - (told.closed ?? 0);
    expect(waited).toBeGreaterThanOrEqual((told.afterMs ?? 0) - 20);
  });

  test('one stands still with its sockets open: the client finds out and goes on at the other', {
    timeout: 60_000,
  }, async () => {
    const bus = await startBroker(kind);
    const gateways = [await startGateway(bus), await startGateway(bus)];
    const weft = follow(gateways, { times: { baseMs: 20, capMs: 500, heartbeatMs: 300, pongMs: 1500 } });
    const seen: LogEvent[] = [];
    const run = weft.execution('e');
    run.on('log', event => seen.push(event));
    await until(() => run.snapshot, 'begun');
    gateways[0]?.freeze();
    await publish(
      gateways[1]?.http ?? '',
      numbered(0, 50).map(text => log('e', text)),
    );
    await until(
      () => seen.length === 50,
      () => `${seen.length} of 50, ${weft.state}`,
      30_000,
    );
    expect(texts(seen)).toEqual(numbered(0, 50));
  });
});
