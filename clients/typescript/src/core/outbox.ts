/** Commands on their way: kept until each has its one answer, and sent again after a lost connection. */

import { WeftError } from './told.js';
import type { Command, CommandBody } from './wire.js';

interface Waiting {
  command: Command;
  /** Runs while it is on its way: being offline is no time in which anybody could answer. */
  timer: ReturnType<typeof setTimeout> | undefined;
  settle(error?: Error): void;
}

/** The pending commands of one client. */
export class Outbox {
  readonly #waiting = new Map<string, Waiting>();
  readonly #send: (command: Command) => boolean;
  readonly #max: number;
  readonly #timeoutMs: number;
  // Answers to an earlier client of the same page must not be taken for ours.
  readonly #prefix = `c${Math.random().toString(36).slice(2, 8)}.`;
  #count = 0;

  /** `send` tells whether there was a connection; without one the command waits for {@link Outbox.flush}. */
  constructor(send: (command: Command) => boolean, max: number, timeoutMs: number) {
    this.#send = send;
    this.#max = max;
    this.#timeoutMs = timeoutMs;
  }

  /** Sends a command; resolves when the executor has accepted it. */
  post(body: CommandBody, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      if (this.#waiting.size >= this.#max) {
        return reject(new WeftError('queue_full', `${this.#max} commands wait for their answer already`));
      }
      const command = { ...body, ref: `${this.#prefix}${++this.#count}` };
      const abort = () => settle(signal?.reason);
      const settle = (error?: Error) => {
        clearTimeout(waiting.timer);
        this.#waiting.delete(command.ref);
        signal?.removeEventListener('abort', abort);
        if (error) reject(error);
        else resolve();
      };
      signal?.addEventListener('abort', abort);
      const waiting: Waiting = { command, timer: undefined, settle };
      this.#waiting.set(command.ref, waiting);
      this.#dispatch(waiting);
    });
  }

  /** The answer is due from when it was sent, and again when it was sent again. */
  #dispatch(waiting: Waiting): void {
    if (!this.#send(waiting.command)) return;
    waiting.timer = setTimeout(
      () => waiting.settle(new WeftError('timeout', 'no answer in time; it may have been acted on')),
      this.#timeoutMs,
    );
  }

  /** An answer has come; whether it was to one of ours. */
  answered(ref: string | undefined, error?: Error): boolean {
    const waiting = this.#waiting.get(ref ?? '');
    waiting?.settle(error);
    return waiting !== undefined;
  }

  /**
   * Sends what has no answer yet. Some of it may have been sent before; that does no harm, because a prompt takes one
   * answer and an execution ends once.
   */
  flush(): void {
    for (const waiting of this.#waiting.values()) this.#dispatch(waiting);
  }

  /** The connection is gone: what was sent waits for the next one. */
  lost(): void {
    for (const { timer } of this.#waiting.values()) clearTimeout(timer);
  }

  /** Gives up everything. */
  clear(error: Error): void {
    for (const { settle } of [...this.#waiting.values()]) settle(error);
  }
}
