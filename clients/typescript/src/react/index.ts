/** `@weft/client/react`: hooks and ready-made components. */
export type { AgentState, ToolCall } from '../view/agent-view.js';
export type { Connection } from '../view/client-view.js';
export type { ExecutionState, ExecutionViewOptions, LogEntry } from '../view/execution-view.js';
export type { Failure } from '../view/failures-view.js';
export type { ListedExecution } from '../view/list-view.js';
export { type Asked, askedBy, typed } from '../view/prompt.js';
export { useClient, useWeft, WeftProvider, type WeftProviderProps } from './client.js';
export {
  ConnectionBadge,
  ExecutionLogs,
  ExecutionLogViewer,
  ExecutionStatus,
  ExecutionsView,
  FailureNotices,
  type MonitorProps,
  WorkflowExecutionMonitor,
} from './components.js';
export {
  type ExecutionActions,
  type UserInput,
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
  type WebSocketFace,
} from './hooks.js';
