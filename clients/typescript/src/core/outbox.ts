/** Commands on their way: kept until each has its one answer, and sent again after a lost connection. */

import { WeftError } from './told.js';
import type { Command, CommandBody } from './wire.js';

interface Waiting {
  command: Command;
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
      const abort = () => this.#settle(command.ref, signal?.reason ?? new WeftError('aborted', 'aborted'));
      const timer = setTimeout(() => {
        this.#settle(command.ref, new WeftError('timeout', 'no answer in time; whether it was acted on is unknown'));
      }, this.#timeoutMs);
      const settle = (error?: Error) => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', abort);
        if (error) reject(error);
        else resolve();
      };
      signal?.addEventListener('abort', abort);
      this.#waiting.set(command.ref, { command, settle });
      this.#send(command);
    });
  }

  /** An answer has come; whether it was to one of ours. */
  answered(ref: string | undefined, error?: Error): boolean {
    return ref !== undefined && this.#settle(ref, error);
  }

  /**
   * Sends what has no answer yet. Some of it may have been sent before; that does no harm, because a prompt takes one
   * answer and an execution ends once.
   */
  flush(): void {
    for (const { command } of this.#waiting.values()) this.#send(command);
  }

  /** Gives up everything. */
  clear(error: Error): void {
    for (const ref of [...this.#waiting.keys()]) this.#settle(ref, error);
  }

  #settle(ref: string, error?: Error): boolean {
    const waiting = this.#waiting.get(ref);
    this.#waiting.delete(ref);
    waiting?.settle(error);
    return waiting !== undefined;
  }
}
