/** Against real gateways that ask for tokens. */
import { afterEach, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { connect, type Gap, type LogEvent, type Options, type State, type WeftError } from '../src/index.js';
import { endAll, ends, log, sleep, texts, until } from './rig/index.js';
import { type GatewayProcess, publish, startBroker, startGateway } from './rig/processes.js';
import { asking, publisher, signed, tokenOf } from './rig/tokens.js';

afterEach(endAll);

/** A WebSocket that counts how many were opened, and what they sent to show who they are. */
function counting() {
  const counted = { opened: 0, shown: 0 };
  class Counted extends WebSocket {
    constructor(url: string, protocols?: string[]) {
      super(url, protocols);
      counted.opened += 1;
    }
    override send(data: never): void {
      if (String(data).includes('"type":"auth"')) counted.shown += 1;
      super.send(data);
    }
  }
  return { ...counted, counted, WebSocket: Counted as unknown as NonNullable<Options['WebSocket']> };
}

const follow = (gateways: GatewayProcess[], options: Options) =>
  ends(
    connect(
      gateways.map(({ http }) => http),
      { WebSocket, ...options, times: { baseMs: 20, capMs: 500, pollMs: 30, ...options.times } },
    ),
    weft => weft.close(),
  );

/** Waits until these have heard that it is ada's, a moment after its first event: what is not known yet is another matter. */
const known = (executionId: string, gateways: GatewayProcess[]) =>
  until(async () => {
    const init = { headers: { authorization: `Bearer ${tokenOf('ada')}` } };
    const answers = await Promise.all(gateways.map(({ http }) => fetch(`${http}/api/executions/${executionId}`, init)));
    return answers.every(({ ok }) => ok);
  }, 'it is known');

const TRANSPORTS = ['websocket', 'sse', 'poll'] as const;

describe('one gateway', () => {
  test.for(TRANSPORTS)('by %s: one sees what is its own, and is refused what is not', async transport => {
    const gateway = await startGateway('memory:', { ...asking(), WEFT_PENDING_TIMEOUT: '1' });
    await gateway.publish([log('hers', 'one', { userId: 'ada' }), log('his', 'two', { userId: 'bob' })], publisher());
    const weft = follow([gateway], { transport, token: () => tokenOf('ada') });
    const seen: LogEvent[] = [];
    weft.execution('hers', { history: 'logs' }).on('log', event => seen.push(event));
    const his: unknown[] = [];
    const errors: WeftError[] = [];
    const other = weft.execution('his', { from: '0' });
    other.on('*', event => his.push(event));
    other.on('error', error => errors.push(error));
    await until(() => seen.length === 1, 'history');
    await gateway.publish(
      [log('hers', 'three', { userId: 'ada' }), log('his', 'four', { userId: 'bob' })],
      publisher(),
    );
    await until(() => seen.length === 2, 'live');
    // By HTTP alone what is another's looks as if it did not exist, for ever.
    if (transport === 'websocket') await until(() => errors.some(({ code }) => code === 'forbidden'), 'refused');
    else await sleep(300);
    expect(texts(seen)).toEqual(['one', 'three']);
    expect(his).toEqual([]);
    const { executions } = await weft.request<{ executions: { executionId: string }[] }>('/api/executions');
    expect(executions.map(({ executionId }) => executionId)).toEqual(['hers']);
  });

  test.for(TRANSPORTS)(
    'by %s: a refused token is told with its reason, and a better one is let in',
    async transport => {
      const gateway = await startGateway('memory:', asking());
      await gateway.publish(log('e', 'one', { userId: 'ada' }), publisher());
      let token = signed({ sub: 'ada', exp: 4_000_000_000 }, 'the secret of somebody else, just as long');
      const weft = follow([gateway], { transport, token: () => token });
      const states: State[] = [];
      weft.on('state', state => states.push(state));
      const seen: LogEvent[] = [];
      weft.execution('e', { from: '0' }).on('log', event => seen.push(event));
      for (const wrong of [token, tokenOf('ada', -1), '']) {
        token = wrong;
        weft.reconnect();
        await until(
          () => weft.state === 'failed',
          () => `${weft.state} ${states}`,
        );
        expect(weft.error).toMatchObject({ code: 'unauthenticated' });
        expect(weft.error?.message).toMatch(/token|unauthenticated/i);
      }
      expect(seen).toEqual([]);
      token = tokenOf('ada');
      weft.reconnect();
      await until(() => weft.state === 'connected' && seen.length === 1, 'let in');
      expect(weft.error).toBeUndefined();
    },
  );

  test('a token is renewed on the connection, which outlives the first one', async () => {
    const gateway = await startGateway('memory:', asking());
    const { counted, WebSocket: Counted } = counting();
    await gateway.publish(log('e', 'first', { userId: 'ada' }), publisher());
    await known('e', [gateway]);
    const lives = 4;
    const weft = follow([gateway], {
      WebSocket: Counted,
      token: () => tokenOf('ada', lives, { jti: `${Math.random()}` }),
      times: { renewMs: 1000 },
    });
    const seen: LogEvent[] = [];
    weft.execution('e', { from: '0' }).on('log', event => seen.push(event));
    await until(() => seen.length === 1, 'the first');
    await sleep((2 * lives + 1) * 1000);
    await gateway.publish(log('e', 'last', { userId: 'ada' }), publisher());
    await until(() => seen.length === 2, 'the last');
    expect(counted.opened).toBe(1);
    expect(counted.shown).toBeGreaterThan(lives);
    expect(counted.shown).toBeLessThan(4 * lives);
  });

  test('one that does not change is shown once, however long the gateway warns of its end; then it is refused', async () => {
    const gateway = await startGateway('memory:', asking());
    const { counted, WebSocket: Counted } = counting();
    const only = tokenOf('ada', 4);
    const weft = follow([gateway], { WebSocket: Counted, token: () => only, times: { renewMs: 200 } });
    const errors: WeftError[] = [];
    weft.on('error', error => errors.push(error));
    await until(() => weft.state === 'connected', 'connected');
    await until(() => errors.length > 0, 'warned');
    await sleep(1000);
    expect(errors).toMatchObject([{ code: 'token_expired' }]);
    expect(counted).toEqual({ opened: 1, shown: 1 });
    await until(() => weft.state === 'failed', 'expired');
    expect(weft.error?.code).toBe('unauthenticated');
  });

  test('commands are refused to who may not act', async () => {
    const gateway = await startGateway('memory:', asking());
    await gateway.publish(log('e', 'one', { userId: 'bob' }), publisher());
    const token = tokenOf('ada', 3600, { rooms: ['execution:e'] });
    for (const transport of TRANSPORTS) {
      const run = follow([gateway], { transport, token }).execution('e');
      await until(() => run.snapshot, `${transport}: it may follow`);
      await expect(run.cancel(), transport).rejects.toMatchObject({ code: 'forbidden' });
    }
  });
});

describe.each(['nats', 'redis'] as const)('two gateways on %s', kind => {
  test.for(TRANSPORTS)(
    'by %s: tokens expire again and again, and nothing is lost and nothing comes twice',
    async transport => {
      const bus = await startBroker(kind);
      const settings = asking();
      const gateways = [await startGateway(bus, settings), await startGateway(bus, settings)];
      const service = publisher();
      // As pages do that keep a token until it has expired: the gateway closes with 4401, and there is a newer one.
      let [token, until_] = ['', 0];
      let issued = 0;
      await publish(gateways[0]?.http ?? '', { type: 'execution:started', executionId: 'e', userId: 'ada' }, service);
      await known('e', gateways);
      const weft = follow(gateways, {
        transport,
        token: () => {
          if (Date.now() >= until_ - 1000) {
            [token, until_] = [tokenOf('ada', 3, { jti: `${++issued}` }), Date.now() + 3000];
          }
          return token;
        },
      });
      const seen: LogEvent[] = [];
      const gaps: Gap[] = [];
      const run = weft.execution('e');
      run.on('log', event => seen.push(event));
      weft.on('gap', gap => gaps.push(gap));
      await until(() => run.snapshot?.status === 'running', 'begun');
      const wanted: string[] = [];
      while (issued < 4) {
        const text = `${wanted.length}`;
        await publish(gateways[wanted.length % 2]?.http ?? '', log('e', text, { userId: 'ada' }), service);
        wanted.push(text);
        await sleep(20);
      }
      await until(
        () => seen.length >= wanted.length,
        () => `${seen.length} of ${wanted.length}, ${weft.state}`,
      );
      await sleep(200);
      expect(texts(seen)).toEqual(wanted);
      expect(gaps).toEqual([]);
      expect(wanted.length).toBeGreaterThan(100);
    },
  );
});
