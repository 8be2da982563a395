/** What the tests have in common. */
import { WebSocket } from 'ws';
import { connect, type Options, type Weft } from '../../src/index.js';
import { type Log, type Message, Scripted } from './scripted.js';

const opened: { close(): unknown }[] = [];

/** Something that must be ended after the test. */
export function ends<T>(thing: T, end: (thing: T) => unknown): T {
  opened.push({ close: () => end(thing) });
  return thing;
}

/** Ends what this test has begun, last first. */
export async function endAll(): Promise<void> {
  for (const thing of opened.splice(0).reverse()) await thing.close();
}

/** A scripted gateway, ended with the test. */
export const gateway = async (shared?: Log): Promise<Scripted> => ends(await Scripted.start(shared), it => it.stop());

/** What log events say. */
export const texts = (events: unknown[]): string[] =>
  events.map(event => (event as { data: { message: string } }).data.message);

/** The subscribes that a gateway, or a connection, has got. */
export const subscribes = (from: { received: Message[] }): Message[] =>
  from.received.filter(({ type }) => type === 'subscribe');

/** A client that is quick about everything, and closed after the test. */
export function client(gateways: Scripted | Scripted[], options: Options = {}): Weft {
  const addresses = [gateways].flat().map(({ address }) => `http://${address}`);
  const times = { baseMs: 10, capMs: 100, stableMs: 60_000, lingerMs: 20, ...options.times };
  return ends(connect(addresses, { WebSocket, ...options, times }), weft => weft.close());
}

/** Waits until it holds; fails with what there was instead. */
export async function until(holds: () => unknown, what: string | (() => string) = '', ms = 30_000): Promise<void> {
  const end = Date.now() + ms;
  for (;;) {
    let error: unknown;
    try {
      if (await holds()) return;
    } catch (thrown) {
      error = thrown;
    }
    if (Date.now() > end) {
      throw new Error(`in ${ms} ms it did not come to this: ${typeof what === 'string' ? what : what()}`, {
        cause: error,
      });
    }
    await sleep(5);
  }
}

export const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms));

/** A log event. */
export const log = (executionId: string, message: string, extra: object = {}) => ({
  type: 'log',
  executionId,
  data: { level: 'info', message },
  ...extra,
});

/** Has a scripted gateway list these executions, page by page, in their order; `onAsked` may keep an answer back. */
export function lists(server: Scripted, ids: readonly string[], onAsked?: (cursor: string | null) => Promise<void>) {
  server.onRequest = (_request, response, { pathname, searchParams }) => {
    if (pathname !== '/api/executions') return false;
    const cursor = searchParams.get('cursor');
    const [from, count] = [Number(cursor ?? 0), Number(searchParams.get('limit'))];
    const executions = ids.slice(from, from + count).map(executionId => ({
      executionId,
      workflowId: null,
      status: 'completed',
      progress: null,
      startedAt: null,
      endedAt: null,
      userId: null,
      createdAt: new Date(1e12 + Number(executionId.split('-')[1])).toISOString(),
    }));
    const answer = { executions, cursor: from + count < ids.length ? `${from + count}` : null };
    void (onAsked?.(cursor) ?? Promise.resolve()).then(() => server.json(response, 200, answer));
    return true;
  };
}

/** Gives the page frames as a screen has them, and counts those in which something ran. */
export function frames(): { count: number; stop: () => void } {
  const before = globalThis.requestAnimationFrame;
  const counted = {
    count: 0,
    stop: () => {
      globalThis.requestAnimationFrame = before;
    },
  };
  globalThis.requestAnimationFrame = run => {
    const timer = setTimeout(() => {
      counted.count += 1;
      run(performance.now());
    }, 16);
    return timer as unknown as number;
  };
  return counted;
}
