/** Hooks. Each draws at most once a frame, and ends what it began when its component goes. */
import { useCallback, useEffect, useMemo, useRef, useState } from 'react';
import type { State } from '../core/connection.js';
import type { Prompt, WeftEvent } from '../core/event.js';
import type { NodeState } from '../core/snapshot.js';
import type { WeftError } from '../core/told.js';
import { type AgentState, AgentView } from '../view/agent-view.js';
import { clientView } from '../view/client-view.js';
import { type EventsState, EventsView, type EventsViewOptions } from '../view/events-view.js';
import {
  type ExecutionState,
  ExecutionView,
  type ExecutionViewOptions,
  type LogEntry,
} from '../view/execution-view.js';
import { type Failure, FailuresView } from '../view/failures-view.js';
import { type ListState, ListView, type ListViewOptions } from '../view/list-view.js';
import { LastEvent, noAgent, noEvents, noExecution, refuse, roomNamed } from '../view/nothing.js';
import { type Ack, SocketFace, type SocketListener } from '../view/socket.js';
import { useKept, useView } from './client.js';

type Id = string | null | undefined;

function useExecutionView(executionId: Id, { history, maxLogs }: ExecutionViewOptions = {}): ExecutionView | undefined {
  const weft = useKept();
  return useMemo(() => {
    if (!executionId) return undefined;
    return new ExecutionView(weft, executionId, {
      ...(history === undefined ? undefined : { history }),
      ...(maxLogs === undefined ? undefined : { maxLogs }),
    });
  }, [weft, executionId, history, maxLogs]);
}

export interface ExecutionActions {
  cancel(reason?: string): Promise<void>;
  /** Answers a prompt. */
  provideInput(requestId: string, value: unknown): Promise<void>;
  clearLogs(): void;
}

/** An execution: its state as of now, and as it changes. Without an id it follows nothing. */
export function useExecution(executionId: Id, options?: ExecutionViewOptions): ExecutionState & ExecutionActions {
  const view = useExecutionView(executionId, options);
  const state = useView<ExecutionState>(view ?? noExecution);
  return useMemo(
    () => ({
      ...state,
      cancel: view?.cancel ?? refuse,
      provideInput: view?.provideInput ?? refuse,
      clearLogs: view?.clear ?? (() => {}),
    }),
    [state, view],
  );
}

/** The last events of an execution, or of any room whose name is given; newest last. */
export function useExecutionEvents(
  executionIdOrRoom: Id,
  options: EventsViewOptions = {},
): EventsState & { clear(): void } {
  const weft = useKept();
  const onEvent = useLatest(options.onEvent);
  const { from, max } = options;
  const types = options.types?.join(' ');
  const view = useMemo(() => {
    if (!executionIdOrRoom) return undefined;
    return new EventsView(weft, roomNamed(executionIdOrRoom), {
      ...(from === undefined ? undefined : { from }),
      ...(max === undefined ? undefined : { max }),
      ...(types === undefined ? undefined : { types: types.split(' ') }),
      onEvent: event => onEvent.current?.(event),
    });
  }, [weft, executionIdOrRoom, from, max, types, onEvent]);
  const state = useView<EventsState>(view ?? noEvents);
  return useMemo(() => ({ ...state, clear: view?.clear ?? (() => {}) }), [state, view]);
}
/** A value as of the last drawing, for callbacks that outlive it. */
function useLatest<T>(value: T): { current: T } {
  const latest = useRef(value);
  useEffect(() => {
    latest.current = value;
  });
  return latest;
}

/** What an agent says in an execution: all of it so far, then token by token. */
export function useAgentStream(agentId: Id, executionId?: Id): AgentState {
  const weft = useKept();
  const view = useMemo(
    () => (agentId ? new AgentView(weft, agentId, executionId ?? undefined) : undefined),
    [weft, agentId, executionId],
  );
  return useView<AgentState>(view ?? noAgent);
}
/**
 * The same under the name that other front ends use. Without an execution it is the latest one of those that the page follows;
 * `executionId` says which.
 */
export function useAgentStreaming(
  agentId: Id,
  executionId?: Id,
): AgentState & { streamedText: string; tokens: string } {
  const state = useAgentStream(agentId, executionId);
  return useMemo(() => ({ ...state, streamedText: state.text, tokens: state.text }), [state]);
}

export interface UserInput {
  /** All open prompts, the oldest first. */
  pending: readonly Prompt[];
  /** The oldest of them. */
  prompt: Prompt | undefined;
  /** Answers the oldest prompt, or the one named. */
  provide(value: unknown, requestId?: string): Promise<void>;
  isSubmitting: boolean;
  error: WeftError | undefined;
}

/** The open prompts of an execution, and a way to answer them. */
export function useUserInput(executionId: Id): UserInput {
  const view = useExecutionView(executionId, { history: false });
  const { pendingInput } = useView<ExecutionState>(view ?? noExecution);
  const [isSubmitting, setSubmitting] = useState(false);
  const [error, setError] = useState<WeftError>();
  const first = pendingInput[0]?.requestId;
  const provide = useCallback(
    async (value: unknown, requestId = first) => {
      if (!view || requestId === undefined) return refuse();
      setSubmitting(true);
      setError(undefined);
      try {
        await view.provideInput(requestId, value);
      } catch (refused) {
        setError(refused as WeftError);
        throw refused;
      } finally {
        setSubmitting(false);
      }
    },
    [view, first],
  );
  return { pending: pendingInput, prompt: pendingInput[0], provide, isSubmitting, error };
}

/** Executions of the caller, newest first; `more` asks for older ones. */
export function useExecutions({
  status,
  limit,
  refreshMs,
}: ListViewOptions = {}): ListState & { more(): Promise<void> } {
  const weft = useKept();
  const view = useMemo(
    () =>
      new ListView(weft, {
        ...(status === undefined ? undefined : { status }),
        ...(limit === undefined ? undefined : { limit }),
        ...(refreshMs === undefined ? undefined : { refreshMs }),
      }),
    [weft, status, limit, refreshMs],
  );
  const state = useView(view);
  return useMemo(() => ({ ...state, more: view.more }), [state, view]);
}

/** Failures of executions and of the connection; `notify` is called for each at once. */
export function useFailures(notify?: (failure: Failure) => void): {
  failures: readonly Failure[];
  dismiss(key: number): void;
} {
  const weft = useKept();
  const latest = useLatest(notify);
  const view = useMemo(() => new FailuresView(weft, failure => latest.current?.(failure)), [weft, latest]);
  return { failures: useView(view), dismiss: view.dismiss };
}

export interface WebSocketFace {
  isConnected: boolean;
  isReconnecting: boolean;
  state: State;
  /** The last event of any followed room. */
  lastEvent: WeftEvent | undefined;
  connect(): void;
  disconnect(): void;
  emit(name: string, payload?: unknown, ack?: Ack): void;
  on(name: string, listener: SocketListener): () => void;
  off(name: string, listener?: SocketListener): void;
}

/** The connection as front ends use it that were written for Socket.IO: `emit`, `on`, `off`. */
export function useWebSocket(): WebSocketFace {
  const weft = useKept();
  const { state, isConnected, isReconnecting } = useView(clientView(weft));
  const face = useMemo(() => new SocketFace(weft), [weft]);
  const last = useMemo(() => new LastEvent(weft), [weft]);
  const lastEvent = useView(last);
  useEffect(() => {
    face.open();
    return face.close;
  }, [face]);
  return useMemo(
    () => ({
      isConnected,
      isReconnecting,
      state,
      lastEvent,
      connect: () => weft.connect(),
      disconnect: () => weft.close(),
      emit: face.emit,
      on: face.on,
      off: face.off,
    }),
    [isConnected, isReconnecting, state, lastEvent, weft, face],
  );
}

/** An execution as front ends use it that had a socket for each. */
export function useExecutionStream(
  executionId: Id,
  options?: ExecutionViewOptions,
): ExecutionState & ExecutionActions & { nodeStates: Readonly<Record<string, NodeState>>; isConnected: boolean } {
  const weft = useKept();
  const { isConnected } = useView(clientView(weft));
  const state = useExecution(executionId, options);
  return useMemo(() => ({ ...state, nodeStates: state.nodes, isConnected }), [state, isConnected]);
}

/** The log of an execution, history and live without doubles. */
export function useWebSocketLogs(
  executionId: Id,
  options?: ExecutionViewOptions,
): {
  logs: readonly LogEntry[];
  connectionStatus: State;
  reconnect(): void;
  clear(): void;
  error: WeftError | undefined;
} {
  const weft = useKept();
  const { state } = useView(clientView(weft));
  const view = useExecutionView(executionId, options);
  const { logs, refusal } = useView<ExecutionState>(view ?? noExecution);
  return useMemo(
    () => ({
      logs,
      connectionStatus: state,
      reconnect: () => weft.reconnect(),
      clear: view?.clear ?? (() => {}),
      error: refusal,
    }),
    [logs, state, weft, view, refusal],
  );
}
