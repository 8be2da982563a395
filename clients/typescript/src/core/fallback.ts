/**
 * The way where no WebSocket gets through: streams of server-sent events, and where those are held up as well, a question
 * every second. Towards the client it speaks as a WebSocket would: subscribes are answered, commands get their one answer.
 * Meanwhile it looks for a WebSocket.
 */
import type { OtherEvent, WeftEvent } from './event.js';
import { Http, HttpRefusal } from './http.js';
import type { Times } from './options.js';
import type { Site } from './tokens.js';
import { WeftError } from './told.js';
import { Turns } from './turns.js';
import type { Incoming, Link, LinkEvents, Outgoing } from './wire.js';

/** Where it asks, how often, and by how many streams at once. */
export interface FallbackPlace {
  site: Site;
  times: Times;
  /** 4 unless set. */
  streamsMax: number | undefined;
}

/** Opens a WebSocket. */
type Opener = (events: LinkEvents) => Link;

class Fallback implements Link {
  readonly #http: Http;
  readonly #times: Times;
  readonly #events: LinkEvents;
  readonly #turns: Turns;
  readonly #over = new AbortController();
  readonly #byWebSocket: Opener | undefined;

  constructor(
    { site, times, streamsMax }: FallbackPlace,
    kind: 'sse' | 'poll',
    events: LinkEvents,
    byWebSocket?: Opener,
  ) {
    this.#http = new Http(site);
    this.#times = times;
    this.#events = events;
    this.#byWebSocket = byWebSocket;
    const port = {
      http: this.#http,
      gateway: site.base,
      pollMs: times.pollMs,
      streamsMax: streamsMax ?? 4,
      tell: (message: Incoming | WeftEvent | OtherEvent) => this.#tell(message),
      kind: events.kind,
      lost: (error?: unknown) => this.#fail(error),
    };
    this.#turns = new Turns(port, kind === 'sse');
    this.#over.signal.addEventListener('abort', () => this.#turns.endAll(), { once: true });
    void this.#open();
  }

  send(message: Outgoing): void {
    if (message.type === 'subscribe') {
      for (const { room, offset } of message.rooms) this.#turns.start(room, offset, message.ref);
    } else if (message.type === 'unsubscribe') this.#turns.end(message.room);
    else if (message.type === 'auth') void this.#show(message.ref);
    else if (message.type === 'ping') void this.#answerPing();
    else void this.#command(message);
  }

  close(): void {
    this.#over.abort();
  }

  async #open(): Promise<void> {
    const timeout = setTimeout(() => this.#lose(1006), this.#times.openMs);
    try {
      await this.#http.request('/api/ws/health', { signal: this.#over.signal });
      if (this.#over.signal.aborted) return;
      this.#events.open();
      this.#tell({ type: 'connected' });
      this.#look(this.#times.upgradeMs);
    } catch (error) {
      this.#fail(error);
    } finally {
      clearTimeout(timeout);
    }
  }

  /** Looks for a WebSocket beside it, less and less often. */
  #look(afterMs: number): void {
    const { signal } = this.#over;
    const timer = setTimeout(() => {
      const again = () => signal.aborted || this.#look(Math.min(afterMs * 2, this.#times.upgradeMs * 20));
      try {
        const link = this.#byWebSocket?.({
          open: () => {},
          kind: () => {},
          through: () => {},
          closed: again,
          // Its first message: it gets through.
          message: () => {
            link?.close();
            this.#events.through();
          },
        });
        signal.addEventListener('abort', () => link?.close(), { once: true });
      } catch {
        // The browser forbids it; it may not for the next gateway.
        again();
      }
    }, afterMs);
    signal.addEventListener('abort', () => clearTimeout(timer), { once: true });
  }

  #tell(message: Incoming | WeftEvent | OtherEvent): void {
    if (!this.#over.signal.aborted) this.#events.message(message);
  }

  #lose(code: number, reason?: string): void {
    if (this.#over.signal.aborted) return;
    this.#over.abort();
    this.#events.closed(code, reason);
  }

  /** A request of the whole link failed; without an error, a stream has ended. */
  #fail(error: unknown): void {
    if (error instanceof HttpRefusal) {
      if (error.afterMs !== undefined) this.#tell({ type: 'reconnect', afterMs: error.afterMs });
      if (error.status === 401) return this.#lose(4401, error.message);
    }
    this.#lose(1006);
  }

  /** Asks the gateway, so that the round trip is one. While a stream is dead there is no answer. */
  async #answerPing(): Promise<void> {
    if (!this.#turns.isAlive) return;
    // Without an answer the client gives this link up.
    const answer = await this.#http.request('/api/ws/health', { signal: this.#over.signal }).catch(() => undefined);
    await answer?.body?.cancel();
    if (answer) this.#tell({ type: 'pong' });
  }

  /** Has the gateway look at the token: what is public would be given to anybody. */
  async #show(ref: string): Promise<void> {
    try {
      await this.#http.request('/api/executions?limit=1', { signal: this.#over.signal });
    } catch (error) {
      if (error instanceof HttpRefusal && error.status === 401) return this.#fail(error);
      // Any other refusal says nothing against the token.
    }
    this.#tell({ type: 'ack', ref });
  }

  async #command(command: Extract<Outgoing, { executionId: string }>): Promise<void> {
    const { ref, executionId } = command;
    const isCancel = command.type === 'cancel';
    const body = isCancel ? { reason: command.reason } : { requestId: command.requestId, value: command.value };
    const headers = { 'content-type': 'application/json' };
    const init = { method: 'POST', body: JSON.stringify(body), headers, signal: this.#over.signal };
    const path = `/api/executions/${encodeURIComponent(executionId)}/${isCancel ? 'cancel' : 'input'}`;
    try {
      await this.#http.request(path, init);
      this.#tell({ type: 'ack', ref });
    } catch (error) {
      // Whether it was acted on is not known, or it was not: the next connection sends it again.
      if (isLost(error)) return this.#fail(error);
      const { code, message } = error as WeftError;
      this.#tell({ type: 'error', code, message, ref });
    }
  }
}

/** Whether the gateway gave no answer, is leaving, or wants another token. */
const isLost = (error: unknown): boolean =>
  !(error instanceof WeftError) || ['unreachable', 'draining', 'unauthenticated'].includes(error.code);

/** Opens one. */
export const fallbackLink = (
  place: FallbackPlace,
  kind: 'sse' | 'poll',
  events: LinkEvents,
  byWebSocket?: Opener,
): Link => new Fallback(place, kind, events, byWebSocket);
