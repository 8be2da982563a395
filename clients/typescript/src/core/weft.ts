/** The client: rooms that are followed, commands on their way, and who listens; its {@link Connection} carries them. */
import { Backoff } from './backoff.js';
import { Connection, type State } from './connection.js';
import type { Gap, OtherEvent, WeftEvent } from './event.js';
import { Execution, Follow, type FollowOptions, type FollowPort } from './follow.js';
import { Listeners, type ListenOptions } from './listeners.js';
import type { Options, Transport } from './options.js';
import { Outbox } from './outbox.js';
import { checkRoom, type Room } from './room.js';
import { Rooms } from './rooms.js';
import { LATER, WeftError } from './told.js';
import { type Incoming, isEvent } from './wire.js';

/** What can be heard of a client. */
export interface ClientNotices {
  state: State;
  /** Every event of every followed room, once. */
  event: WeftEvent;
  gap: Gap;
  /**
   * A refusal that concerns no single follow or command; why the client has failed; that the token expires soon and there
   * is no newer one (`token_expired`).
   */
  error: WeftError;
  /** The broker is away (`true`): nothing new comes for the moment, and nothing is lost. */
  degraded: boolean;
  /** Round trip to the gateway in milliseconds. */
  latency: number;
}

export class Weft {
  readonly #connection: Connection;
  readonly #rooms: Rooms;
  readonly #outbox: Outbox;
  readonly #listeners = new Listeners<ClientNotices>();
  #latency: number | undefined;
  #degraded = false;

  constructor(address: string | string[], options: Options) {
    const connection = new Connection([address].flat(), options, {
      state: state => this.#listeners.tell('state', state),
      up: () => this.#up(),
      lost: () => {
        this.#rooms.lost();
        this.#outbox.lost();
      },
      message: message => this.#message(message),
      forgive: () => this.#rooms.forgive(),
      over: reason => {
        this.#rooms.over(connection.error);
        this.#outbox.clear(reason);
      },
      error: error => this.#tellError(error),
      latency: ms => {
        this.#latency = ms;
        this.#listeners.tell('latency', ms);
      },
    });
    this.#connection = connection;
    const { random, times } = connection;
    this.#rooms = new Rooms({
      send: message => connection.send(message),
      pauseMs: () => random() * times.baseMs * 8,
      conflate: options.conflate ?? false,
      lingerMs: times.lingerMs,
    });
    this.#outbox = new Outbox(command => connection.send(command), options.commandsMax ?? 100, times.commandMs);
    options.signal?.addEventListener('abort', () => this.close(), { once: true });
    if (!options.signal?.aborted && !options.lazy) this.connect();
  }

  get state(): State {
    return this.#connection.state;
  }

  /** Round trip to the gateway in milliseconds, once one was measured. */
  get latencyMs(): number | undefined {
    return this.#latency;
  }

  /** What carries the events at the moment. */
  get transport(): Transport | undefined {
    return this.#connection.isUp ? this.#connection.kind : undefined;
  }

  /** Whether the broker is away. */
  get degraded(): boolean {
    return this.#degraded;
  }

  /** Why the client has failed. */
  get error(): WeftError | undefined {
    return this.#connection.error;
  }

  on<K extends keyof ClientNotices>(
    name: K,
    listener: (value: ClientNotices[K]) => void,
    options?: ListenOptions,
  ): () => void {
    return this.#listeners.on(name, listener, options);
  }

  /** Follows an execution: its state and its events. */
  execution(id: string, options: FollowOptions = {}): Execution {
    const room = this.#rooms.open(checkRoom(`execution:${id}`));
    return new Execution(room, this.#port(), options, (body, signal) => this.#outbox.post(body, signal));
  }

  /** Follows any room: `execution:<id>`, `user:<id>`, `agent:<id>:<execution>`, `kb:<id>`. */
  room(name: string, options: FollowOptions = {}): Follow {
    return new Follow(this.#rooms.open(checkRoom(name)), this.#port(), options);
  }

  /** A request to the gateway, with the token; the answer's JSON. A refusal is a {@link WeftError}. */
  async request<T>(path: string, init?: RequestInit): Promise<T> {
    this.#connection.locate();
    const { Http } = await import('./http.js').catch((error: unknown) => {
      throw new WeftError('unreachable', String(error));
    });
    return new Http(this.#connection.site).json<T>(path, init);
  }

  /** Connects again after `close` or a failure; a new client does so by itself, unless it is `lazy`. */
  connect(): void {
    this.#connection.connect();
  }

  /** Tries again now: while waiting, after having failed, or in place of a connection that is doubted. Refused rooms too. */
  reconnect(): void {
    this.#connection.reconnect();
  }

  /** Closes the connection. What is followed stays followed: `connect` goes on where it stood. */
  close(): void {
    this.#connection.leave('disconnected', new WeftError('closed', 'the client was closed'));
  }

  #up(): void {
    // A gateway tells this when it changes, and begins with all being well.
    this.#tellDegraded(false);
    this.#rooms.resume();
    this.#outbox.flush();
  }

  #message(message: Incoming | WeftEvent | OtherEvent): void {
    this.#connection.heard(message.type === 'pong');
    if (isEvent(message)) {
      if (this.#rooms.event(message)) this.#listeners.tell('event', message as WeftEvent);
      return;
    }
    switch (message.type) {
      case 'connected':
        return this.#connection.greeted();
      case 'gap':
        this.#listeners.tell('gap', message);
        return this.#rooms.told(message);
      case 'subscribed':
      case 'unsubscribed':
      case 'snapshot':
        return this.#rooms.told(message);
      case 'degraded':
        return this.#tellDegraded(message.active);
      case 'reconnect':
        return this.#connection.hint(message.afterMs);
      case 'ack':
        if (message.ref === 'auth') return this.#connection.accepted();
        return void this.#outbox.answered(message.ref);
      case 'error':
        return this.#refused(message);
    }
  }

  #refused(refusal: Extract<Incoming, { type: 'error' }>): void {
    const { code, message, ref, room } = refusal;
    const error = new WeftError(code, message, room);
    if (code === 'token_expired') return this.#connection.expires();
    if (code === 'unauthenticated' || ref === 'auth') return this.#connection.refused(error, LATER.has(code));
    if (this.#outbox.answered(ref, error) || this.#rooms.refused(refusal)) return;
    this.#tellError(error);
  }

  #tellDegraded(active: boolean): void {
    if (active === this.#degraded) return;
    this.#degraded = active;
    this.#listeners.tell('degraded', active);
  }

  #tellError(error: WeftError): void {
    this.#listeners.tell('error', error);
  }

  #port(): FollowPort {
    const { site, times, random } = this.#connection;
    return {
      history: { site, backoff: () => new Backoff(times, random) },
      left: (room: Room) => this.#rooms.left(room),
    };
  }
}

/** Connects to a gateway, or to one of several, and comes back as long as it makes sense. */
export const connect = (address: string | string[] = '/', options: Options = {}): Weft => new Weft(address, options);
