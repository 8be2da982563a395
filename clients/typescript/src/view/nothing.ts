/** What is shown where there is nothing to follow yet, and small views that both frameworks share. */
import type { WeftEvent } from '../core/event.js';
import type { Weft } from '../core/weft.js';
import type { AgentState } from './agent-view.js';
import type { EventsState } from './events-view.js';
import type { ExecutionState } from './execution-view.js';
import { View } from './view.js';

class Nothing<S> extends View<S> {
  readonly #state: S;

  constructor(state: S) {
    super();
    this.#state = state;
  }

  protected start(): () => void {
    return () => {};
  }

  protected read(): S {
    return this.#state;
  }
}

export const noExecution: View<ExecutionState> = new Nothing<ExecutionState>({
  executionId: '',
  isLoading: false,
  status: 'pending',
  progress: null,
  currentNode: null,
  nodes: {},
  result: null,
  error: null,
  startedAt: null,
  endedAt: null,
  pendingInput: [],
  logs: [],
  logsOmitted: 0,
  gaps: [],
  refusal: undefined,
  snapshot: undefined,
});

export const noEvents: View<EventsState> = new Nothing<EventsState>({ events: [], refusal: undefined });

export const noAgent: View<AgentState> = new Nothing<AgentState>({
  agentId: '',
  executionId: undefined,
  agentName: undefined,
  text: '',
  toolCalls: [],
  isStreaming: false,
  isIncomplete: false,
  result: undefined,
  error: undefined,
});

/** The answer to a command where there is nothing to command. */
export const refuse = (): Promise<never> => Promise.reject(new Error('there is no execution'));

/** A room by its name, or that of an execution by its id. */
export const roomNamed = (name: string): string =>
  /^(execution|user|agent|kb):/.test(name) ? name : `execution:${name}`;

/** The last event of any followed room. */
export class LastEvent extends View<WeftEvent | undefined> {
  readonly #weft: Weft;
  #last: WeftEvent | undefined;

  constructor(weft: Weft) {
    super();
    this.#weft = weft;
  }

  protected start(): () => void {
    return this.#weft.on('event', event => {
      this.#last = event;
      this.changed();
    });
  }

  protected read(): WeftEvent | undefined {
    return this.#last;
  }
}
