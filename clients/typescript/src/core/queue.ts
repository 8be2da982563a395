import { WeftError } from './told.js';

/** Between those who push and one who pulls, with a bound: past it the puller is told that it was too slow. */
export class Queue<T> {
  #items: T[] = [];
  #over: { error?: Error } | undefined;
  #wake: (() => void) | undefined;
  readonly #max: number;

  constructor(max: number) {
    this.#max = max;
  }

  push(item: T): void {
    if (this.#over) return;
    if (this.#items.length >= this.#max) {
      return this.end(new WeftError('too_slow', `more than ${this.#max} events wait to be taken`));
    }
    this.#items.push(item);
    this.#wake?.();
  }

  /** What was pushed before is still given out. */
  end(error?: Error): void {
    this.#over ??= error ? { error } : {};
    this.#wake?.();
  }

  /** Gives out what is pushed, until the end. */
  async *drain(left: () => void): AsyncGenerator<T, void> {
    try {
      for (;;) {
        const item = this.#items.shift();
        if (item !== undefined) yield item;
        else if (this.#over?.error) throw this.#over.error;
        else if (this.#over) return;
        else {
          await new Promise<void>(resolve => {
            this.#wake = resolve;
          });
        }
      }
    } finally {
      this.end();
      left();
    }
  }
}
