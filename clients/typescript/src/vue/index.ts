/** `@weft/client/vue`: composables and ready-made components. */
export type { AgentState, ToolCall } from '../view/agent-view.js';
export type { Connection } from '../view/client-view.js';
export type { ExecutionState, ExecutionViewOptions, LogEntry } from '../view/execution-view.js';
export type { Failure } from '../view/failures-view.js';
export type { ListedExecution } from '../view/list-view.js';
export { type Asked, askedBy, typed } from '../view/prompt.js';
export { useClient, useWeft, weftKey, weftPlugin } from './client.js';
export {
  ConnectionBadge,
  ExecutionLogs,
  ExecutionLogViewer,
  ExecutionStatus,
  ExecutionsView,
  FailureNotices,
  WorkflowExecutionMonitor,
} from './components.js';
export {
  useAgentStream,
  useAgentStreaming,
  useExecution,
  useExecutionEvents,
  useExecutionStream,
  useExecutions,
  useFailures,
  useUserInput,
  useWebSocket,
  useWebSocketLogs,
} from './composables.js';
export {
  type ExecutionSink,
  executionSink,
  type StoredExecution,
  type StoredLog,
  useExecutionWebSocket,
} from './execution-socket.js';
