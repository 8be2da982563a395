/** Several executions in one state, for stores. */
import type { Weft } from '../core/weft.js';
import { type Connection, clientView } from './client-view.js';
import { keepConnected } from './default-client.js';
import { type ExecutionState, ExecutionView, type ExecutionViewOptions } from './execution-view.js';

export interface ExecutionsState {
  connection: Connection;
  /** Of all that are followed, by id. */
  executions: Readonly<Record<string, ExecutionState>>;
}

interface Followed {
  view: ExecutionView;
  count: number;
  stop: () => void;
}

export class Collection {
  readonly #weft: Weft;
  readonly #tell: (state: ExecutionsState) => void;
  readonly #options: ExecutionViewOptions;
  readonly #followed = new Map<string, Followed>();
  #planned = false;
  readonly #stops: (() => void)[];

  /** `tell` is called with the new state, once a frame however much has changed. */
  constructor(weft: Weft, tell: (state: ExecutionsState) => void, options: ExecutionViewOptions = {}) {
    this.#weft = weft;
    this.#tell = tell;
    this.#options = options;
    this.#stops = [keepConnected(weft), clientView(weft).subscribe(() => this.#changed())];
  }

  get state(): ExecutionsState {
    const executions: Record<string, ExecutionState> = {};
    for (const [id, { view }] of this.#followed) executions[id] = view.getState();
    return { connection: clientView(this.#weft).getState(), executions };
  }

  /** Follows an execution; as often as it is called, `leave` must be. The answer leaves. */
  readonly follow = (executionId: string): (() => void) => {
    let followed = this.#followed.get(executionId);
    if (!followed) {
      const view = new ExecutionView(this.#weft, executionId, this.#options);
      followed = { view, count: 0, stop: view.subscribe(() => this.#changed()) };
      this.#followed.set(executionId, followed);
      this.#changed();
    }
    followed.count += 1;
    let isOver = false;
    return () => {
      if (!isOver) this.leave(executionId);
      isOver = true;
    };
  };

  readonly leave = (executionId: string): void => {
    const followed = this.#followed.get(executionId);
    if (!followed || --followed.count > 0) return;
    followed.stop();
    this.#followed.delete(executionId);
    this.#changed();
  };

  readonly clear = (executionId: string): void => this.#followed.get(executionId)?.view.clear();

  readonly cancel = (executionId: string, reason?: string): Promise<void> => this.#view(executionId).cancel(reason);

  readonly provideInput = (executionId: string, requestId: string, value: unknown): Promise<void> =>
    this.#view(executionId).provideInput(requestId, value);

  /** Leaves everything. */
  readonly close = (): void => {
    for (const { stop } of this.#followed.values()) stop();
    this.#followed.clear();
    for (const stop of this.#stops) stop();
  };

  #view(executionId: string): ExecutionView {
    return this.#followed.get(executionId)?.view ?? new ExecutionView(this.#weft, executionId, this.#options);
  }

  /** Views tell in the same turn of the same frame: one state for all of them. */
  #changed(): void {
    if (this.#planned) return;
    this.#planned = true;
    queueMicrotask(() => {
      this.#planned = false;
      this.#tell(this.state);
    });
  }
}
