/**
 * For front ends that were written for a Socket.IO client: `emit`, `on`, `off`, and events under the names and in the
 * shapes that such servers send (`status`, `log`, `result`, `error`, `nodeStatus`), beside the native ones by their type.
 */
import type { Gap, Status, WeftEvent } from '../core/event.js';
import type { Execution, Follow } from '../core/follow.js';
import { call } from '../core/listeners.js';
import type { Snapshot } from '../core/snapshot.js';
import type { WeftError } from '../core/told.js';
import type { Weft } from '../core/weft.js';
import { missing } from './format.js';
import { roomNamed } from './nothing.js';

// biome-ignore lint/suspicious/noExplicitAny: what comes under a name is known to who listens to it only.
export type SocketListener = (payload: any) => void;
/** The answer to an `emit`. */
export type Ack = (answer: { ok: true } | { ok: false; code: string; message: string }) => void;
/** What is subscribed to: an execution's id, a room, or an object with either. */
export type Channel = string | { channel?: string; executionId?: string };

const LEVELS: Record<string, string> = { debug: 'info', warning: 'warning', error: 'error' };
/** Those servers know no `cancelled`. */
const statusOf = (status: Status): string => (status === 'cancelled' ? 'failed' : status);

function roomOf(channel: Channel): string {
  const name = typeof channel === 'string' ? channel : (channel.channel ?? channel.executionId ?? '');
  return roomNamed(name);
}

export class SocketFace {
  readonly #weft: Weft;
  readonly #listeners = new Map<string, Set<SocketListener>>();
  readonly #follows = new Map<string, Follow>();
  #over: AbortController | undefined;

  constructor(weft: Weft) {
    this.#weft = weft;
  }

  /** Begins to listen to the client. Whoever calls it keeps the client connected, and calls `close`. */
  readonly open = (): void => {
    if (this.#over) return;
    const over = new AbortController();
    this.#over = over;
    this.#weft.on('event', event => this.#event(event), over);
    this.#weft.on('error', error => this.#tell('connect_error', error), over);
    let wasConnected = false;
    const state = () => {
      const isConnected = this.#weft.state === 'connected';
      if (isConnected !== wasConnected) this.#tell(isConnected ? 'connect' : 'disconnect', this.#weft.state);
      wasConnected = isConnected;
    };
    this.#weft.on('state', state, over);
    state();
  };

  /** Leaves every room and listens no more. */
  readonly close = (): void => {
    this.#over?.abort();
    this.#over = undefined;
    for (const follow of this.#follows.values()) follow.close();
    this.#follows.clear();
  };

  readonly on = (name: string, listener: SocketListener): (() => void) => {
    const set = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, set.add(listener));
    return () => this.off(name, listener);
  };

  /** Takes a listener away, or all of this name. */
  readonly off = (name: string, listener?: SocketListener): void => {
    if (listener) this.#listeners.get(name)?.delete(listener);
    else this.#listeners.delete(name);
  };

  /** `subscribe`, `unsubscribe`, `user_input:provide`, `cancel`. The acknowledgement is called once. */
  readonly emit = (name: string, payload?: unknown, ack: Ack = () => {}): void => {
    if (name === 'subscribe') return this.#subscribe(payload as Channel, ack);
    if (name === 'unsubscribe') {
      const room = roomOf(payload as Channel);
      this.#follows.get(room)?.close();
      this.#follows.delete(room);
      return ack({ ok: true });
    }
    const { executionId = '', requestId = '', value, reason } = { ...(payload as Record<string, string>) };
    if (name !== 'cancel' && name !== 'user_input:provide') {
      return ack({ ok: false, code: 'unknown_type', message: `${name} is nothing that can be emitted` });
    }
    const run = this.#weft.execution(executionId);
    const answer = name === 'cancel' ? run.cancel(reason) : run.provideInput(requestId, value);
    answer
      .then(
        () => ack({ ok: true }),
        ({ code, message }: WeftError) => ack({ ok: false, code, message }),
      )
      .finally(() => run.close());
  };

  #subscribe(channel: Channel, ack: Ack): void {
    const room = roomOf(channel);
    if (this.#follows.has(room)) return ack({ ok: true });
    const isExecution = room.startsWith('execution:');
    const follow = isExecution ? this.#weft.execution(room.slice(10)) : this.#weft.room(room);
    this.#follows.set(room, follow);
    let answer: Ack | undefined = ack;
    const answered: Ack = given => {
      answer?.(given);
      answer = undefined;
    };
    follow.on('subscribed', () => answered({ ok: true }));
    follow.on('error', ({ code, message }) => {
      if (answer) answered({ ok: false, code, message });
      else this.#tell('error', { code, message, channel: room });
    });
    // Opened late, a page is right at once: the state comes in the frames of those servers, first of all. After a gap it
    // comes again, because what has changed meanwhile was told by nothing else.
    follow.on('snapshot', snapshot => {
      answered({ ok: true });
      this.#tell('snapshot', snapshot);
      this.#state(snapshot);
    });
    follow.on('gap', gap => {
      this.#tell('gap', gap);
      const { executionId } = follow as Partial<Execution>;
      if (executionId !== undefined) this.#missing(gap, executionId);
    });
    if ((follow as Execution).snapshot) answered({ ok: true });
  }

  #tell(name: string, payload: unknown): void {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) call(() => listener(payload));
  }

  /** Those servers know no gaps: a line of the log says that some are missing where it stands. */
  #missing(gap: Gap, executionId: string): void {
    const createdAt = new Date().toISOString();
    // As a gateway that speaks to such a front end itself names it.
    const id = `gap:${gap.missedFrom ?? ''}:${gap.missedTo ?? ''}`;
    const log = { id, level: 'warning', message: missing(gap), createdAt };
    this.#tell('log', { type: 'log', executionId, timestamp: createdAt, log });
  }

  #state({ executionId, status, nodes, result, error }: Snapshot): void {
    this.#tell('status', { executionId, status: statusOf(status), timestamp: new Date().toISOString() });
    for (const [nodeId, node] of Object.entries(nodes)) {
      this.#tell('nodeStatus', {
        executionId,
        nodeId,
        status: statusOf(node.status),
        ...(node.output === null ? {} : { output: node.output }),
      });
    }
    if (status === 'completed') this.#tell('result', { executionId, result });
    if (status === 'failed' || status === 'cancelled') this.#tell('error', { executionId, error });
  }

  #event(event: WeftEvent): void {
    if (event.type === 'log') {
      const { id, level = 'info', message, metadata, nodeId } = event.data ?? {};
      const own = {
        id: id ?? event.id,
        nodeId: event.nodeId ?? nodeId,
        level: LEVELS[level] ?? 'info',
        message,
        metadata,
        createdAt: event.timestamp,
      };
      return this.#tell('log', { ...event, log: own });
    }
    this.#tell(event.type, event);
    const { executionId } = event;
    if (executionId !== undefined) this.#frames(event, executionId);
  }

  #frames(event: WeftEvent, executionId: string): void {
    const [family, name] = event.type.split(':');
    const data = { ...event.data } as Record<string, unknown>;
    if (family === 'execution') {
      const status =
        name === 'started' ? 'running' : name === 'progress' || name === 'updated' ? undefined : (name as Status);
      const told = (data.status as Status | undefined) ?? status;
      if (told) this.#tell('status', { executionId, status: statusOf(told), timestamp: event.timestamp });
      if (name === 'completed') this.#tell('result', { executionId, result: data.result ?? data.outputs });
      if (name === 'failed' || name === 'cancelled')
        this.#tell('error', { executionId, error: data.error ?? data.reason ?? name });
    }
    const isStep =
      family === 'node' || (family === 'agent' && /^(started|progress|completed|failed)$/.test(name ?? ''));
    if (!isStep) return;
    const top = event as { nodeId?: string; agentId?: string };
    const nodeId = family === 'node' ? (top.nodeId ?? data.nodeId) : (top.agentId ?? data.agentId);
    const output = data.output ?? data.outputs ?? data.result;
    const status = name === 'completed' || name === 'failed' ? name : 'running';
    this.#tell('nodeStatus', { executionId, nodeId, status, ...(output === undefined ? {} : { output }) });
  }
}
