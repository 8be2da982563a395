/** For front ends that keep all executions in one store and feed it from one socket. */
import { computed, reactive } from 'vue';
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
 * `initialize` begins to listen, `subscribeToExecution` and `unsubscribeFromExecution` choose what to. Feeds the given
 * store, or keeps the executions itself.
 */
export function useExecutionWebSocket(store?: ExecutionSink) {
  const weft = useKept();
  const connection = useView(clientView(weft));
  const executions = reactive<Record<string, StoredExecution>>({});
  const sink = store ?? executionSink(executions);
  const face = new SocketFace(weft);
  const logs = new Map<string, StoredLog[]>();
  const flush = () => {
    for (const [executionId, entries] of logs) sink.addExecutionLogs(executionId, entries);
    logs.clear();
  };
  face.on('log', ({ executionId, log }) => {
    const entries = logs.get(executionId) ?? [];
    logs.set(executionId, entries);
    // All lines of a frame in one change of the store.
    if (entries.push(log) === 1) nextFrame(flush);
  });
  face.on('status', ({ executionId, status }) => sink.updateExecutionStatus(executionId, status));
  face.on('result', ({ executionId, result }) => sink.setExecutionResult(executionId, result));
  face.on('error', ({ executionId, error }) => executionId !== undefined && sink.setExecutionError(executionId, error));
  face.on('nodeStatus', ({ executionId, nodeId, status, output }) =>
    sink.updateNodeStatus(executionId, nodeId, status, output),
  );
  const initialize = (): void => {
    face.open();
    weft.connect();
  };
  onEnd(face.close);
  return {
    executions,
    isConnected: computed(() => connection.value.isConnected),
    isReconnecting: computed(() => connection.value.isReconnecting),
    initialize,
    subscribeToExecution(executionId: string): void {
      initialize();
      face.emit('subscribe', executionId);
    },
    unsubscribeFromExecution: (executionId: string): void => face.emit('unsubscribe', executionId),
  };
}
