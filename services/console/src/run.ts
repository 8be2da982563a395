/** One execution as a screen shows it: its state, when its nodes ran, what its agents say, its log. */
import type { Execution, Gap, OtherEvent, Snapshot, Weft, WeftError, WeftEvent } from '@weft/client';
import { isTerminal } from '@weft/client';
import { missing, plain, readable } from '@weft/client/view/format.js';
import { View } from '@weft/client/view/view.js';
import { type Agent, Agents } from './agents.js';
import type { Attempt } from './gantt.js';
import { type Filter, type Kind, Lines, NO_FILTER } from './lines.js';
import { took } from './times.js';

export interface RunState {
  /** Nothing is known yet. */
  isLoading: boolean;
  snapshot: Readonly<Snapshot> | undefined;
  /** Tries of each node, the first one first, as far as their events are held. */
  attempts: ReadonlyMap<string, readonly Attempt[]>;
  /** The nodes that each had to wait for, where its executor tells. */
  needs: ReadonlyMap<string, readonly string[]>;
  agents: readonly Agent[];
  gaps: number;
  /** The gateway refuses it, or its history cannot be had. */
  refusal: WeftError | undefined;
  /** The latest time that an event has told, so that a clock that is slow here does not end bars too early. */
  latest: number;
}

export interface LogState {
  lines: Lines;
  length: number;
  filter: Filter;
  /** Changes with every change of the lines. */
  version: number;
}

const ATTEMPTS_MAX = 100;
const NEEDS_MAX = 100;

/** Its lines, drawn apart from the rest: they change far more often. */
export class Log extends View<LogState> {
  readonly lines: Lines;
  #filter = NO_FILTER;
  #version = 0;

  constructor(lines = new Lines()) {
    super();
    this.lines = lines;
  }

  add(kind: Kind, message: string, event?: WeftEvent | OtherEvent): void {
    const at = event as OtherEvent | undefined;
    const nodeId = at?.nodeId ?? at?.agentId ?? (at?.data?.nodeId as string | undefined);
    this.lines.add({ kind, message: plain(message), nodeId, timestamp: at?.timestamp, event });
    this.#version += 1;
    this.changed();
  }

  readonly filter = (filter: Filter): void => {
    this.#filter = filter;
    this.lines.filter = filter;
    this.#version += 1;
    this.changedNow();
  };

  readonly clear = (): void => {
    this.lines.clear();
    this.#version += 1;
    this.changed();
  };

  protected start(): () => void {
    return () => {};
  }

  protected read(): LogState {
    return { lines: this.lines, length: this.lines.length, filter: this.#filter, version: this.#version };
  }
}

export class Run extends View<RunState> {
  readonly id: string;
  readonly log = new Log();
  readonly #weft: Weft;
  #execution: Execution | undefined;
  readonly #agents = new Agents();
  #attempts = new Map<string, Attempt[]>();
  #needs = new Map<string, readonly string[]>();
  #gaps = 0;
  #latest = 0;
  #refusal: WeftError | undefined;

  constructor(weft: Weft, id: string) {
    super();
    this.#weft = weft;
    this.id = id;
  }

  /** Asks the executor to stop it. */
  cancel(reason: string): Promise<void> {
    return this.#followed().cancel(reason);
  }

  /** Answers a prompt. */
  answer(requestId: string, value: unknown): Promise<void> {
    return this.#followed().provideInput(requestId, value);
  }

  #followed(): Execution {
    if (!this.#execution) throw new Error('nobody looks at this execution any more');
    return this.#execution;
  }

  protected start(): () => void {
    this.log.clear();
    this.#agents.clear();
    this.#attempts = new Map();
    this.#needs = new Map();
    this.#gaps = 0;
    this.#refusal = undefined;
    const execution = this.#weft.execution(this.id, { from: '0' });
    this.#execution = execution;
    execution.on('*', event => this.#take(event));
    execution.on('gap', gap => this.#gap(gap));
    execution.on('error', error => {
      this.#refusal = error;
    });
    execution.on('subscribed', () => {
      // It was let in after all.
      if (this.#refusal?.room !== undefined) this.#refusal = undefined;
    });
    for (const name of ['snapshot', 'subscribed', 'caughtUp', 'error', 'gap']) execution.on(name, () => this.changed());
    return () => {
      execution.close();
      this.#execution = undefined;
    };
  }

  protected read(): RunState {
    const told = this.#execution?.snapshot;
    if (told && isTerminal(told.status)) this.#agents.end();
    return {
      isLoading: !told && !this.#refusal,
      // The client folds in place; what was handed out must stay as it was.
      snapshot: told && { ...told, nodes: { ...told.nodes } },
      attempts: new Map(this.#attempts),
      needs: this.#needs,
      agents: this.#agents.read(),
      gaps: this.#gaps,
      refusal: this.#refusal,
      latest: this.#latest,
    };
  }

  #gap(gap: Gap): void {
    this.#gaps += 1;
    this.log.add('warning', missing(gap));
  }

  #take(event: WeftEvent | OtherEvent): void {
    if (event.type === 'log') {
      const { level, message } = (event.data ?? {}) as { level?: Kind; message?: unknown };
      this.log.add(LEVELS.includes(level as Kind) ? (level as Kind) : 'info', readable(message), event);
      return;
    }
    const line = lineOf(event);
    if (line) this.log.add(line.kind, line.message, event);
    this.#agents.take(event);
    this.#latest = Math.max(this.#latest, Date.parse(event.timestamp ?? '') || 0);
    this.#tries(event as OtherEvent);
    this.changed();
  }

  #tries(event: OtherEvent): void {
    const [, family, name] = /^(node|agent):(started|completed|failed)$/.exec(event.type) ?? [];
    if (!family || !name) return;
    const data = event.data ?? {};
    const id = (family === 'node' ? (event.nodeId ?? data.nodeId) : (event.agentId ?? data.agentId)) as string;
    const at = (own: unknown) => (typeof own === 'string' ? own : (event.timestamp ?? null));
    const tries = [...(this.#attempts.get(id) ?? [])];
    if (name === 'started') {
      const needs = Array.isArray(data.dependsOn) ? data.dependsOn.filter(one => typeof one === 'string') : [];
      if (needs.length > 0) this.#needs = new Map(this.#needs).set(id, needs.slice(0, NEEDS_MAX));
      const before = tries.at(-1);
      if (before && !before.completedAt) tries[tries.length - 1] = { ...before, completedAt: at(data.startedAt) };
      tries.push({ status: 'running', startedAt: at(data.startedAt), completedAt: null });
    } else {
      const last = tries.pop() ?? { startedAt: typeof data.startedAt === 'string' ? data.startedAt : null };
      const status = name === 'completed' ? 'completed' : 'failed';
      tries.push({ startedAt: last.startedAt, status, completedAt: at(data.completedAt) });
    }
    this.#attempts.set(id, tries.slice(-ATTEMPTS_MAX));
  }
}

const LEVELS: readonly Kind[] = ['debug', 'info', 'warning', 'error'];

/** The line of an event that is none of the log; progress and tokens have none. */
export function lineOf(event: WeftEvent | OtherEvent): { kind: Kind; message: string } | undefined {
  if (/(^agent:(token|streaming_\w+)|progress|^execution:updated)$/.test(event.type)) return undefined;
  const data = (event.data ?? {}) as Record<string, unknown>;
  const own = data.error ?? data.reason ?? data.prompt ?? data.tool;
  const span = typeof data.durationMs === 'number' ? took(data.durationMs) : undefined;
  const details = own === undefined ? span : readable(own);
  const message = event.type.replace(':', ' ').replaceAll('_', ' ') + (details ? `: ${details}` : '');
  return { kind: event.type.endsWith(':failed') ? 'error' : 'event', message };
}
