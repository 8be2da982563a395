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
  /** There are older ones, which `more` asks for. */
  hasMore: boolean;
  /** They are being asked for. */
  isLoadingMore: boolean;
  error: WeftError | undefined;
}

export interface ListViewOptions {
  status?: Status;
  /** As many at first, and for each `more`; 200 is the most that a gateway lists at once. 50 unless set. */
  limit?: number;
  /** Between two questions. 5 s unless set. */
  refreshMs?: number;
}

interface Page {
  executions: ListedExecution[];
  /** For the next one; `null` at the end. */
  cursor: string | null;
}

/** Running executions that are followed live; more of them are only asked for. */
const LIVE_MAX = 20;
/** Executions that are kept; older ones are not asked for. */
const LISTED_MAX = 5000;

export class ListView extends View<ListState> {
  readonly #weft: Weft;
  readonly #options: ListViewOptions;
  #listed: readonly ListedExecution[] = [];
  #isLoading = true;
  #error: WeftError | undefined;
  /** Where the oldest listed one stands; `null` at the end of all. */
  #end: string | null = null;
  /** Where the next question for one of the older pages begins, and the last execution before it. */
  #round: { cursor: string; after: string } | undefined;
  #over = new AbortController();
  #isAskingMore = false;
  readonly #live = new Map<string, ReturnType<Weft['execution']>>();

  constructor(weft: Weft, options: ListViewOptions = {}) {
    super();
    this.#weft = weft;
    this.#options = options;
  }

  /** Asks for older ones. */
  readonly more = async (): Promise<void> => {
    const { signal } = this.#over;
    const before = this.#listed.at(-1)?.createdAt;
    if (this.#end === null || this.#isAskingMore || signal.aborted) return;
    this.#isAskingMore = true;
    this.changed();
    await this.#asking(signal, async () => {
      const page = await this.#page(this.#end, signal);
      this.#merge(page, before ?? undefined);
      this.#end = page.cursor;
    });
    this.#isAskingMore = false;
    this.changed();
  };

  protected start(): () => void {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const over = new AbortController();
    this.#over = over;
    this.#listed = [];
    const again = async () => {
      await this.#asking(over.signal, () => this.#refresh(over.signal));
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
    const hasMore = this.#end !== null && this.#listed.length < LISTED_MAX;
    return { executions, isLoading: this.#isLoading, hasMore, isLoadingMore: this.#isAskingMore, error: this.#error };
  }

  async #asking(signal: AbortSignal, ask: () => Promise<void>): Promise<void> {
    try {
      await ask();
      if (signal.aborted) return;
      this.#error = undefined;
      this.#followRunning();
    } catch (error) {
      if (signal.aborted) return;
      this.#error = error instanceof WeftError ? error : new WeftError('internal', String(error));
    }
    this.#isLoading = false;
    this.changed();
  }

  #page(cursor: string | null, signal: AbortSignal): Promise<Page> {
    const { status, limit = 50 } = this.#options;
    const query = new URLSearchParams({
      limit: `${limit}`,
      ...(status && { status }),
      ...(cursor !== null && { cursor }),
    });
    return this.#weft.request<Page>(`/api/executions?${query}`, { signal });
  }

  /** Asks for the newest ones, and each time for another page of those before, so that all of them are up to date in the end. */
  async #refresh(signal: AbortSignal): Promise<void> {
    const first = await this.#page(null, signal);
    if (signal.aborted) return;
    const known = new Set(this.#listed.map(({ executionId }) => executionId));
    const joins = first.executions.some(({ executionId }) => known.has(executionId));
    if (!joins || this.#listed.length <= first.executions.length) {
      // The first question, or so many are new that there would be a hole: it begins anew.
      this.#listed = first.executions;
      this.#end = first.cursor;
      this.#round = undefined;
      return;
    }
    this.#merge(first, undefined);
    const oldest = this.#listed.at(-1)?.createdAt ?? '';
    const from = this.#round ?? next(first);
    if (!from || from.after <= oldest) {
      this.#round = undefined;
      return;
    }
    const page = await this.#page(from.cursor, signal);
    if (signal.aborted) return;
    this.#merge(page, from.after, oldest);
    this.#round = next(page);
  }

  /**
   * Puts a page among what is listed, which is in the order of the list: the newest first. What the list had between the ends
   * of the page and the page lacks is gone. `before` is the time of the execution before the page; there is none before the
   * first one. Nothing older than `oldest` is new to the list.
   */
  #merge({ executions, cursor }: Page, before: string | undefined, oldest = ''): void {
    const known = new Set(this.#listed.map(({ executionId }) => executionId));
    const isWanted = ({ executionId, createdAt }: ListedExecution) =>
      (createdAt ?? '') >= oldest || known.has(executionId);
    const own = executions.filter(isWanted);
    const ids = new Set(own.map(({ executionId }) => executionId));
    const last = cursor === null ? '' : (executions.at(-1)?.createdAt ?? undefined);
    const rest = this.#listed.filter(({ executionId, createdAt }) => {
      const at = createdAt ?? '';
      const isWithin = last !== undefined && at > last && (before === undefined || at < before);
      return !ids.has(executionId) && !isWithin;
    });
    const all = [...rest, ...own];
    all.sort((one, other) => compare(other.createdAt ?? '', one.createdAt ?? ''));
    this.#listed = all.slice(0, LISTED_MAX);
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

const next = ({ executions, cursor }: Page): { cursor: string; after: string } | undefined => {
  const after = executions.at(-1)?.createdAt;
  return cursor === null || !after ? undefined : { cursor, after };
};

const compare = (one: string, other: string): number => (one < other ? -1 : Number(one > other));
