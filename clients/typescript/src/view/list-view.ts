/** The caller's executions, newest first: the gateway's list, asked again now and then, and live in between. */
import type { Status } from '../core/event.js';
import { isTerminal } from '../core/snapshot.js';
import { WeftError } from '../core/told.js';
import type { Weft } from '../core/weft.js';
import { View } from './view.js';

export interface ListedExecution {
  executionId: string;
  workflowId: string | null;
  status: Status;
  progress: number | null;
  startedAt: string | null;
  endedAt: string | null;
  /** Its owner. */
  userId: string | null;
  /** When its first event was stored, and its last change. */
  createdAt: string | null;
  updatedAt: string | null;
}

export interface ListState {
  executions: readonly ListedExecution[];
  isLoading: boolean;
  error: WeftError | undefined;
}

export interface ListViewOptions {
  status?: Status;
  /** At most this many. 50 unless set. */
  limit?: number;
  /** Between two questions. 5 s unless set. */
  refreshMs?: number;
}

/** Running executions that are followed live; more of them are only asked for. */
const LIVE_MAX = 20;

export class ListView extends View<ListState> {
  readonly #weft: Weft;
  readonly #options: ListViewOptions;
  #listed: ListedExecution[] = [];
  #isLoading = true;
  #error: WeftError | undefined;
  readonly #live = new Map<string, ReturnType<Weft['execution']>>();

  constructor(weft: Weft, options: ListViewOptions = {}) {
    super();
    this.#weft = weft;
    this.#options = options;
  }

  protected start(): () => void {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const over = new AbortController();
    const again = async () => {
      await this.#ask(over.signal);
      if (!over.signal.aborted) timer = setTimeout(again, this.#options.refreshMs ?? 5000);
    };
    void again();
    return () => {
      over.abort();
      clearTimeout(timer);
      for (const run of this.#live.values()) run.close();
      this.#live.clear();
    };
  }

  protected read(): ListState {
    const executions = this.#listed.map(entry => {
      const live = this.#live.get(entry.executionId)?.snapshot;
      if (!live) return entry;
      const { status, progress, startedAt, endedAt } = live;
      return { ...entry, status, progress, startedAt: startedAt ?? entry.startedAt, endedAt };
    });
    return { executions, isLoading: this.#isLoading, error: this.#error };
  }

  async #ask(signal: AbortSignal): Promise<void> {
    const { status, limit = 50 } = this.#options;
    const query = new URLSearchParams({ limit: `${limit}`, ...(status ? { status } : {}) });
    try {
      const answer = await this.#weft.request<{ executions: ListedExecution[] }>(`/api/executions?${query}`, {
        signal,
      });
      if (signal.aborted) return;
      this.#listed = answer.executions;
      this.#error = undefined;
      this.#followRunning();
    } catch (error) {
      if (signal.aborted) return;
      this.#error = error instanceof WeftError ? error : new WeftError('internal', String(error));
    }
    this.#isLoading = false;
    this.changed();
  }

  #followRunning(): void {
    const running = this.#listed.filter(({ status }) => !isTerminal(status)).slice(0, LIVE_MAX);
    const wanted = new Set(running.map(({ executionId }) => executionId));
    for (const [id, run] of this.#live) {
      if (wanted.has(id)) continue;
      run.close();
      this.#live.delete(id);
    }
    for (const id of wanted) {
      if (this.#live.has(id)) continue;
      const run = this.#weft.execution(id);
      for (const name of ['*', 'snapshot', 'subscribed']) run.on(name, () => this.changed());
      this.#live.set(id, run);
    }
  }
}
