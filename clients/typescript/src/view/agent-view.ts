/** What an agent says, token by token. */
import type { WeftEvent } from '../core/event.js';
import type { Execution } from '../core/follow.js';
import { Recent } from '../core/recent.js';
import { isTerminal } from '../core/snapshot.js';
import type { WeftError } from '../core/told.js';
import type { Weft } from '../core/weft.js';
import { View } from './view.js';

/** A tool that an agent has called. */
export interface ToolCall {
  tool: string;
  arguments: unknown;
  /** How far it is: `started`, `completed`, `failed`, or what the executor says. */
  status: string;
}

export interface AgentState {
  agentId: string;
  /** Whose text this is: two executions of one agent are never mixed. */
  executionId: string | undefined;
  agentName: string | undefined;
  /** The answer so far. A new answer begins anew. */
  text: string;
  toolCalls: readonly ToolCall[];
  isStreaming: boolean;
  /** Part of the answer is gone. */
  isIncomplete: boolean;
  result: unknown;
  error: string | undefined;
}

/** Tool calls that are kept. */
const CALLS_MAX = 1000;
/** After these nothing is said in an execution. */
const ENDS = ['execution:completed', 'execution:failed', 'execution:cancelled'] as const;
const isEnd = ({ type }: WeftEvent): boolean => (ENDS as readonly string[]).includes(type);
/** Executions that are remembered to tell earlier ones from a new one. */
const EXECUTIONS_MAX = 1000;

export class AgentView extends View<AgentState> {
  readonly #weft: Weft;
  readonly #executionId: string | undefined;
  #state: AgentState;
  /** Joined when it is read: a long answer must not be copied for each of its tokens. */
  #tokens: string[] = [];
  #refusal: WeftError | undefined;
  #heard = new Recent(EXECUTIONS_MAX);
  /** Nobody says anything any more, whether or not the agent told its end. */
  #isOver = false;

  /**
   * With an execution the whole answer so far is read first. Without one it is what the agent says in rooms that the page
   * follows anyway, in the latest of their executions: the one that was heard of last.
   */
  constructor(weft: Weft, agentId: string, executionId?: string) {
    super();
    this.#weft = weft;
    this.#executionId = executionId;
    this.#state = AgentView.#empty(agentId, executionId);
  }

  static #empty(agentId: string, executionId: string | undefined): AgentState {
    return {
      agentId,
      executionId,
      agentName: undefined,
      text: '',
      toolCalls: [],
      isStreaming: false,
      isIncomplete: false,
      result: undefined,
      error: undefined,
    };
  }

  protected start(): () => void {
    this.#begin(this.#executionId);
    this.#heard = new Recent(EXECUTIONS_MAX);
    if (this.#executionId === undefined) return this.#weft.on('event', event => this.#take(event));
    const room = `agent:${this.#state.agentId}:${this.#executionId}`;
    const follow = this.#weft.room(room, { from: '0' });
    follow.on('*', event => this.#take(event));
    follow.on('gap', () => this.#set({ isIncomplete: true }));
    follow.on('error', error => {
      this.#refusal = error;
      this.changed();
    });
    const execution = this.#follow(this.#executionId);
    return () => {
      follow.close();
      execution.close();
    };
  }

  /** An agent's room holds nothing of its execution: one that was cancelled ends there without a word. */
  #follow(executionId: string): Execution {
    const execution = this.#weft.execution(executionId);
    for (const name of ['snapshot', ...ENDS] as const)
      execution.on(name, () => {
        if (execution.snapshot && isTerminal(execution.snapshot.status)) this.#end();
      });
    return execution;
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.changed();
  }

  protected read(): AgentState {
    // Joined once, so that the next time only what has come since is.
    this.#tokens = [this.#tokens.join('')];
    const isStreaming = this.#state.isStreaming && !this.#isOver;
    return {
      ...this.#state,
      isStreaming,
      text: this.#tokens[0] ?? '',
      error: this.#state.error ?? this.#refusal?.message,
    };
  }

  #begin(executionId: string | undefined): void {
    this.#state = AgentView.#empty(this.#state.agentId, executionId);
    this.#tokens = [];
    this.#isOver = false;
  }

  /** Whether it belongs to the execution that is shown. One that was never heard of takes the place of what was before. */
  #isShown(executionId: string): boolean {
    if (this.#executionId !== undefined) return executionId === this.#executionId;
    if (executionId !== this.#state.executionId && this.#heard.add(executionId)) this.#begin(executionId);
    return executionId === this.#state.executionId;
  }

  #set(state: Partial<AgentState>): void {
    Object.assign(this.#state, state);
    this.changed();
  }

  #take(event: WeftEvent): void {
    if (isEnd(event) && event.executionId === this.#state.executionId) return this.#end();
    if (!event.type.startsWith('agent:') || !('agentId' in event || event.data)) return;
    const own = event as Extract<WeftEvent, { type: `agent:${string}` }>;
    if ((own.agentId ?? own.data?.agentId) !== this.#state.agentId || !this.#isShown(own.executionId)) return;
    switch (own.type) {
      case 'agent:started':
      case 'agent:streaming_start':
        if (own.type === 'agent:streaming_start') this.#tokens = [];
        return this.#set({
          agentName: own.data?.agentName ?? this.#state.agentName,
          isStreaming: own.type === 'agent:streaming_start',
          isIncomplete: false,
          error: undefined,
        });
      case 'agent:token':
        if (own.data?.response !== undefined) this.#tokens = [own.data.response];
        else this.#tokens.push(own.data?.token ?? '');
        return this.#set({ isStreaming: true });
      case 'agent:streaming_end':
        if (own.data?.response !== undefined) this.#tokens = [own.data.response];
        return this.#set({ isStreaming: false });
      case 'agent:tool_call':
        return this.#call({
          tool: own.data?.tool ?? '',
          arguments: own.data?.arguments,
          status: own.data?.status ?? '',
        });
      case 'agent:completed':
        return this.#set({ isStreaming: false, result: own.data?.result });
      case 'agent:failed':
        return this.#set({ isStreaming: false, error: own.data?.error ?? 'failed' });
      case 'agent:progress':
        return;
    }
  }

  /** A call that goes on takes the place of its beginning. */
  #call(call: ToolCall): void {
    const calls = [...this.#state.toolCalls];
    const open = calls.map(({ tool, status }) => tool === call.tool && status === 'started').lastIndexOf(true);
    if (call.status !== 'started' && open >= 0)
      calls[open] = { ...call, arguments: call.arguments ?? calls[open]?.arguments };
    else calls.push(call);
    this.#set({ toolCalls: calls.slice(-CALLS_MAX) });
  }
}
