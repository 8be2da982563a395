/** The messages of the native protocol, and what a transport must do with them. */

import type { Gap, OtherEvent, WeftEvent } from './event.js';
import type { Transport } from './options.js';
import type { Snapshot } from './snapshot.js';

/** How a subscribe was answered. */
export type Outcome = 'live' | 'resumed' | 'snapshot' | 'gap';

export interface Subscribed {
  type: 'subscribed';
  room: string;
  outcome: Outcome;
  offset?: string;
  recovered: boolean;
  ref?: string;
  /** Fresh offsets of rooms that were followed already, to be stored over the older ones. */
  offsets?: Record<string, string>;
}

/** Everything that may come. An event's type is `log` or has a colon, and no other message's does. */
export type Incoming =
  | { type: 'connected' }
  | Subscribed
  | { type: 'unsubscribed'; room: string }
  | { type: 'snapshot'; room: string; offset: string | null; snapshot: Snapshot }
  | Gap
  | { type: 'degraded'; active: boolean }
  | { type: 'ack'; ref?: string }
  | { type: 'error'; code: string; message: string; ref?: string; room?: string }
  | { type: 'pong' }
  | { type: 'reconnect'; afterMs: number };

/** What goes out. */
export type Outgoing =
  | {
      type: 'subscribe';
      ref: string;
      rooms: { room: string; offset?: string }[];
      snapshot: true;
      batch: true;
      conflate?: boolean;
    }
  | { type: 'unsubscribe'; room: string }
  | { type: 'ping' }
  | { type: 'auth'; token: string; ref: string }
  | Command;

/** What a client asks an executor to do. */
export type Command = { ref: string } & CommandBody;
export type CommandBody =
  | { type: 'cancel'; executionId: string; reason?: string }
  | { type: 'user_input:provide'; executionId: string; requestId: string; value: unknown };

/** Whether a message is an event. */
export const isEvent = (message: { type: string }): message is WeftEvent | OtherEvent =>
  message.type === 'log' || message.type.includes(':');

/** One way to a gateway, from its opening to its end. */
export interface Link {
  send(message: Outgoing): void;
  /** Ends it without a word to its events. */
  close(): void;
}

/** What a link tells. After `closed` it tells nothing. */
export interface LinkEvents {
  /** Messages can be sent. */
  open(): void;
  message(message: Incoming | WeftEvent | OtherEvent): void;
  /** It is of another kind than was asked for. */
  kind(kind: Transport): void;
  /** It is a fallback, and a WebSocket gets through by now. */
  through(): void;
  /** It has ended; `code` is a WebSocket close code, `reason` what came with it. */
  closed(code: number, reason?: string): void;
}
