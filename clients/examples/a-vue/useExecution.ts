import { io } from 'socket.io-client';
import { onScopeDispose, reactive, ref } from 'vue';

type Status = 'pending' | 'running' | 'completed' | 'failed';
interface Log {
  id: string;
  nodeId?: string;
  level: 'info' | 'warning' | 'error';
  message: string;
  createdAt: string;
}
interface NodeStatus {
  nodeId: string;
  status: string;
  output?: unknown;
}

/** One execution, live: its status, its nodes, its log, and how it ended. */
export function useExecution(address: string, executionId: string) {
  const connection = ref<'connecting' | 'connected' | 'recovered' | 'lost'>('connecting');
  const status = ref<Status>('pending');
  const nodes = reactive(new Map<string, NodeStatus>());
  const logs = reactive<Log[]>([]);
  const result = ref<unknown>();
  const error = ref<string>();

  const socket = io(`${address}/executions`);
  socket.on('connect', () => {
    connection.value = socket.recovered ? 'recovered' : 'connected';
    socket.emit('subscribe', executionId);
  });
  socket.on('disconnect', () => {
    connection.value = 'lost';
  });
  socket.on('status', (message: { status: Status }) => {
    status.value = message.status;
  });
  socket.on('nodeStatus', (message: NodeStatus) => nodes.set(message.nodeId, message));
  socket.on('log', (message: { log: Log }) => logs.push(message.log));
  socket.on('result', (message: { result: unknown }) => {
    result.value = message.result;
  });
  socket.on('error', (message: { error: string }) => {
    error.value = message.error;
  });
  onScopeDispose(() => {
    socket.emit('unsubscribe', executionId);
    socket.disconnect();
  });

  return { connection, status, nodes, logs, result, error };
}
