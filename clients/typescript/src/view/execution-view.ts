/** One execution: its state and its log. */
import type { Gap, Level, LogEvent, Prompt, Status } from '../core/event.js';
import type { Execution } from '../core/follow.js';
import type { NodeState, Snapshot } from '../core/snapshot.js';
import type { WeftError } from '../core/told.js';
import type { Weft } from '../core/weft.js';
import { missing } from './format.js';
import { View } from './view.js';

/** A line of a log. */
export interface LogEntry {
  /** Numbers the lines of this view, for lists. */
  key: number;
  id: string | undefined;
  level: Level;
  message: string;
  nodeId: string | undefined;
  timestamp: string | undefined;
  /** The event as it came. */
  event: LogEvent | undefined;
}

/** What a screen shows of an execution. */
export interface ExecutionState {
  executionId: string;
  /** Nothing is known yet. */
  isLoading: boolean;
  status: Status;
  progress: number | null;
  currentNode: string | null;
  nodes: Readonly<Record<string, NodeState>>;
  result: unknown;
  error: unknown;
  startedAt: string | null;
  endedAt: string | null;
  pendingInput: readonly Prompt[];
  /** In order, history and live without doubles. A gap stands as a warning where it is. */
  logs: readonly LogEntry[];
  /** Older lines that are no longer kept. */
  logsOmitted: number;
  /** Events were lost for good. */
  gaps: readonly Gap[];
  /** The gateway refuses this execution, or its history cannot be had. */
  refusal: WeftError | undefined;
  snapshot: Readonly<Snapshot> | undefined;
}

export interface ExecutionViewOptions {
  /** Begin with the log entries that are held. True unless set. */
  history?: boolean;
  /** Lines that are kept. 10,000 unless set. */
  maxLogs?: number;
}

const LEVELS: readonly string[] = ['debug', 'info', 'warning', 'error'];

export class ExecutionView extends View<ExecutionState> {
  readonly executionId: string;
  readonly #weft: Weft;
  readonly #history: boolean;
  readonly #maxLogs: number;
  #run: Execution | undefined;
  #logs: LogEntry[] = [];
  #shown: readonly LogEntry[] = [];
  #areLogsNew = false;
  #omitted = 0;
  #count = 0;
  #gaps: Gap[] = [];
  #refusal: WeftError | undefined;

  constructor(weft: Weft, executionId: string, { history = true, maxLogs = 10_000 }: ExecutionViewOptions = {}) {
    super();
    this.#weft = weft;
    this.executionId = executionId;
    this.#history = history;
    this.#maxLogs = Math.max(1, maxLogs);
  }

  /** Forgets the lines so far. */
  readonly clear = (): void => {
    this.#logs = [];
    this.#omitted = 0;
    this.#areLogsNew = true;
    this.changed();
  };

  readonly cancel = (reason?: string): Promise<void> => this.#act(run => run.cancel(reason));

  /** Answers a prompt. */
  readonly provideInput = (requestId: string, value: unknown): Promise<void> =>
    this.#act(run => run.provideInput(requestId, value));

  protected start(): () => void {
    this.clear();
    this.#gaps = [];
    this.#refusal = undefined;
    const run = this.#weft.execution(this.executionId, this.#history ? { history: 'logs' } : {});
    this.#run = run;
    run.on('log', event => this.#add(event));
    run.on('gap', gap => {
      this.#gaps = [...this.#gaps.slice(-99), gap];
      this.#push('warning', missing(gap), undefined);
    });
    run.on('error', error => {
      this.#refusal = error;
    });
    run.on('subscribed', () => {
      // It was let in after all. That history cannot be had is another matter.
      if (this.#refusal?.room !== undefined) this.#refusal = undefined;
    });
    for (const name of ['*', 'snapshot', 'subscribed', 'caughtUp', 'error', 'gap']) run.on(name, () => this.changed());
    return () => {
      run.close();
      this.#run = undefined;
    };
  }

  protected read(): ExecutionState {
    const told = this.#run?.snapshot;
    // The client folds in place; what was handed out must stay as it was.
    const snapshot = told && { ...told, nodes: { ...told.nodes } };
    if (this.#areLogsNew) {
      this.#shown = this.#logs.slice();
      this.#areLogsNew = false;
    }
    return {
      executionId: this.executionId,
      isLoading: !snapshot && !this.#refusal,
      status: snapshot?.status ?? 'pending',
      progress: snapshot?.progress ?? null,
      currentNode: snapshot?.currentNode ?? null,
      nodes: snapshot?.nodes ?? {},
      result: snapshot?.result ?? null,
      error: snapshot?.error ?? null,
      startedAt: snapshot?.startedAt ?? null,
      endedAt: snapshot?.endedAt ?? null,
      pendingInput: snapshot?.pendingInput ?? [],
      logs: this.#shown,
      logsOmitted: this.#omitted,
      gaps: this.#gaps,
      refusal: this.#refusal,
      snapshot,
    };
  }

  async #act(act: (run: Execution) => Promise<void>): Promise<void> {
    if (this.#run) return act(this.#run);
    // Nobody looks at it at the moment: follow it for as long as the command takes.
    const run = this.#weft.execution(this.executionId);
    try {
      await act(run);
    } finally {
      run.close();
    }
  }

  #add(event: LogEvent): void {
    const { level = 'info', message = '' } = event.data ?? {};
    this.#push(
      LEVELS.includes(level) ? level : 'info',
      typeof message === 'string' ? message : JSON.stringify(message),
      event,
    );
  }

  #push(level: Level, message: string, event: LogEvent | undefined): void {
    const nodeId = event?.nodeId ?? event?.data?.nodeId;
    const id = event?.data?.id ?? event?.id;
    this.#logs.push({ key: this.#count++, id, level, message, nodeId, timestamp: event?.timestamp, event });
    // Cut rarely: taking one line off the front of a long list for each one added would be slow.
    if (this.#logs.length > this.#maxLogs * 1.2 + 10) {
      this.#omitted += this.#logs.splice(0, this.#logs.length - this.#maxLogs).length;
    }
    this.#areLogsNew = true;
  }
}
