/**
 * The connection to a gateway: one link at a time, come back to as long as it makes sense. It shows the token, and a newer one
 * in time, and looks whether the other end still lives.
 */
import { Backoff } from './backoff.js';
import type { OtherEvent, WeftEvent } from './event.js';
import { DEFAULT_TIMES, type Gateway, gatewayAt, type Options, type Times, type Transport } from './options.js';
import { isOffline, Pulse, watchPage } from './pulse.js';
import { type Site, Tokens } from './tokens.js';
import { comeBack, WeftError } from './told.js';
import { Ways } from './ways.js';
import type { Incoming, Link, LinkEvents, Outgoing } from './wire.js';

/**
 * `connecting` by the first attempt; `connected`; `reconnecting` after a loss or a failed attempt; `disconnected` when closed, or while the
 * browser says that it is offline; `failed` when coming back would not help.
 */
export type State = 'connecting' | 'connected' | 'reconnecting' | 'disconnected' | 'failed';

/** What a connection tells. */
export interface ConnectionPort {
  state(state: State): void;
  /** A gateway has answered: everything goes on. */
  up(): void;
  /** The link is gone. */
  lost(): void;
  /** What has come. */
  message(message: Incoming | WeftEvent | OtherEvent): void;
  /** Somebody tries again: what was refused may be allowed by now. */
  forgive(): void;
  /** There will be no other link before somebody connects again; `reason` is what else waits is told. */
  over(reason: WeftError): void;
  error(error: WeftError): void;
  latency(ms: number): void;
}

export class Connection {
  readonly times: Times;
  readonly random: () => number;
  readonly site: Site;
  state: State = 'disconnected';
  /** Why it has failed. */
  error: WeftError | undefined;
  /** What carries it. */
  kind: Transport = 'websocket';
  /** Whether messages go through. */
  isUp = false;
  readonly #addresses: string[];
  readonly #port: ConnectionPort;
  readonly #ways: Ways;
  readonly #tokens: Tokens;
  readonly #backoff: Backoff;
  readonly #pulse: Pulse;
  #gateways: Gateway[] = [];
  #gateway = 0;
  #link: Link | undefined;
  /** Tells answers of the present link or attempt from late ones of an earlier. */
  #turn = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** When the gateway wants to be asked again, by the clock, which goes on while the machine sleeps. */
  #notBefore = 0;
  /** Runs for a while after each renewal of the token. */
  #renewal: ReturnType<typeof setTimeout> | undefined;
  #isExpiring = false;
  /** Whether it was told, of this link, that there is no newer token. */
  #isWarned = false;
  #unwatch: (() => void) | undefined;
  #upSince = 0;
  #everUp = false;

  constructor(addresses: string[], options: Options, port: ConnectionPort) {
    this.#addresses = addresses;
    this.#port = port;
    this.times = { ...DEFAULT_TIMES, ...options.times };
    this.random = options.random ?? Math.random;
    this.#tokens = new Tokens(options.token);
    this.site = { base: '', tokens: this.#tokens, fetch: options.fetch };
    this.#ways = new Ways(options, this.times, this.site);
    this.#backoff = new Backoff(this.times, this.random);
    this.#pulse = new Pulse({
      ping: () => this.send({ type: 'ping' }),
      dead: () => this.#lost(1006),
      latency: port.latency,
    });
  }

  /** Requests before the first connection need an address too. */
  locate(): void {
    if (!this.site.base) this.site.base = gatewayAt(this.#addresses[0] ?? '/').http;
  }

  /** Sends a message; false if there is nobody to send it to. */
  send(message: Outgoing): boolean {
    if (!this.isUp && message.type !== 'auth') return false;
    this.#link?.send(message);
    return true;
  }

  connect(): void {
    if (this.#unwatch) return;
    this.#gateways = this.#addresses.map(gatewayAt);
    this.#unwatch = watchPage(
      () => this.#wake(),
      () => this.#doubt(),
    );
    this.#begin();
  }

  reconnect(): void {
    if (!this.#unwatch) return this.connect();
    this.#end();
    this.#begin();
  }

  /** Gives up, until somebody connects again. */
  leave(state: State, reason: WeftError): void {
    if (state !== 'failed') this.error = undefined;
    this.#unwatch?.();
    this.#unwatch = undefined;
    this.#end();
    this.#setState(state);
    this.#port.over(reason);
  }

  /** The gateway said when to come back. */
  hint(afterMs: number): void {
    this.#backoff.hint(afterMs);
  }

  /** Something has come. */
  heard(isPong: boolean): void {
    this.#pulse.heard(isPong);
  }

  /** The gateway has answered: everything goes on. The state is told once a token, if there is one, was accepted. */
  greeted(): void {
    this.isUp = true;
    this.#upSince = performance.now();
    if (this.kind === 'websocket') this.#ways.through();
    this.#port.up();
    this.#pulse.start(this.times.heartbeatMs, this.times.pongMs);
    if (!this.#tokens.current) this.#connected();
  }

  // ── the token ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** The gateway has taken the token. Being greeted says less: it may greet who has none yet, and close when none comes. */
  accepted(): void {
    // A gateway does not warn again of one that ends no later: this side goes on asking.
    if (this.#tokens.accepted()) this.#isExpiring = false;
    this.#connected();
  }

  /** The gateway does not take the token: for good, or (`isPassing`) because it cannot look at it just now. */
  refused(error: WeftError, isPassing: boolean): void {
    if (!isPassing) return this.#lost(4401, error.message);
    this.#port.error(error);
    this.#isExpiring = true;
    if (this.#renewal === undefined) this.#renewLater();
  }

  /** The token expires within 30 s. Without a newer one the gateway closes the connection when it does. */
  expires(): void {
    this.#isExpiring = true;
    // One that lives for less is near its end from the beginning: not more often than this.
    if (this.#renewal === undefined) void this.#renew();
  }

  /** What the gateway has seen is not shown again: it would warn again, at once. */
  async #renew(): Promise<void> {
    const turn = this.#turn;
    this.#renewLater();
    let error = new WeftError('token_expired', 'the token expires within 30 s, and there is no newer one');
    try {
      await this.#tokens.renew();
    } catch (thrown) {
      error = noToken(thrown);
    }
    if (turn !== this.#turn) return;
    if (this.#tokens.isNews) return this.#authenticate();
    if (!this.#isWarned) this.#port.error(error);
    this.#isWarned = true;
  }

  #renewLater(): void {
    this.#renewal = setTimeout(() => {
      this.#renewal = undefined;
      if (this.#isExpiring) void this.#renew();
    }, this.times.renewMs);
  }

  #authenticate(): void {
    const token = this.#tokens.current;
    if (token) this.send({ type: 'auth', token, ref: 'auth' });
  }

  // ── the way to a gateway ──────────────────────────────────────────────────────────────────────────────────────

  #at(): Gateway {
    return this.#gateways[this.#gateway % this.#gateways.length] as Gateway;
  }

  #setState(state: State): void {
    if (state === this.state) return;
    this.state = state;
    this.#port.state(state);
  }

  /** Somebody wants to connect: what was refused may be allowed by now. */
  #begin(): void {
    this.error = undefined;
    this.#tokens.forget();
    this.#port.forgive();
    this.#setState(this.#everUp ? 'reconnecting' : 'connecting');
    void this.#dial();
  }

  async #dial(): Promise<void> {
    clearTimeout(this.#timer);
    const turn = ++this.#turn;
    this.site.base = this.#at().http;
    try {
      await this.#tokens.renew();
    } catch (error) {
      if (turn !== this.#turn) return;
      this.#port.error(noToken(error));
      return this.#wait(false);
    }
    if (turn !== this.#turn) return;
    this.kind = this.#ways.choose(this.#everUp);
    try {
      this.#link = this.#ways.open(this.kind, this.#at().ws, this.#events(turn));
    } catch (error) {
      // The browser forbids it, as it does from a page of https to an address of ws.
      this.#port.error(new WeftError('unreachable', String(error)));
      this.#lost(1006);
    }
  }

  #events(turn: number): LinkEvents {
    const ours = () => turn === this.#turn;
    return {
      open: () => ours() && this.#authenticate(),
      message: message => ours() && this.#port.message(message),
      closed: (code, reason) => ours() && this.#lost(code, reason),
      kind: kind => {
        if (ours()) this.kind = kind;
      },
      // Opened anew, so that there is one way in which a link begins.
      through: () => {
        if (!ours()) return;
        this.#ways.through();
        this.#end();
        void this.#dial();
      },
    };
  }

  #connected(): void {
    this.#everUp = true;
    this.#setState('connected');
  }

  #lost(code: number, reason?: string): void {
    const how = comeBack(code);
    const hint = /come back after (\d+) ms/.exec(reason ?? '');
    if (hint) this.hint(Number(hint[1]));
    this.#ways.lost(this.kind, this.isUp, code);
    if (this.isUp) this.#backoff.ended(performance.now() - this.#upSince);
    this.#gateway += 1;
    this.#end();
    if (how === 'no') {
      const message = `the gateway closed the connection for good (${code})${reason ? `: ${reason}` : ''}`;
      return this.#fail(new WeftError(code === 4403 ? 'forbidden' : 'refused', message));
    }
    if (how === 'token' && !this.#tokens.refused())
      return this.#fail(new WeftError('unauthenticated', reason || 'the token was refused'));
    // One that is full has asked for time, also where it did not say how much.
    this.#wait(how === 'later' || code === 1013);
  }

  #fail(error: WeftError): void {
    this.error = error;
    this.leave('failed', error);
    this.#port.error(error);
  }

  /** Gives up the present link without a word to anybody. */
  #end(): void {
    this.#turn += 1;
    clearTimeout(this.#timer);
    clearTimeout(this.#renewal);
    this.#renewal = undefined;
    this.#isExpiring = false;
    this.#isWarned = false;
    this.#pulse.stop();
    this.#link?.close();
    this.#link = undefined;
    this.isUp = false;
    this.#port.lost();
  }

  /** `asked` says that the gateway has asked for time. */
  #wait(asked: boolean): void {
    this.#setState(isOffline() ? 'disconnected' : 'reconnecting');
    const pauseMs = this.#backoff.next(asked);
    this.#notBefore = asked || this.#backoff.isHinted ? Date.now() + pauseMs : 0;
    this.#timer = setTimeout(() => void this.#dial(), pauseMs);
  }

  /** The page is looked at again, or the network is back. */
  #wake(): void {
    if (this.isUp) this.#pulse.ask(this.times.pongMs / 2);
    // A person who comes back need not wait for chance, but has to for a gateway that has asked for time.
    else if (!this.#link && Date.now() >= this.#notBefore) void this.#dial();
  }

  /** The network may be gone. */
  #doubt(): void {
    if (this.isUp) this.#pulse.ask(this.times.pongMs / 2);
    else this.#setState('disconnected');
  }
}

const noToken = (error: unknown): WeftError => new WeftError('token', `no token could be had: ${String(error)}`);
