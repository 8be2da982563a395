/** What a client can be told when it is made, and what follows from it. */
import type { BackoffTimes } from './backoff.js';
import type { TokenSource } from './tokens.js';

/** Times, in milliseconds. */
export interface Times extends BackoffTimes {
  /** How long opening a connection may take. */
  openMs: number;
  /** Between two pings. */
  heartbeatMs: number;
  /** How long the answer to a ping may take. */
  pongMs: number;
  /** How long a command may wait for its answer, from when it was sent. */
  commandMs: number;
  /** How long a room stays followed after the last who followed it has left: pages change quickly. */
  lingerMs: number;
  /** Between two questions for a room that has no stream, where there is no WebSocket. */
  pollMs: number;
  /** Between two questions for a newer token, from when the one in use is about to expire. */
  renewMs: number;
  /** Until a client on a fallback tries a WebSocket again; doubles up to 20 times as much. */
  upgradeMs: number;
}

/** What carries the events. `auto` takes a WebSocket, and where none gets through SSE, and else polling. */
export type Transport = 'websocket' | 'sse' | 'poll';

/** The part of a WebSocket that is used. */
export interface Socket {
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

/** Options of `connect`. */
export interface Options {
  /**
   * A token, or where to get one: asked before each connection, and before a token expires. An empty one says that nobody
   * is signed in; if the gateway wants one, the client fails, until `reconnect`.
   */
  token?: TokenSource;
  /** `auto` unless set. */
  transport?: Transport | 'auto';
  /**
   * Streams at once where server-sent events are the way; further rooms are asked for every second, and streams move to
   * where something happens. 4 unless set: over HTTP/1.1 a browser has six connections for each host, in all its tabs
   * together. More does no harm over HTTP/2, or in Node.
   */
  streamsMax?: number;
  /** While this client is behind, later progress may stand for earlier, and tokens may be joined. */
  conflate?: boolean;
  /** Does not connect before `connect` is called: for what is made on a server, or before it is needed. */
  lazy?: boolean;
  /** Closes the client when aborted. */
  signal?: AbortSignal;
  /** A WebSocket class, where there is none built in (Node before 22: the package `ws`). */
  WebSocket?: new (
    url: string,
    protocols?: string[],
  ) => Socket;
  /** In place of the built-in `fetch`. */
  fetch?: typeof fetch;
  /** Commands that may wait for their answer at once; a further one is refused `queue_full`. 100 unless set. */
  commandsMax?: number;
  /** Some of the times. */
  times?: Partial<Times>;
  /** Where chance comes from. */
  random?: () => number;
}

export const DEFAULT_TIMES: Times = {
  baseMs: 500,
  capMs: 30_000,
  stableMs: 10_000,
  openMs: 10_000,
  heartbeatMs: 25_000,
  pongMs: 10_000,
  commandMs: 30_000,
  lingerMs: 1000,
  pollMs: 1000,
  renewMs: 5000,
  upgradeMs: 30_000,
};

/** The addresses of one gateway. */
export interface Gateway {
  /** Where its WebSocket is. */
  ws: string;
  /** What all HTTP paths stand after; no slash at the end. */
  http: string;
}

const NATIVE = '/api/ws';

/**
 * Reads an address of any of these forms: `wss://host/api/ws`, `https://host`, `host:3001`, `/` (of the page's own
 * origin). A path before `/api/ws` is kept, for gateways behind a prefix.
 */
export function gatewayAt(address: string): Gateway {
  const page = (globalThis as { location?: { href: string } }).location?.href;
  const url = new URL(/^[\w.-]+:\d/.test(address) ? `http://${address}` : address, page);
  const secure = url.protocol === 'https:' || url.protocol === 'wss:';
  const path = url.pathname.replace(/\/$/, '');
  const prefix = path.endsWith(NATIVE) ? path.slice(0, -NATIVE.length) : path;
  const place = `://${url.host}${prefix}`;
  return { ws: `${secure ? 'wss' : 'ws'}${place}${NATIVE}${url.search}`, http: `${secure ? 'https' : 'http'}${place}` };
}
