/** Gateways that do as a test says: one log that all of them serve, and every way to misbehave on top. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type WebSocket, WebSocketServer } from 'ws';

export type Message = Record<string, unknown> & { type: string };
interface Stored {
  seq: number;
  event: Message;
}

/** What all gateways of a test share. */
export class Log {
  readonly rooms = new Map<string, Stored[]>();
  readonly listeners = new Set<(room: string, stored: Stored) => void>();
  /** Offsets that were given out: nothing else may come back. */
  readonly given = new Set<string>(['0']);
  epoch = 'a';

  publish(room: string, event: Message): string {
    const events = this.rooms.get(room) ?? [];
    this.rooms.set(room, events);
    const seq = (events.at(-1)?.seq ?? 0) + 1;
    const stored = { seq, event: { id: `${room}#${seq}`, ...event } };
    events.push(stored);
    for (const listener of [...this.listeners]) listener(room, stored);
    return this.offset(seq);
  }

  /** `since` makes another text for the same place, as a session of several rooms does. */
  offset(seq: number, since?: number): string {
    const text = `${this.epoch}.${seq}.00000000${since === undefined ? '' : `.${since}`}`;
    this.given.add(text);
    return text;
  }

  after(room: string, seq: number): Stored[] {
    return (this.rooms.get(room) ?? []).filter(stored => stored.seq > seq);
  }

  end(room: string): number {
    return this.rooms.get(room)?.at(-1)?.seq ?? 0;
  }
}

export const seqOf = (offset: string): number => (offset === '0' ? 0 : Number(offset.split('.')[1]));

/** One connection of a client. */
export class Connection {
  readonly received: Message[] = [];
  readonly rooms = new Map<string, number>();
  readonly socket: WebSocket;
  readonly #gateway: Scripted;
  readonly #on = (room: string, stored: Stored) => {
    if (this.rooms.has(room)) this.event(room, stored);
  };

  constructor(socket: WebSocket, gateway: Scripted) {
    this.socket = socket;
    this.#gateway = gateway;
    gateway.log.listeners.add(this.#on);
    socket.on('close', () => gateway.log.listeners.delete(this.#on));
    socket.on('message', data => {
      const message = JSON.parse(String(data)) as Message;
      this.received.push(message);
      gateway.received.push(message);
      if (!gateway.onMessage?.(this, message)) this.answer(message);
    });
  }

  send(...messages: Message[]): void {
    if (this.socket.readyState === this.socket.OPEN) {
      this.socket.send(messages.map(message => JSON.stringify(message)).join('\n'));
    }
  }

  event(room: string, { seq, event }: Stored): void {
    const by = room.startsWith('execution:') ? {} : { room };
    this.send({ ...event, ...by, offset: this.#gateway.log.offset(seq, this.#gateway.since?.()) });
    this.#gateway.afterEvent?.(this, room, seq);
  }

  answer(message: Message): void {
    const { type, ref } = message;
    if (type === 'ping') this.send({ type: 'pong' });
    else if (type === 'auth') this.send({ type: 'ack', ref });
    else if (type === 'subscribe') {
      for (const { room, offset } of message.rooms as { room: string; offset?: string }[])
        this.begin(room, offset, ref);
    } else if (type === 'unsubscribe') {
      this.rooms.delete(String(message.room));
      this.send({ type: 'unsubscribed', room: message.room });
    } else this.send({ type: 'ack', ref });
  }

  begin(room: string, offset: string | undefined, ref: unknown): void {
    const { log } = this.#gateway;
    if (offset !== undefined && !log.given.has(offset)) throw new Error(`never gave out ${offset}`);
    const seq = offset === undefined ? log.end(room) : seqOf(offset);
    const answer = { type: 'subscribed', room, ref, offset: log.offset(seq) };
    this.rooms.set(room, seq);
    if (offset !== undefined) {
      this.send({ ...answer, outcome: 'resumed', recovered: true });
      for (const stored of log.after(room, seq)) this.event(room, stored);
    } else if (this.#gateway.snapshots.has(room)) {
      this.send({ ...answer, outcome: 'snapshot', recovered: false });
      this.send({ type: 'snapshot', room, offset: log.offset(seq), snapshot: this.#gateway.snapshots.get(room) });
    } else this.send({ ...answer, outcome: 'live', recovered: false });
  }

  /** The socket is gone, without a word. */
  cut(): void {
    this.socket.terminate();
  }
}

export class Scripted {
  readonly log: Log;
  readonly connections: Connection[] = [];
  readonly received: Message[] = [];
  readonly requests: { method: string; url: string; authorization: string | undefined; body: string }[] = [];
  readonly snapshots = new Map<string, object>();
  /** Has answered the message itself if it says true. */
  onMessage: ((connection: Connection, message: Message) => boolean) | undefined;
  afterEvent: ((connection: Connection, room: string, seq: number) => void) | undefined;
  onConnect: ((connection: Connection) => void) | undefined;
  onRequest: ((request: IncomingMessage, response: ServerResponse, url: URL) => boolean) | undefined;
  /** What offsets carry besides. */
  since: (() => number) | undefined;
  webSockets = true;
  greets = true;
  readonly #server: Server;

  private constructor(log: Log) {
    this.log = log;
    this.#server = createServer((request, response) => this.#request(request, response));
    const sockets = new WebSocketServer({ noServer: true });
    this.#server.on('upgrade', (request, socket, head) => {
      if (!this.webSockets) return socket.destroy();
      sockets.handleUpgrade(request, socket, head, webSocket => {
        const connection = new Connection(webSocket, this);
        this.connections.push(connection);
        if (this.greets) connection.send({ type: 'connected', connectionId: 'c', timestamp: 't' });
        this.onConnect?.(connection);
      });
    });
  }

  static async start(log = new Log()): Promise<Scripted> {
    const gateway = new Scripted(log);
    await new Promise<void>(resolve => gateway.#server.listen(0, '127.0.0.1', resolve));
    return gateway;
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The connection that came last. */
  get last(): Connection {
    const last = this.connections.at(-1);
    if (!last) throw new Error('nobody has connected');
    return last;
  }

  async stop(): Promise<void> {
    for (const connection of this.connections) connection.cut();
    this.#server.closeAllConnections();
    await new Promise(resolve => this.#server.close(resolve));
  }

  #request(request: IncomingMessage, response: ServerResponse): void {
    let body = '';
    request.on('data', chunk => {
      body += String(chunk);
    });
    request.on('end', () => {
      const { method = '', url = '', headers } = request;
      // Pages of other origins may come in, as a gateway lets those that are listed.
      response.setHeader('access-control-allow-origin', '*');
      response.setHeader('access-control-allow-headers', 'authorization, content-type');
      if (method === 'OPTIONS') return response.writeHead(204).end();
      this.requests.push({ method, url, authorization: headers.authorization, body });
      const parsed = new URL(url, 'http://gateway');
      if (this.onRequest?.(request, response, parsed)) return;
      const room = /^\/api\/rooms\/([^/]+)\/events$/.exec(parsed.pathname)?.[1];
      if (parsed.pathname === '/api/ws/health') return this.json(response, 200, { status: 'ok' });
      if (room !== undefined) return this.#page(response, decodeURIComponent(room), parsed.searchParams);
      this.json(response, 404, { error: { code: 'not_found', message: 'no such thing' } });
    });
  }

  #page(response: ServerResponse, room: string, query: URLSearchParams): void {
    const after = seqOf(query.get('after') ?? '0');
    const all = this.log.after(room, after);
    const events = all.slice(0, 50);
    const next = this.log.offset(events.at(-1)?.seq ?? after);
    this.json(response, 200, {
      events: events.map(({ seq, event }) => ({ ...event, offset: this.log.offset(seq) })),
      next,
      complete: events.length === all.length,
    });
  }

  json(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void {
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(JSON.stringify(body));
  }
}
