/**
 * The state that an execution's events fold into. The same rules as the gateway's, so that a snapshot from there can be
 * carried on here; a test compares the two. Only large values differ: a gateway keeps them as `{truncated, bytes}`.
 */
import type { OtherEvent, Prompt, Status, WeftEvent } from './event.js';

/** State of a node, or of an agent's step. Replaced, never changed, so that it can be compared by identity. */
export interface NodeState {
  status: Status;
  progress: number | null;
  output: unknown;
  error: unknown;
  startedAt: string | null;
  completedAt: string | null;
}

/** State of an execution. */
export interface Snapshot {
  executionId: string;
  workflowId: string | null;
  userId: string | null;
  status: Status;
  progress: number | null;
  currentNode: string | null;
  error: unknown;
  result: unknown;
  startedAt: string | null;
  endedAt: string | null;
  nodes: Record<string, NodeState>;
  pendingInput: Prompt[];
  /** Nodes that were too many to be kept. */
  nodesOmitted?: number;
}

const NODES_MAX = 1000;
const PROMPTS_MAX = 64;
const STATUSES: readonly unknown[] = ['pending', 'running', 'completed', 'failed', 'cancelled'];

/** The state before the first event. */
export const emptySnapshot = (executionId: string): Snapshot => ({
  executionId,
  workflowId: null,
  userId: null,
  status: 'pending',
  progress: null,
  currentNode: null,
  error: null,
  result: null,
  startedAt: null,
  endedAt: null,
  nodes: {},
  pendingInput: [],
});

/** Whether nothing more is expected to happen. */
export const isTerminal = (status: Status): boolean => STATUSES.indexOf(status) > 1;

type Data = Record<string, unknown>;
const text = (value: unknown): string | null => (typeof value === 'string' ? value : null);

/** Folds one event in. */
export function fold(into: Snapshot, event: WeftEvent | OtherEvent): void {
  into.workflowId ??= event.workflowId ?? null;
  into.userId ??= event.userId ?? null;
  const colon = event.type.indexOf(':');
  const [family, name] = [event.type.slice(0, Math.max(colon, 0)), event.type.slice(colon + 1)];
  // Log entries are by far the most, and change nothing.
  if (family === '') return;
  const data: Data = { ...event.data };
  const at = event.timestamp ?? null;
  if (family === 'execution') foldExecution(into, name, data, at);
  else if (family === 'user_input') foldInput(into, name, data);
  else if (family === 'node' || (family === 'agent' && /^(started|progress|completed|failed)$/.test(name))) {
    const own = family === 'node' ? 'nodeId' : 'agentId';
    const id = text((event as unknown as Data)[own]) ?? text(data[own]);
    if (id !== null) foldNode(into, id, name, data, at);
  }
}

function foldExecution(into: Snapshot, name: string, data: Data, at: string | null): void {
  const over = isTerminal(into.status);
  const told = STATUSES.includes(data.status) ? (data.status as Status) : undefined;
  const move = (status: Status) => {
    if (!over) into.status = status;
  };
  if (name === 'started') {
    into.startedAt ??= text(data.startedAt) ?? at;
    move(told ?? 'running');
  } else if (name === 'updated' || name === 'progress') {
    if (over) return;
    into.progress = (data.progress ?? into.progress) as number | null;
    into.currentNode = (data.currentNode ?? data.currentAgent ?? into.currentNode) as string | null;
    move((name === 'updated' && told) || (into.status === 'pending' ? 'running' : into.status));
  } else if ((name === 'completed' || name === 'failed' || name === 'cancelled') && into.endedAt === null) {
    move(name);
    if (name === 'completed') into.result = data.result ?? data.outputs ?? null;
    else into.error = (name === 'failed' ? data.error : data.reason) ?? null;
    // Without any clock the end is still marked, so that a second terminal event changes nothing.
    into.endedAt = at ?? '';
    into.currentNode = null;
    into.pendingInput = [];
  }
}

function foldNode(into: Snapshot, id: string, name: string, data: Data, at: string | null): void {
  const known = Object.hasOwn(into.nodes, id) ? into.nodes[id] : undefined;
  if (!known && Object.keys(into.nodes).length >= NODES_MAX) {
    if (name === 'started') into.nodesOmitted = (into.nodesOmitted ?? 0) + 1;
    return;
  }
  const node: NodeState = {
    status: 'pending',
    progress: null,
    output: null,
    error: null,
    startedAt: null,
    completedAt: null,
    // A retry begins again.
    ...(name === 'started' ? undefined : known),
  };
  if (name === 'started') {
    node.status = 'running';
    node.startedAt = text(data.startedAt) ?? at;
  } else if (name === 'progress') {
    node.progress = (data.progress ?? node.progress) as number | null;
    if (node.status === 'pending') node.status = 'running';
  } else if (name === 'completed' || name === 'failed') {
    node.status = name;
    node.startedAt ??= text(data.startedAt);
    node.completedAt = text(data.completedAt) ?? at;
    node.output = (name === 'completed' ? (data.output ?? data.outputs ?? data.result) : null) ?? null;
    node.error = (name === 'failed' ? data.error : null) ?? null;
  }
  // An id may be any text, `__proto__` too.
  Object.defineProperty(into.nodes, id, { value: node, enumerable: true, writable: true, configurable: true });
}

function foldInput(into: Snapshot, name: string, data: Data): void {
  const request = text(data.requestId);
  if (request === null) return;
  into.pendingInput = into.pendingInput.filter(prompt => prompt.requestId !== request);
  if (name === 'required' && !isTerminal(into.status)) {
    into.pendingInput = [...into.pendingInput, data as unknown as Prompt].slice(-PROMPTS_MAX);
  }
}
