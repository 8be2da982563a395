import { useState } from 'react';
import type { Socket } from 'socket.io-client';
import { type Answer, type Event, useEvents } from './useSocket';

export interface Prompt {
  requestId: string;
  prompt: string;
}
interface Snapshot {
  status: string;
  result: unknown;
  error: string | null;
  nodes: Record<string, { status: string }>;
  pendingInput: Prompt[];
}

const executions = ['started', 'updated', 'progress', 'completed', 'failed', 'cancelled'].map(is => `execution:${is}`);
const nodes = ['started', 'progress', 'completed', 'failed'].map(is => `node:${is}`);
const agents = ['started', 'completed', 'failed'].map(is => `agent:${is}`);

const statusOf = (event: Event): string => {
  const name = event.type.split(':')[1] ?? '';
  return name === 'updated' ? (event.data.status ?? 'running') : name.replace(/^(started|progress)$/, 'running');
};

/** Status, nodes and log of an execution. */
export function useExecution(socket: Socket | undefined) {
  const [status, setStatus] = useState('pending');
  const [result, setResult] = useState<unknown>();
  const [error, setError] = useState<string>();
  const [steps, setSteps] = useState<Record<string, string>>({});
  const [logs, setLogs] = useState<string[]>([]);

  useEvents(socket, ['snapshot'], message => {
    const { snapshot } = message as unknown as { snapshot: Snapshot };
    setStatus(snapshot.status);
    setSteps(Object.fromEntries(Object.entries(snapshot.nodes).map(([id, node]) => [id, node.status])));
    if (snapshot.result !== null) setResult(snapshot.result);
    if (snapshot.error !== null) setError(snapshot.error);
  });
  useEvents(socket, executions, event => {
    setStatus(statusOf(event));
    if (event.data.result !== undefined) setResult(event.data.result);
    if (event.data.error) setError(event.data.error);
  });
  useEvents(socket, [...nodes, ...agents], event => {
    const id = event.nodeId ?? event.agentId ?? event.data.nodeId ?? event.data.agentId;
    setSteps(steps => ({ ...steps, [id]: statusOf(event) }));
  });
  useEvents(socket, ['log'], event => setLogs(logs => [...logs, event.data.message]));

  return { status, result, error, steps, logs };
}

/** The texts of the agents as they are written, by agent. */
export function useAgentStreams(socket: Socket | undefined) {
  const [texts, setTexts] = useState<Record<string, string>>({});
  useEvents(socket, ['agent:token'], event => {
    const id = event.agentId ?? event.data.agentId;
    setTexts(texts => ({ ...texts, [id]: (texts[id] ?? '') + event.data.token }));
  });
  return texts;
}

/** What the execution asks a person, and the way to answer it or to cancel. */
export function useCommands(socket: Socket | undefined, executionId: string) {
  const [prompt, setPrompt] = useState<Prompt>();
  const [answered, setAnswered] = useState<string>();
  const told = (answer: Answer) => setAnswered(answer.ok ? 'accepted' : `${answer.code}: ${answer.message}`);

  useEvents(socket, ['snapshot'], message => {
    setPrompt((message as unknown as { snapshot: Snapshot }).snapshot.pendingInput[0]);
  });
  useEvents(socket, ['user_input:required'], event => setPrompt(event.data));
  useEvents(
    socket,
    ['user_input:provided', 'user_input:timeout', 'execution:completed', 'execution:failed', 'execution:cancelled'],
    () => setPrompt(undefined),
  );
  const answer = (value: unknown) =>
    socket?.emit('user_input:provide', { executionId, requestId: prompt?.requestId, value }, told);
  const cancel = (reason: string) => socket?.emit('cancel', { executionId, reason }, told);

  return { prompt, answered, answer, cancel };
}
