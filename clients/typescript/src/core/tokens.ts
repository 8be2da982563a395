/** The token in use, where the next one comes from, and when it is no use to ask for another. */

/** Refused tokens in a row after which no further one is tried; one that was refused before counts twice. */
const REFUSED_MAX = 5;

/** What requests need. */
export interface Site {
  /** Address of the gateway in use; all paths stand after it. */
  base: string;
  readonly tokens: Tokens;
  /** In place of the built-in one. */
  readonly fetch: typeof fetch | undefined;
}

/** Where tokens come from. */
export type TokenSource = string | (() => string | Promise<string>) | undefined;

export class Tokens {
  current: string | undefined;
  readonly #source: TokenSource;
  #accepted: string | undefined;
  #refused: string | undefined;
  #refusals = 0;

  constructor(source: TokenSource) {
    this.#source = source;
  }

  /** Whether asking again may give another one. */
  get renewable(): boolean {
    return typeof this.#source === 'function';
  }

  /** Whether the gateway has yet to see the one in use. */
  get isNews(): boolean {
    return !!this.current && this.current !== this.#accepted;
  }

  /** Asks for a token. */
  async renew(): Promise<string | undefined> {
    this.current = await (typeof this.#source === 'function' ? this.#source() : this.#source);
    return this.current;
  }

  /** The gateway has taken the one in use; whether it ends later than the one before, so that it will be warned of anew. */
  accepted(): boolean {
    const before = expiry(this.#accepted);
    this.#accepted = this.current;
    this.forget();
    return !(expiry(this.current) <= before + 1);
  }

  /** Somebody tries again: what was refused before does not count. */
  forget(): void {
    this.#refusals = 0;
    this.#refused = undefined;
  }

  /** The gateway has refused the one in use; whether to ask for another. Who has none has nobody signed in. */
  refused(): boolean {
    this.#refusals += this.current === this.#refused ? 2 : 1;
    this.#refused = this.current;
    return this.renewable && !!this.current && this.#refusals < REFUSED_MAX;
  }
}

/** When a token expires, in Unix seconds; `NaN` of one that does not say. */
function expiry(token = ''): number {
  try {
    const claims = token.split('.')[1] as string;
    return +JSON.parse(atob(claims.replace(/-/g, '+').replace(/_/g, '/'))).exp;
  } catch {
    return Number.NaN;
  }
}
