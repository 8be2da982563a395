/** Failures that somebody should hear of: of executions, and of the connection. */
import type { Weft } from '../core/weft.js';
import { View } from './view.js';

export interface Failure {
  key: number;
  /** What failed: an execution, or the connection. */
  kind: 'execution' | 'connection';
  executionId: string | undefined;
  message: string;
}

/** Failures that are kept. */
const MAX = 20;

export class FailuresView extends View<readonly Failure[]> {
  readonly #weft: Weft;
  readonly #notify: ((failure: Failure) => void) | undefined;
  #failures: Failure[] = [];
  #count = 0;

  /** `notify` is called for each one at once. */
  constructor(weft: Weft, notify?: (failure: Failure) => void) {
    super();
    this.#weft = weft;
    this.#notify = notify;
  }

  readonly dismiss = (key: number): void => {
    this.#failures = this.#failures.filter(failure => failure.key !== key);
    this.changed();
  };

  protected start(): () => void {
    const over = new AbortController();
    this.#weft.on(
      'event',
      event => {
        if (event.type === 'execution:failed') this.#add('execution', event.data?.error ?? 'failed', event.executionId);
      },
      over,
    );
    this.#weft.on('error', error => this.#add('connection', error.message, undefined), over);
    return () => over.abort();
  }

  protected read(): readonly Failure[] {
    return this.#failures;
  }

  #add(kind: Failure['kind'], message: string, executionId: string | undefined): void {
    const failure = { key: this.#count++, kind, executionId, message: String(message) };
    this.#failures = [...this.#failures, failure].slice(-MAX);
    this.#notify?.(failure);
    this.changed();
  }
}
