/** The client: one connection at a time, come back to as long as it makes sense, and everything that rides on it. */
import { Backoff } from './backoff.js';
import type { Gap, OtherEvent, WeftEvent } from './event.js';
import { Execution, Follow, type FollowOptions, type FollowPort } from './follow.js';
import { Http, Tokens } from './http.js';
import { Listeners, type ListenOptions } from './listeners.js';
import { DEFAULT_TIMES, type Gateway, gatewayAt, type Options, type Times, type Transport } from './options.js';
import { Outbox } from './outbox.js';
import { isOffline, Pulse, watchPage } from './pulse.js';
import { checkRoom, type Room } from './room.js';
import { Rooms } from './rooms.js';
import { comeBack, WeftError } from './told.js';
import { Ways } from './ways.js';
import { type Incoming, isEvent, type Link, type LinkEvents, type Outgoing } from './wire.js';

/**
 * `connecting` by the first attempt; `connected`; `reconnecting` after a loss or a failed attempt; `disconnected` when closed, or while the
 * browser says that it is offline; `failed` when coming back would not help.
 */
export type State = 'connecting' | 'connected' | 'reconnecting' | 'disconnected' | 'failed';

/** What can be heard of a client. */
export interface ClientNotices {
  state: State;
  /** Every event of every followed room, once. */
  event: WeftEvent;
  gap: Gap;
  /** A refusal that concerns no single follow or command, and why the client has failed. */
  error: WeftError;
  /** The broker is away (`true`): nothing new comes for the moment, and nothing is lost. */
  degraded: boolean;
  /** Round trip to the gateway in milliseconds. */
  latency: number;
}

/** Refused tokens in a row after which no further one is tried. */
const REFUSED_TOKENS_MAX = 5;

export class Weft {
  readonly #addresses: string[];
  #gateways: Gateway[] = [];
  readonly #ways: Ways;
  readonly #times: Times;
  readonly #random: () => number;
  readonly #tokens: Tokens;
  readonly #http: Http;
  readonly #backoff: Backoff;
  readonly #rooms: Rooms;
  readonly #outbox: Outbox;
  readonly #pulse: Pulse;
  readonly #listeners = new Listeners<ClientNotices>();
  #state: State = 'disconnected';
  #link: Link | undefined;
  /** Tells answers of the present link or attempt from late ones of an earlier. */
  #turn = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #upgrade: { timer: ReturnType<typeof setTimeout>; link?: Link } | undefined;
  #unwatch: (() => void) | undefined;
  #kind: Transport = 'websocket';
  #isUp = false;
  #upSince = 0;
  #everUp = false;
  #refusedTokens = 0;
  #gateway = 0;
  #latency: number | undefined;
  #degraded = false;
  #error: WeftError | undefined;

  constructor(address: string | string[], options: Options) {
    this.#addresses = [address].flat();
    this.#times = { ...DEFAULT_TIMES, ...options.times };
    this.#random = options.random ?? Math.random;
    this.#tokens = new Tokens(options.token);
    this.#http = new Http(this.#tokens, options.fetch);
    this.#ways = new Ways(options, this.#times, this.#http);
    this.#backoff = new Backoff(this.#times, this.#random);
    this.#rooms = new Rooms({
      send: message => this.#send(message),
      pauseMs: () => this.#random() * this.#times.baseMs * 8,
      conflate: options.conflate ?? false,
      lingerMs: this.#times.lingerMs,
    });
    this.#outbox = new Outbox(command => this.#send(command), options.commandsMax ?? 100, this.#times.commandMs);
    this.#pulse = new Pulse({
      ping: () => this.#send({ type: 'ping' }),
      dead: () => this.#drop(),
      latency: ms => {
        this.#latency = ms;
        this.#listeners.tell('latency', ms);
      },
    });
    options.signal?.addEventListener('abort', () => this.close(), { once: true });
    if (!options.signal?.aborted && !options.lazy) this.connect();
  }

  get state(): State {
    return this.#state;
  }

  /** Round trip to the gateway in milliseconds, once one was measured. */
  get latencyMs(): number | undefined {
    return this.#latency;
  }

  /** What carries the events at the moment. */
  get transport(): Transport | undefined {
    return this.#isUp ? this.#kind : undefined;
  }

  /** Whether the broker is away. */
  get degraded(): boolean {
    return this.#degraded;
  }

  /** Why the client has failed. */
  get error(): WeftError | undefined {
    return this.#error;
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
  request<T>(path: string, init?: RequestInit): Promise<T> {
    // One that is lazy may not have connected yet.
    if (!this.#http.base) this.#http.base = gatewayAt(this.#addresses[0] ?? '/').http;
    return this.#http.json<T>(path, init);
  }

  /** Connects again after `close` or a failure; a new client does so by itself, unless it is `lazy`. */
  connect(): void {
    if (this.#unwatch) return;
    this.#error = undefined;
    this.#refusedTokens = 0;
    this.#rooms.forgive();
    this.#gateways = this.#addresses.map(gatewayAt);
    this.#http.base = this.#at().http;
    this.#unwatch = watchPage(
      () => this.#wake(),
      () => this.#doubt(),
    );
    this.#setState(this.#everUp ? 'reconnecting' : 'connecting');
    void this.#dial();
  }

  /** Tries again now: while waiting, after having failed, or in place of a connection that is doubted. Refused rooms too. */
  reconnect(): void {
    if (!this.#unwatch) return this.connect();
    this.#refusedTokens = 0;
    this.#rooms.forgive();
    this.#end();
    this.#setState(this.#everUp ? 'reconnecting' : 'connecting');
    void this.#dial();
  }

  /** Closes the connection. What is followed stays followed: `connect` goes on where it stood. */
  close(): void {
    this.#leave('disconnected', new WeftError('closed', 'the client was closed'));
  }

  // ── the way to a gateway ──────────────────────────────────────────────────────────────────────────────────────

  #at(): Gateway {
    return this.#gateways[this.#gateway % this.#gateways.length] as Gateway;
  }

  #setState(state: State): void {
    if (state === this.#state) return;
    this.#state = state;
    this.#listeners.tell('state', state);
  }

  async #dial(): Promise<void> {
    clearTimeout(this.#timer);
    const turn = ++this.#turn;
    this.#http.base = this.#at().http;
    try {
      await this.#tokens.renew();
    } catch (error) {
      if (turn !== this.#turn) return;
      this.#tellError(new WeftError('token', `no token could be had: ${String(error)}`));
      return this.#wait(false);
    }
    if (turn !== this.#turn) return;
    this.#kind = this.#ways.choose(this.#everUp);
    try {
      this.#link = this.#ways.open(this.#kind, this.#at().ws, this.#events(turn));
    } catch (error) {
      // The browser forbids it, as it does from a page of https to an address of ws.
      this.#tellError(new WeftError('unreachable', String(error)));
      this.#lost(1006);
    }
  }

  #events(turn: number): LinkEvents {
    const ours = () => turn === this.#turn;
    return {
      open: () => ours() && this.#authenticate(),
      message: message => ours() && this.#message(message),
      closed: code => ours() && this.#lost(code),
      kind: kind => {
        if (ours()) this.#kind = kind;
      },
    };
  }

  #send(message: Outgoing): boolean {
    if (!this.#isUp && message.type !== 'auth') return false;
    this.#link?.send(message);
    return true;
  }

  #authenticate(): void {
    const token = this.#tokens.current;
    if (token) this.#send({ type: 'auth', token, ref: 'auth' });
  }

  /** The gateway has answered: everything goes on. The state is told once a token, if there is one, was accepted. */
  #up(): void {
    this.#isUp = true;
    this.#upSince = performance.now();
    // A gateway tells this when it changes, and begins with all being well.
    this.#tellDegraded(false);
    if (this.#kind === 'websocket') this.#ways.through();
    else this.#planUpgrade(this.#times.upgradeMs);
    this.#rooms.resume();
    this.#outbox.flush();
    this.#pulse.start(this.#times.heartbeatMs, this.#times.pongMs);
    if (!this.#tokens.current) this.#connected();
  }

  #connected(): void {
    this.#everUp = true;
    this.#setState('connected');
  }

  #lost(code: number): void {
    const how = comeBack(code);
    this.#ways.lost(this.#kind, this.#isUp);
    if (this.#isUp) this.#backoff.ended(performance.now() - this.#upSince);
    this.#gateway += 1;
    this.#end();
    if (how === 'no')
      return this.#fail(new WeftError('closed', `the gateway closed the connection for good (${code})`));
    if (how === 'token' && !this.#mayRenew())
      return this.#fail(new WeftError('unauthenticated', 'the token was refused'));
    this.#wait(how === 'later');
  }

  #mayRenew(): boolean {
    this.#refusedTokens += 1;
    return this.#tokens.renewable && this.#refusedTokens < REFUSED_TOKENS_MAX;
  }

  /** Gives up the present link without a word to anybody. */
  #end(): void {
    this.#turn += 1;
    clearTimeout(this.#timer);
    clearTimeout(this.#upgrade?.timer);
    this.#upgrade?.link?.close();
    this.#upgrade = undefined;
    this.#pulse.stop();
    this.#link?.close();
    this.#link = undefined;
    this.#isUp = false;
    this.#rooms.lost();
  }

  #wait(later: boolean): void {
    this.#setState(isOffline() ? 'disconnected' : 'reconnecting');
    this.#timer = setTimeout(() => void this.#dial(), this.#backoff.next(later));
  }

  #drop(): void {
    this.#lost(1006);
  }

  #fail(error: WeftError): void {
    this.#error = error;
    this.#leave('failed', error);
    this.#tellError(error);
  }

  #leave(state: State, error: WeftError): void {
    this.#unwatch?.();
    this.#unwatch = undefined;
    this.#end();
    this.#setState(state);
    this.#rooms.over(state === 'failed' ? error : undefined);
    this.#outbox.clear(error);
  }

  /** The page is looked at again, or the network is back. */
  #wake(): void {
    if (this.#isUp) this.#pulse.ask(this.#times.pongMs / 2);
    else if (!this.#link) void this.#dial();
  }

  /** The network may be gone. */
  #doubt(): void {
    if (this.#isUp) this.#pulse.ask(this.#times.pongMs / 2);
    else this.#setState('disconnected');
  }

  /** On a fallback: tries a WebSocket beside it, and goes over to it once that is up. */
  #planUpgrade(afterMs: number): void {
    if (!this.#ways.mayUpgrade) return;
    const again = () => this.#planUpgrade(Math.min(afterMs * 2, this.#times.upgradeMs * 20));
    const timer = setTimeout(() => {
      try {
        this.#upgrade = { timer, link: this.#tryUpgrade(again) };
      } catch {
        // The browser forbids it; it may not for the next gateway.
        again();
      }
    }, afterMs);
    this.#upgrade = { timer };
  }

  #tryUpgrade(again: () => void): Link {
    const link = this.#ways.open('websocket', this.#at().ws, {
      open: () => {},
      kind: () => {},
      closed: again,
      message: () => {
        // Its first message: it gets through. Opened anew, so that there is one way in which a link begins.
        link.close();
        this.#ways.through();
        this.#end();
        void this.#dial();
      },
    });
    return link;
  }

  // ── what comes ────────────────────────────────────────────────────────────────────────────────────────────────

  #message(message: Incoming | WeftEvent | OtherEvent): void {
    this.#pulse.heard(message.type === 'pong');
    if (isEvent(message)) {
      if (this.#rooms.event(message)) this.#listeners.tell('event', message as WeftEvent);
      return;
    }
    switch (message.type) {
      case 'connected':
        return this.#up();
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
        return this.#backoff.hint(message.afterMs);
      case 'ack':
        if (message.ref !== 'auth') return void this.#outbox.answered(message.ref);
        // Not by being greeted: a gateway may greet who has no token yet, and close when none comes.
        this.#refusedTokens = 0;
        return this.#connected();
      case 'error':
        return this.#refused(message);
    }
  }

  #refused(refusal: Extract<Incoming, { type: 'error' }>): void {
    const { code, message, ref, room } = refusal;
    const error = new WeftError(code, message, room);
    if (code === 'token_expired') return void this.#renew();
    if (code === 'unauthenticated') return this.#lost(4401);
    if (this.#outbox.answered(ref, error) || this.#rooms.refused(refusal)) return;
    this.#tellError(error);
  }

  /** The token is about to expire. Without a new one the gateway closes the connection when it does. */
  async #renew(): Promise<void> {
    const turn = this.#turn;
    if (!this.#tokens.renewable) return;
    try {
      await this.#tokens.renew();
      if (turn === this.#turn) this.#authenticate();
    } catch (error) {
      this.#tellError(new WeftError('token', `no token could be had: ${String(error)}`));
    }
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
    return {
      history: { http: this.#http, backoff: () => new Backoff(this.#times, this.#random) },
      left: (room: Room) => this.#rooms.left(room),
    };
  }
}

/** Connects to a gateway, or to one of several, and comes back as long as it makes sense. */
export const connect = (address: string | string[] = '/', options: Options = {}): Weft => new Weft(address, options);
