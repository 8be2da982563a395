/** For front ends that keep all executions in one store and feed it from one socket. */
import { computed, reactive } from 'vue';
import { call } from '../core/listeners.js';
import { clientView } from '../view/client-view.js';
import { SocketFace } from '../view/socket.js';
import { nextFrame } from '../view/view.js';
import { onEnd, useKept, useView } from './client.js';

/** A log entry as those front ends have it. */
export interface StoredLog {
  id: string;
  nodeId?: string;
  level: string;
  message: string;
  metadata?: unknown;
  createdAt?: string;
}

/** An execution as such a store keeps it. */
export interface StoredExecution {
  status: string;
  logs: StoredLog[];
  result: unknown;
  error: unknown;
  nodeStatuses: Record<string, { status: string; output?: unknown }>;
}

/** What such a store can do; `useExecutionStore` of `@weft/client/pinia` can. */
export interface ExecutionSink {
  updateExecutionStatus(executionId: string, status: string): void;
  addExecutionLogs(executionId: string, logs: StoredLog[]): void;
  setExecutionResult(executionId: string, result: unknown): void;
  setExecutionError(executionId: string, error: unknown): void;
  updateNodeStatus(executionId: string, nodeId: string, status: string, output?: unknown): void;
}

/** Lines kept of each execution. */
const LOGS_MAX = 10_000;

const fresh = (): StoredExecution => ({ status: 'pending', logs: [], result: null, error: null, nodeStatuses: {} });

/** The state and the methods of such a store, for any reactive object. */
export function executionSink(executions: Record<string, StoredExecution>): ExecutionSink {
  const of = (executionId: string): StoredExecution => {
    executions[executionId] ??= fresh();
    return executions[executionId] as StoredExecution;
  };
  return {
    updateExecutionStatus(executionId, status) {
      of(executionId).status = status;
    },
    addExecutionLogs(executionId, logs) {
      const execution = of(executionId);
      execution.logs = [...execution.logs, ...logs].slice(-LOGS_MAX);
    },
    setExecutionResult(executionId, result) {
      of(executionId).result = result;
    },
    setExecutionError(executionId, error) {
      of(executionId).error = error;
    },
    updateNodeStatus(executionId, nodeId, status, output) {
      const known = of(executionId).nodeStatuses;
      known[nodeId] = { ...known[nodeId], status, ...(output === undefined ? undefined : { output }) };
    },
  };
}

/**
 * What a store is to be told, once a frame: all lines of an execution in one change, and of what was told several times the
 * last. Once it is over the store is left alone.
 */
class Changes {
  isOver = false;
  readonly #sink: ExecutionSink;
  readonly #logs = new Map<string, StoredLog[]>();
  /** By what they change, in the order of the last who did. */
  readonly #others = new Map<string, () => void>();

  constructor(sink: ExecutionSink) {
    this.#sink = sink;
  }

  log(executionId: string, entry: StoredLog): void {
    const entries = this.#logs.get(executionId) ?? [];
    this.#plan();
    // More than that is not kept anyway.
    if (entries.push(entry) > 2 * LOGS_MAX) entries.splice(0, entries.length - LOGS_MAX);
    this.#logs.set(executionId, entries);
  }

  set(what: string, change: () => void): void {
    this.#plan();
    this.#others.delete(what);
    this.#others.set(what, change);
  }

  /** What has not been written is not written any more. */
  end(): void {
    this.isOver = true;
    this.#logs.clear();
    this.#others.clear();
  }

  #plan(): void {
    if (this.#logs.size + this.#others.size === 0) nextFrame(() => this.#flush());
  }

  #flush(): void {
    const logs = [...this.#logs].map(
      ([executionId, entries]) =>
        () =>
          this.#sink.addExecutionLogs(executionId, entries),
    );
    const changes = [...logs, ...this.#others.values()];
    this.#logs.clear();
    this.#others.clear();
    for (const change of changes) call(change);
  }
}

/**
 * `initialize` begins to listen, `subscribeToExecution` and `unsubscribeFromExecution` choose what to. Feeds the given
 * store, or keeps the executions itself.
 */
export function useExecutionWebSocket(store?: ExecutionSink) {
  const weft = useKept();
  const connection = useView(clientView(weft));
  const executions = reactive<Record<string, StoredExecution>>({});
  const sink = store ?? executionSink(executions);
  const face = new SocketFace(weft);
  const changes = new Changes(sink);
  face.on('log', ({ executionId, log }) => changes.log(executionId, log));
  face.on('status', ({ executionId, status }) =>
    changes.set(`status ${executionId}`, () => sink.updateExecutionStatus(executionId, status)),
  );
  face.on('result', ({ executionId, result }) =>
    changes.set(`result ${executionId}`, () => sink.setExecutionResult(executionId, result)),
  );
  face.on('error', ({ executionId, error }) => {
    if (executionId !== undefined)
      changes.set(`error ${executionId}`, () => sink.setExecutionError(executionId, error));
  });
  face.on('nodeStatus', ({ executionId, nodeId, status, output }) =>
    // One that says nothing of an output must not take the place of one that did.
    changes.set(`node ${executionId} ${nodeId}${output === undefined ? '' : ' output'}`, () =>
      sink.updateNodeStatus(executionId, nodeId, status, output),
    ),
  );
  const initialize = (): void => {
    if (changes.isOver) return;
    face.open();
    weft.connect();
  };
  onEnd(() => {
    face.close();
    changes.end();
  });
  return {
    executions,
    isConnected: computed(() => connection.value.isConnected),
    isReconnecting: computed(() => connection.value.isReconnecting),
    initialize,
    subscribeToExecution(executionId: string): void {
      if (changes.isOver) return;
      initialize();
      face.emit('subscribe', executionId);
    },
    unsubscribeFromExecution: (executionId: string): void => face.emit('unsubscribe', executionId),
  };
}
