/** Composables. Each sets its refs at most once a frame, and ends what it began when its scope does. */
import { computed, type MaybeRefOrGetter, ref, shallowRef, toValue } from 'vue';
import type { WeftError } from '../core/told.js';
import { AgentView } from '../view/agent-view.js';
import { clientView } from '../view/client-view.js';
import { EventsView, type EventsViewOptions } from '../view/events-view.js';
import { ExecutionView, type ExecutionViewOptions } from '../view/execution-view.js';
import { type Failure, FailuresView } from '../view/failures-view.js';
import { ListView, type ListViewOptions } from '../view/list-view.js';
import { LastEvent, noAgent, noEvents, noExecution, refuse, roomNamed } from '../view/nothing.js';
import { SocketFace } from '../view/socket.js';
import { onEnd, useKept, useView } from './client.js';

type Id = MaybeRefOrGetter<string | null | undefined>;

function useExecutionView(executionId: Id, options: ExecutionViewOptions = {}) {
  const weft = useKept();
  return computed(() => {
    const id = toValue(executionId);
    return id ? new ExecutionView(weft, id, options) : undefined;
  });
}

/** An execution: its state as of now, and as it changes. Without an id it follows nothing. */
export function useExecution(executionId: Id, options?: ExecutionViewOptions) {
  const view = useExecutionView(executionId, options);
  const state = useView(() => view.value ?? noExecution);
  return {
    /** All of it in one. */
    state,
    status: computed(() => state.value.status),
    nodes: computed(() => state.value.nodes),
    logs: computed(() => state.value.logs),
    progress: computed(() => state.value.progress),
    currentNode: computed(() => state.value.currentNode),
    result: computed(() => state.value.result),
    error: computed(() => state.value.error),
    startedAt: computed(() => state.value.startedAt),
    endedAt: computed(() => state.value.endedAt),
    pendingInput: computed(() => state.value.pendingInput),
    isLoading: computed(() => state.value.isLoading),
    gaps: computed(() => state.value.gaps),
    refusal: computed(() => state.value.refusal),
    cancel: (reason?: string): Promise<void> => view.value?.cancel(reason) ?? refuse(),
    /** Answers a prompt. */
    provideInput: (requestId: string, value: unknown): Promise<void> =>
      view.value?.provideInput(requestId, value) ?? refuse(),
    clearLogs: (): void => view.value?.clear(),
  };
}

/** The last events of an execution, or of any room whose name is given; newest last. */
export function useExecutionEvents(executionIdOrRoom: Id, options: EventsViewOptions = {}) {
  const weft = useKept();
  const view = computed(() => {
    const name = toValue(executionIdOrRoom);
    return name ? new EventsView(weft, roomNamed(name), options) : undefined;
  });
  const state = useView(() => view.value ?? noEvents);
  return {
    events: computed(() => state.value.events),
    refusal: computed(() => state.value.refusal),
    clear: (): void => view.value?.clear(),
  };
}

/** What an agent says in an execution: all of it so far, then token by token. */
export function useAgentStream(agentId: Id, executionId?: Id) {
  const weft = useKept();
  const view = computed(() => {
    const id = toValue(agentId);
    return id ? new AgentView(weft, id, toValue(executionId) ?? undefined) : undefined;
  });
  const state = useView(() => view.value ?? noAgent);
  return {
    state,
    /** Whose text it is. */
    executionId: computed(() => state.value.executionId),
    text: computed(() => state.value.text),
    toolCalls: computed(() => state.value.toolCalls),
    isStreaming: computed(() => state.value.isStreaming),
    isIncomplete: computed(() => state.value.isIncomplete),
    error: computed(() => state.value.error),
  };
}

/**
 * The same under the name that other front ends use. Without an execution it is the latest one of those that the page follows;
 * `executionId` says which.
 */
export function useAgentStreaming(agentId: Id, executionId?: Id) {
  const stream = useAgentStream(agentId, executionId);
  return { ...stream, streamedText: stream.text, tokens: stream.text };
}

/** The open prompts of an execution, and a way to answer them. */
export function useUserInput(executionId: Id) {
  const { pendingInput, provideInput } = useExecution(executionId, { history: false });
  const isSubmitting = ref(false);
  const error = shallowRef<WeftError>();
  const prompt = computed(() => pendingInput.value[0]);
  /** Answers the oldest prompt, or the one named. */
  const provide = async (value: unknown, requestId = prompt.value?.requestId): Promise<void> => {
    if (requestId === undefined) return refuse();
    isSubmitting.value = true;
    error.value = undefined;
    try {
      await provideInput(requestId, value);
    } catch (refused) {
      error.value = refused as WeftError;
      throw refused;
    } finally {
      isSubmitting.value = false;
    }
  };
  return { pending: pendingInput, prompt, provide, isSubmitting, error };
}

/** Executions of the caller, newest first; `more` asks for older ones. */
export function useExecutions(options: MaybeRefOrGetter<ListViewOptions> = {}) {
  const weft = useKept();
  const view = computed(() => new ListView(weft, toValue(options)));
  const state = useView(view);
  return {
    state,
    executions: computed(() => state.value.executions),
    isLoading: computed(() => state.value.isLoading),
    hasMore: computed(() => state.value.hasMore),
    isLoadingMore: computed(() => state.value.isLoadingMore),
    more: (): Promise<void> => view.value.more(),
    error: computed(() => state.value.error),
  };
}

/** Failures of executions and of the connection; `notify` is called for each at once. */
export function useFailures(notify?: (failure: Failure) => void) {
  const view = new FailuresView(useKept(), notify);
  return { failures: useView(view), dismiss: view.dismiss };
}

/** The connection as front ends use it that were written for Socket.IO: `emit`, `on`, `off`. */
export function useWebSocket() {
  const weft = useKept();
  const connection = useView(clientView(weft));
  const face = new SocketFace(weft);
  const lastEvent = useView(new LastEvent(weft));
  face.open();
  onEnd(face.close);
  return {
    isConnected: computed(() => connection.value.isConnected),
    isReconnecting: computed(() => connection.value.isReconnecting),
    state: computed(() => connection.value.state),
    lastEvent,
    connect: () => weft.connect(),
    disconnect: () => weft.close(),
    emit: face.emit,
    on: face.on,
    off: face.off,
  };
}

/** An execution as front ends use it that had a socket for each. */
export function useExecutionStream(executionId: Id, options?: ExecutionViewOptions) {
  const connection = useView(clientView(useKept()));
  const execution = useExecution(executionId, options);
  return { ...execution, nodeStates: execution.nodes, isConnected: computed(() => connection.value.isConnected) };
}

/** The log of an execution, history and live without doubles. */
export function useWebSocketLogs(executionId: Id, options?: ExecutionViewOptions) {
  const weft = useKept();
  const connection = useView(clientView(weft));
  const { logs, clearLogs, refusal } = useExecution(executionId, options);
  const connectionStatus = computed(() => connection.value.state);
  return { logs, connectionStatus, reconnect: () => weft.reconnect(), clear: clearLogs, error: refusal };
}
