/** How long to wait before the next attempt: full jitter, so that clients that were lost together come back apart. */

/** Times of the waiting, in milliseconds. */
export interface BackoffTimes {
  /** The bound of the first pause; it doubles with each attempt. */
  baseMs: number;
  /** No pause is longer. */
  capMs: number;
  /** How long a connection must have lasted to count as one: a shorter one does not begin the waiting anew. */
  stableMs: number;
}

/** The pauses of one client. */
export class Backoff {
  /** Attempts since the last connection that lasted. */
  attempts = 0;
  /** Whether the last pause was the gateway's wish. */
  isHinted = false;
  #hint: number | undefined;
  readonly #times: BackoffTimes;
  readonly #random: () => number;

  constructor(times: BackoffTimes, random: () => number) {
    this.#times = times;
    this.#random = random;
  }

  /** The gateway said when to come back; that counts for the next pause. */
  hint(afterMs: number): void {
    if (Number.isFinite(afterMs) && afterMs >= 0) this.#hint = Math.min(afterMs, 10 * this.#times.capMs);
  }

  /** A connection of this length has ended. */
  ended(lastedMs: number): void {
    if (lastedMs >= this.#times.stableMs) this.attempts = 0;
  }

  /** The pause before the next attempt. `later` asks for one that is long from the start. */
  next(later = false): number {
    const hint = this.#hint;
    this.#hint = undefined;
    this.isHinted = hint !== undefined;
    if (later) this.attempts = Math.max(this.attempts, 3);
    const bound = Math.min(this.#times.capMs, this.#times.baseMs * 2 ** Math.min(this.attempts, 30));
    this.attempts += 1;
    return hint ?? this.#random() * bound;
  }
}
