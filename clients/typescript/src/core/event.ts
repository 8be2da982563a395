/**
 * What happens, as executors publish it: one interface for each type of event, told apart by `type`.
 *
 * Everything here is erased when compiled. Fields with a question mark may be missing; any field that is not listed is
 * passed through as it was published.
 */

/** The state of an execution or of a node. */
export type Status = 'pending' | 'running' | 'completed' | 'failed' | 'cancelled';

/** How grave a log entry is. */
export type Level = 'debug' | 'info' | 'warning' | 'error';

/** The fields of every event. */
export interface EventFields {
  /** Unique; published again within two minutes, it is delivered once. */
  id?: string;
  /** When it happened, RFC 3339; for people, never to order by. */
  timestamp?: string;
  /** Which workflow. */
  workflowId?: string;
  /** Whose execution. */
  userId?: string;
  /** W3C trace context. */
  traceparent?: string;
  /** Where it stands in its room. Opaque; missing where the bus stores nothing. */
  offset?: string;
  /** The room it came by, if that is not its execution's. */
  room?: string;
  /** How many events this one stands for besides itself (`conflate` only). */
  skipped?: number;
}

interface OfExecution<T extends string, D> extends EventFields {
  type: T;
  executionId: string;
  data?: D;
}

/** A node's id stands at the top level, in `data`, or in both. */
interface OfNode<T extends string, D> extends OfExecution<T, D & { nodeId?: string }> {
  nodeId?: string;
}

/** An agent's id stands at the top level, in `data`, or in both. */
interface OfAgent<T extends string, D> extends OfExecution<T, D & { agentId?: string }> {
  agentId?: string;
  nodeId?: string;
}

interface OfKnowledgeBase<T extends string> extends EventFields {
  type: T;
  knowledgeBaseId: string;
  executionId?: string;
  data?: KbData;
}

/** A step of a multi-agent workflow. */
export interface AgentStepData {
  agentName?: string;
  /** 0 to 100. */
  progress?: number;
  message?: string;
  result?: unknown;
  error?: string;
}

/** The `data` of `kb:*`. */
export interface KbData {
  fileName?: string;
  fileSize?: number;
  /** 0 to 100. */
  progress?: number;
  /** `extraction`, `chunking` or `embedding`. */
  step?: string;
  documentId?: string;
  chunkCount?: number;
  embeddingCount?: number;
  error?: string;
  failedStep?: string;
}

/** The `data` of `log`. */
export interface LogData {
  id?: string;
  level: Level;
  message: string;
  nodeId?: string;
  metadata?: unknown;
  stepName?: string;
  stepType?: string;
  inputData?: unknown;
  outputData?: unknown;
  durationMs?: number;
}

/** A prompt: the `data` of `user_input:required`, and what a snapshot keeps as pending. */
export interface Prompt {
  requestId: string;
  prompt: string;
  inputType?: string;
  validation?: unknown;
}

export type ExecutionStarted = OfExecution<
  'execution:started',
  { status?: Status; workflowName?: string; agentCount?: number; startedAt?: string }
>;
export type ExecutionUpdated = OfExecution<
  'execution:updated',
  { status?: Status; currentNode?: string; progress?: number }
>;
export type ExecutionProgress = OfExecution<
  'execution:progress',
  { progress: number; currentAgent?: string; currentNode?: string }
>;
export type ExecutionCompleted = OfExecution<
  'execution:completed',
  { result?: unknown; outputs?: unknown; duration?: number; nodesCompleted?: number; nodesFailed?: number }
>;
export type ExecutionFailed = OfExecution<'execution:failed', { error: string; failedNode?: string }>;
export type ExecutionCancelled = OfExecution<'execution:cancelled', { reason?: string }>;
/** `dependsOn` are the nodes that it waited for, where its executor tells. */
export type NodeStarted = OfNode<
  'node:started',
  { nodeType?: string; input?: unknown; startedAt?: string; dependsOn?: string[] }
>;
export type NodeProgress = OfNode<'node:progress', { progress: number; step?: string }>;
export type NodeCompleted = OfNode<
  'node:completed',
  { output?: unknown; outputs?: unknown; durationMs?: number; startedAt?: string; completedAt?: string }
>;
export type NodeFailed = OfNode<'node:failed', { error: string; retry?: unknown }>;
export type AgentStarted = OfAgent<'agent:started', AgentStepData>;
export type AgentProgress = OfAgent<'agent:progress', AgentStepData>;
export type AgentCompleted = OfAgent<'agent:completed', AgentStepData>;
export type AgentFailed = OfAgent<'agent:failed', AgentStepData>;
export type AgentStreamingStart = OfAgent<'agent:streaming_start', AgentStepData>;
export type AgentToken = OfAgent<'agent:token', { token: string; index?: number; response?: string }>;
export type AgentStreamingEnd = OfAgent<'agent:streaming_end', { response?: string; tokenCount?: number }>;
export type AgentToolCall = OfAgent<'agent:tool_call', { tool: string; arguments: unknown; status: string }>;
export type UserInputRequired = OfExecution<'user_input:required', Prompt>;
export type UserInputProvided = OfExecution<'user_input:provided', { requestId: string }>;
export type UserInputTimeout = OfExecution<'user_input:timeout', { requestId: string; timeoutMs: number }>;
export type KbUploadStarted = OfKnowledgeBase<'kb:upload_started'>;
export type KbProcessing = OfKnowledgeBase<'kb:processing'>;
export type KbUploadCompleted = OfKnowledgeBase<'kb:upload_completed'>;
export type KbUploadFailed = OfKnowledgeBase<'kb:upload_failed'>;
export type LogEvent = OfExecution<'log', LogData> & { nodeId?: string };

/** Every event that the protocol names. */
export type WeftEvent =
  | ExecutionStarted
  | ExecutionUpdated
  | ExecutionProgress
  | ExecutionCompleted
  | ExecutionFailed
  | ExecutionCancelled
  | NodeStarted
  | NodeProgress
  | NodeCompleted
  | NodeFailed
  | AgentStarted
  | AgentProgress
  | AgentCompleted
  | AgentFailed
  | AgentStreamingStart
  | AgentToken
  | AgentStreamingEnd
  | AgentToolCall
  | UserInputRequired
  | UserInputProvided
  | UserInputTimeout
  | KbUploadStarted
  | KbProcessing
  | KbUploadCompleted
  | KbUploadFailed
  | LogEvent;

/** The types of {@link WeftEvent}. */
export type EventType = WeftEvent['type'];

/**
 * An event of a type that the protocol does not name: `family:name`, carried all the same. It is no member of
 * {@link WeftEvent}, because `type` would then no longer tell the known ones apart.
 */
export interface OtherEvent extends EventFields {
  type: `${string}:${string}`;
  executionId?: string;
  nodeId?: string;
  agentId?: string;
  knowledgeBaseId?: string;
  data?: Record<string, unknown>;
}

/** The event that a type names. */
export type EventOf<T extends string> = T extends EventType ? Extract<WeftEvent, { type: T }> : OtherEvent;

/** Events are gone: those after `missedFrom` up to `missedTo`, where known. */
export interface Gap {
  type: 'gap';
  room: string;
  missedFrom: string | null;
  missedTo: string | null;
  /** `retention`, `reset`, `unreadable`, `live_only` (the bus stores nothing), or that somebody was too slow. */
  reason: string;
}
