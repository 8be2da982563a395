/** Somebody who follows a room: listeners, an async iterator, and where wished what happened before. */
import type { EventOf, Gap, OtherEvent, WeftEvent } from './event.js';
import type { History } from './history.js';
import { Listeners, type ListenOptions } from './listeners.js';
import { Queue } from './queue.js';
import { keyOf, type Recent } from './recent.js';
import { type Room, roomOf } from './room.js';
import { isTerminal, type Snapshot } from './snapshot.js';
import { WeftError } from './told.js';
import type { Outcome } from './wire.js';

/** Options of `room` and `execution`. */
export interface FollowOptions {
  /** Begin with what happened after this offset; `'0'` is the oldest event held. Without it: what happens from now on. */
  from?: string;
  /** Begin with the log entries that are held. */
  history?: 'logs';
  /** Ends the following when aborted. */
  signal?: AbortSignal;
}

/** What can be heard beside events. */
export interface Notices {
  /** Every event. */
  '*': WeftEvent;
  /** The folded state was told; the same as `Execution.snapshot`. */
  snapshot: Snapshot;
  /** Events are gone for good. */
  gap: Gap;
  /** The room was begun, or begun again on another connection. */
  subscribed: { type: 'subscribed'; room: string; outcome: Outcome; recovered: boolean };
  /** What happened before, if that was wished, has all been told. */
  caughtUp: undefined;
  /** The gateway refuses the room, or its history cannot be had. */
  error: WeftError;
}

/** What listening to a name gives: a notice, or an event of that type. */
export type Heard<K extends string> = K extends keyof Notices ? Notices[K] : EventOf<K>;

/** What a follow needs of its client. */
export interface FollowPort {
  history: Omit<History, 'room' | 'from' | 'logsOnly' | 'isLive'>;
  left(room: Room): void;
}

/** Live events that wait until the reading of history begins. */
const EARLY_MAX = 10_000;

export class Follow {
  protected readonly of: Room;
  readonly #port: FollowPort;
  readonly #listeners = new Listeners<Record<string, unknown>>();
  readonly #over = new AbortController();
  readonly #queues = new Set<Queue<WeftEvent | Gap>>();
  readonly #options: FollowOptions;
  /** Until all history has been told: `wanted`, then what keeps the live events that come meanwhile. */
  #catching: 'wanted' | { push(event: WeftEvent | OtherEvent | Gap): void } | undefined;
  /** What history has told, until the live side has caught up with it. */
  #known: Recent | undefined;
  #offset: string | undefined;

  /** @internal */
  constructor(room: Room, port: FollowPort, options: FollowOptions) {
    this.of = room;
    this.#port = port;
    this.#options = options;
    room.follows.add(this);
    options.signal?.addEventListener('abort', () => this.close(), { once: true, signal: this.#over.signal });
    if (options.from !== undefined || options.history) this.#catching = 'wanted';
    queueMicrotask(() => this.#late());
    if (options.signal?.aborted) this.close();
  }

  /** The room's name. */
  get room(): string {
    return this.of.name;
  }

  /**
   * Where this follow stands; pass it as `from` to go on there, at any time, on any gateway. That is after the last
   * event which listeners were told; in a loop over events keep `event.offset` instead, because others wait already.
   */
  get offset(): string | undefined {
    return this.#offset ?? (this.#options.from === undefined ? this.of.offset : this.#options.from);
  }

  /** Whether it was closed. */
  get closed(): boolean {
    return this.#over.signal.aborted;
  }

  /**
   * Listens to a type of event, to `*` (every event), or to one of the {@link Notices}. The answer ends it. Events of
   * types that the protocol does not name can be heard as well.
   */
  on<K extends string>(name: K, listener: (value: Heard<K>) => void, options?: ListenOptions): () => void {
    return this.#listeners.on(name, listener as (value: unknown) => void, options);
  }

  /**
   * Events one after the other, and a {@link Gap} where some are gone. Up to `max` wait to be taken; if it is more,
   * the iterator throws `too_slow`: follow again from `offset`. An execution's ends with the execution.
   */
  events({ signal, max = 10_000 }: { signal?: AbortSignal; max?: number } = {}): AsyncGenerator<WeftEvent | Gap, void> {
    const queue = new Queue<WeftEvent | Gap>(max);
    this.#queues.add(queue);
    signal?.addEventListener('abort', () => queue.end(), { once: true });
    if (this.closed || signal?.aborted) queue.end();
    if (this.of.refused) queue.end(this.of.refused);
    if (this.#isOver()) queue.end();
    return queue.drain(() => this.#queues.delete(queue));
  }

  [Symbol.asyncIterator](): AsyncGenerator<WeftEvent | Gap, void> {
    return this.events();
  }

  /** Ends the following. */
  close(): void {
    if (this.closed) return;
    this.#over.abort();
    this.of.follows.delete(this);
    this.#port.left(this.of);
    for (const queue of this.#queues) queue.end();
  }

  /** @internal An event or a gap, in order. */
  receive(event: WeftEvent | OtherEvent | Gap): void {
    if (this.closed) return;
    if (this.#catching === 'wanted') this.#catchUp();
    if (typeof this.#catching === 'object') this.#catching.push(event);
    else if (event.type === 'gap' || this.#isNews(event)) this.#deliver(event);
  }

  /** @internal */
  begun(answer: Notices['subscribed']): void {
    this.#listeners.tell('subscribed', answer);
    // Not before: what happens between the last page and the first live event would be lost.
    if (this.#catching === 'wanted') this.#catchUp();
  }

  /** @internal */
  tellSnapshot(): void {
    this.#listeners.tell('snapshot', this.of.snapshot);
    if (this.#isOver()) for (const queue of this.#queues) queue.end();
  }

  /** @internal Refused, or the client has failed (with an error), or was closed: iterators end, listeners stay. */
  over(error: WeftError | undefined): void {
    if (error) this.#listeners.tell('error', error);
    for (const queue of this.#queues) queue.end(error);
  }

  /** Whether history is the log alone. */
  get #logsOnly(): boolean {
    return this.#options.from === undefined;
  }

  /** Whether nothing more will come: the execution has ended, and there is no history to be read first. */
  #isOver(): boolean {
    const snapshot = this.of.executionId === undefined ? undefined : this.of.snapshot;
    return snapshot !== undefined && isTerminal(snapshot.status) && !this.#catching;
  }

  /** Who comes to a room that has begun already is told what the others were told. */
  #late(): void {
    const { begun, executionId, refused } = this.of;
    if (this.closed || begun === undefined) return;
    if (refused) return this.over(refused);
    if (this.#catching === 'wanted') this.#catchUp();
    if (executionId !== undefined && this.of.snapshot) this.tellSnapshot();
  }

  /** The pages may have been ahead of the live side, which then tells the same once more. */
  #isNews(event: WeftEvent | OtherEvent): boolean {
    const key = keyOf(event);
    if (!this.#known || key === undefined) return true;
    const isNews = this.#known.add(key);
    // It has caught up with the pages: what follows in this room is all new.
    if (isNews && event.offset !== undefined && roomOf(event as OtherEvent) === this.room) this.#known = undefined;
    // Of what the pages held beside the log nobody was told.
    return isNews || (this.#logsOnly && event.type !== 'log');
  }

  #deliver(event: WeftEvent | OtherEvent | Gap): void {
    if (event.type === 'gap') this.#listeners.tell('gap', event);
    else {
      if (roomOf(event as OtherEvent) === this.room) this.#offset = event.offset ?? this.#offset;
      this.#listeners.tell(event.type, event);
      this.#listeners.tell('*', event);
    }
    const ends = this.of.executionId !== undefined && /^execution:(completed|failed|cancelled)$/.test(event.type);
    for (const queue of this.#queues) {
      queue.push(event as WeftEvent | Gap);
      if (ends) queue.end();
    }
  }

  /** What reads history is fetched where it is needed. Until it is there live events wait here. */
  #catchUp(): void {
    const early: (WeftEvent | OtherEvent | Gap)[] = [];
    this.#catching = {
      push(event) {
        // The pages are not read yet, and will hold what is dropped here.
        if (early.length >= EARLY_MAX) early.length = 0;
        early.push(event);
      },
    };
    const tell = (event: WeftEvent | OtherEvent | Gap) => this.#deliver(event);
    const isLive = () => this.of.subscribed;
    const from = this.#options.from ?? '0';
    const where = { ...this.#port.history, room: this.room, from, logsOnly: this.#logsOnly, isLive };
    import('./history.js').then(
      ({ readHistory }) => {
        const reading = readHistory(where, this.#over.signal, tell, (live, known, error) => {
          this.#known = known;
          this.#caughtUp(live, error);
        });
        for (const event of early) reading.push(event);
        this.#catching = reading;
      },
      (error: unknown) => this.#caughtUp(early, new WeftError('unreachable', String(error))),
    );
  }

  #caughtUp(live: (WeftEvent | OtherEvent | Gap)[], error: WeftError | undefined): void {
    this.#catching = undefined;
    for (const event of live) this.receive(event);
    if (error) this.over(error);
    this.#listeners.tell('caughtUp', undefined);
    if (this.#isOver()) for (const queue of this.#queues) queue.end();
  }
}

/** Follows an execution: also its folded state, and what can be asked of it. */
export class Execution extends Follow {
  readonly #act: Act;

  /** @internal */
  constructor(room: Room, port: FollowPort, options: FollowOptions, act: Act) {
    super(room, port, options);
    this.#act = act;
  }

  get executionId(): string {
    return this.of.executionId ?? '';
  }

  /** The state as of the last event; not there before the gateway has answered. Changes in place: copy what you keep. */
  get snapshot(): Readonly<Snapshot> | undefined {
    return this.of.snapshot;
  }

  /** Asks the executor to stop it; resolves once that was accepted. */
  cancel(reason?: string, options?: { signal?: AbortSignal }): Promise<void> {
    const body = { type: 'cancel' as const, executionId: this.executionId };
    return this.#act(reason === undefined ? body : { ...body, reason }, options?.signal);
  }

  /** Answers a prompt; resolves once the answer was accepted. */
  provideInput(requestId: string, value: unknown, options?: { signal?: AbortSignal }): Promise<void> {
    // A value that JSON lacks would be left out, and the answer refused.
    const body = {
      type: 'user_input:provide' as const,
      executionId: this.executionId,
      requestId,
      value: value ?? null,
    };
    return this.#act(body, options?.signal);
  }
}

/** Sends a command. */
export type Act = (body: import('./wire.js').CommandBody, signal?: AbortSignal) => Promise<void>;
