/**
 * The way where no WebSocket gets through: a stream of server-sent events for each room, or where those are held up as
 * well, a question every second. Towards the client it speaks as a WebSocket would: subscribes are answered, commands
 * get their one answer. Meanwhile it looks for a WebSocket.
 */
import type { OtherEvent, WeftEvent } from './event.js';
import { Http, HttpRefusal, type Page } from './http.js';
import type { Times, Transport } from './options.js';
import type { Snapshot } from './snapshot.js';
import { readStream, type StreamEvent } from './sse.js';
import type { Site } from './tokens.js';
import { LATER, WeftError } from './told.js';
import type { Incoming, Link, LinkEvents, Outcome, Outgoing } from './wire.js';

/** Silence after which a stream is taken for dead; a gateway sends a comment every 15 s. */
const SILENCE_MS = 45_000;

/** Opens a WebSocket. */
type Opener = (events: LinkEvents) => Link;

class Fallback implements Link {
  readonly #http: Http;
  readonly #times: Times;
  readonly #events: LinkEvents;
  readonly #follows = new Map<string, AbortController>();
  readonly #over = new AbortController();
  readonly #byWebSocket: Opener | undefined;
  #heard = Date.now();
  #kind: Transport;

  constructor(site: Site, times: Times, kind: 'sse' | 'poll', events: LinkEvents, byWebSocket: Opener | undefined) {
    this.#http = new Http(site);
    this.#times = times;
    this.#kind = kind;
    this.#events = events;
    this.#byWebSocket = byWebSocket;
    void this.#open();
  }

  send(message: Outgoing): void {
    if (message.type === 'subscribe') {
      for (const { room, offset } of message.rooms) this.#start(room, offset, message.ref);
    } else if (message.type === 'unsubscribe') {
      this.#follows.get(message.room)?.abort();
      this.#follows.delete(message.room);
    } else if (message.type === 'auth') void this.#show(message.ref);
    else if (message.type === 'ping') {
      if (this.#follows.size === 0 || Date.now() - this.#heard < SILENCE_MS) this.#tell({ type: 'pong' });
    } else void this.#command(message);
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

  /** A request of the whole link failed. */
  #fail(error: unknown): void {
    if (error instanceof HttpRefusal) {
      if (error.afterMs !== undefined) this.#tell({ type: 'reconnect', afterMs: error.afterMs });
      if (error.status === 401) return this.#lose(4401, error.message);
    }
    this.#lose(1006);
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

  #start(room: string, offset: string | undefined, ref: string): void {
    this.#follows.get(room)?.abort();
    const own = new AbortController();
    this.#over.signal.addEventListener('abort', () => own.abort(), { once: true, signal: own.signal });
    this.#follows.set(room, own);
    this.#follow(room, offset, ref, own.signal).catch((error: unknown) => {
      if (own.signal.aborted) return;
      const refused = error instanceof HttpRefusal && error.status !== 401 && !LATER.has(error.code);
      // A room that is refused is no reason to leave the others.
      if (refused && error.status < 500)
        this.#tell({ type: 'error', code: error.code, message: error.message, ref, room });
      else this.#fail(error);
    });
  }

  async #follow(room: string, offset: string | undefined, ref: string, signal: AbortSignal): Promise<void> {
    const begun = (outcome: Outcome, at?: string) => {
      const recovered = outcome === 'resumed';
      this.#tell({
        type: 'subscribed',
        room,
        outcome,
        recovered,
        ref,
        ...(at === undefined ? undefined : { offset: at }),
      });
    };
    if (this.#kind === 'sse' && (await this.#stream(room, offset, begun, signal))) return;
    this.#kind = 'poll';
    this.#events.kind('poll');
    await this.#poll(room, offset, begun, signal);
  }

  /** Reads the room's stream until it ends, which ends the link. False if the gateway has none. */
  async #stream(
    room: string,
    offset: string | undefined,
    begun: (outcome: Outcome) => void,
    signal: AbortSignal,
  ): Promise<boolean> {
    const execution = executionOf(room);
    const query =
      offset !== undefined ? `?offset=${encodeURIComponent(offset)}` : execution !== undefined ? '?snapshot=true' : '';
    const init = { headers: { accept: 'text/event-stream' }, signal, cache: 'no-store' as const };
    const response = await this.#patient(() => this.#http.request(eventsOf(room) + query, init), signal);
    const isStream = response.headers.get('content-type')?.startsWith('text/event-stream');
    if (!isStream || !response.body) {
      await response.body?.cancel();
      return false;
    }
    begun(offset !== undefined ? 'resumed' : execution !== undefined ? 'snapshot' : 'live');
    await readStream(response.body, {
      tell: event => this.#streamed(room, event),
      retry: afterMs => this.#tell({ type: 'reconnect', afterMs }),
      alive: () => {
        this.#heard = Date.now();
      },
    });
    this.#lose(1006);
    return true;
  }

  #streamed(room: string, { event, data, id }: StreamEvent): void {
    const body = JSON.parse(data) as Record<string, unknown> & { offset?: string; room?: string; snapshot?: Snapshot };
    const offset = body.offset ?? id;
    if (event === 'snapshot') {
      this.#tell({
        type: 'snapshot',
        room,
        offset: offset ?? null,
        snapshot: body.snapshot ?? (body as unknown as Snapshot),
      });
    } else if (event === 'gap') {
      this.#tell({ type: 'gap', missedFrom: null, missedTo: null, reason: 'retention', ...body, room });
    } else
      this.#tell({
        ...body,
        type: event,
        ...(offset === undefined ? undefined : { offset }),
        ...by(room, body),
      } as OtherEvent);
  }

  async #poll(
    room: string,
    offset: string | undefined,
    begun: (outcome: Outcome, at?: string) => void,
    signal: AbortSignal,
  ): Promise<void> {
    let after: string = offset ?? (await this.#stateOf(room, begun, signal));
    if (offset !== undefined) begun('resumed');
    while (!signal.aborted) {
      try {
        const page = await this.#http.page<OtherEvent & { room?: string }>(room, after, signal);
        this.#heard = Date.now();
        if (page.gap) this.#tell({ type: 'gap', room, missedFrom: after, missedTo: null, reason: page.gap.reason });
        for (const event of page.events) this.#tell({ ...event, ...by(room, event) });
        after = page.next;
        if (!page.complete) continue;
      } catch (error) {
        if (!(error instanceof HttpRefusal) || (error.status !== 404 && error.code !== 'gone')) throw error;
        if (error.code === 'gone') {
          this.#tell({ type: 'gap', room, missedFrom: after, missedTo: null, reason: 'reset' });
          after = await this.#stateOf(room, () => {}, signal);
        }
      }
      await sleep(this.#times.pollMs, signal);
    }
  }

  /** Where a room stands now; of an execution, its state is told. */
  async #stateOf(room: string, begun: (outcome: Outcome, at?: string) => void, signal: AbortSignal): Promise<string> {
    const execution = executionOf(room);
    if (execution !== undefined) {
      try {
        const path = `/api/executions/${encodeURIComponent(execution)}`;
        const snapshot = await this.#http.json<Snapshot & { offset: string | null }>(path, { signal });
        begun('snapshot');
        this.#tell({ type: 'snapshot', room, offset: snapshot.offset, snapshot });
        return snapshot.offset ?? '0';
      } catch (error) {
        if (!(error instanceof HttpRefusal && error.status === 404)) throw error;
        begun('live');
        return '0';
      }
    }
    for (let after = '0'; ; ) {
      const page: Page<unknown> = await this.#http.page(room, after, signal);
      after = page.next;
      if (page.complete) {
        begun('live', after);
        return after;
      }
    }
  }

  /** Waits for a room that is not there yet: over HTTP it looks like one that is not ours. */
  async #patient(ask: () => Promise<Response>, signal: AbortSignal): Promise<Response> {
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        if (!(error instanceof HttpRefusal && error.status === 404)) throw error;
        await sleep(5 * this.#times.pollMs, signal);
        if (signal.aborted) throw error;
      }
    }
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

const executionOf = (room: string): string | undefined => (room.startsWith('execution:') ? room.slice(10) : undefined);

const eventsOf = (room: string): string => {
  const execution = executionOf(room);
  const place =
    execution === undefined ? `rooms/${encodeURIComponent(room)}` : `executions/${encodeURIComponent(execution)}`;
  return `/api/${place}/events`;
};

/** An event of a stream says by which room it came, as one of a WebSocket does. */
const by = (room: string, event: { room?: unknown }): { room?: string } =>
  event.room !== undefined || executionOf(room) !== undefined ? {} : { room };

const sleep = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise(resolve => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });

/** Opens one. */
export const fallbackLink = (
  site: Site,
  times: Times,
  kind: 'sse' | 'poll',
  events: LinkEvents,
  byWebSocket?: Opener,
): Link => new Fallback(site, times, kind, events, byWebSocket);
