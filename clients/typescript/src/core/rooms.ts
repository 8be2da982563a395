/** The rooms of one client: what is subscribed, and which events go where. */
import type { OtherEvent, WeftEvent } from './event.js';
import { keyOf, Recent } from './recent.js';
import { Room, roomOf } from './room.js';
import { LATER, WeftError } from './told.js';
import type { Incoming, Outgoing, Subscribed } from './wire.js';

/** What rooms need. */
export interface RoomsPort {
  /** Sends a message; false without a connection. */
  send(message: Outgoing): boolean;
  /** The pause before something refused for the moment is asked again. */
  pauseMs(): number;
  conflate: boolean;
  lingerMs: number;
}

export class Rooms {
  readonly #rooms = new Map<string, Room>();
  readonly #port: RoomsPort;
  /** To be subscribed at the end of this turn: a page opens many at once. */
  readonly #due = new Set<Room>();
  /** Rooms of each subscribe that has no answer yet, for refusals that name no room. */
  readonly #asked = new Map<string, Set<Room>>();
  readonly #told = new Recent(2048);
  readonly #pauses = new Set<ReturnType<typeof setTimeout>>();
  #count = 0;

  constructor(port: RoomsPort) {
    this.#port = port;
  }

  /** The room of this name, for somebody who will follow it. */
  open(name: string): Room {
    let room = this.#rooms.get(name);
    if (!room) {
      room = new Room(name);
      this.#rooms.set(name, room);
      this.#subscribe(room);
    } else if (room.refused) {
      room.refused = undefined;
      this.#subscribe(room);
    }
    clearTimeout(room.lingering);
    return room;
  }

  /** Somebody has left; the last one to leave ends the subscription, after a while. */
  left(room: Room): void {
    if (room.follows.size > 0) return;
    clearTimeout(room.lingering);
    room.lingering = setTimeout(() => {
      if (room.follows.size > 0) return;
      this.#rooms.delete(room.name);
      this.#due.delete(room);
      this.#port.send({ type: 'unsubscribe', room: room.name });
    }, this.#port.lingerMs);
  }

  /** A connection is there: all rooms go on where they stood, in one message. */
  resume(): void {
    this.lost();
    for (const room of this.#rooms.values()) if (!room.refused) this.#due.add(room);
    this.#flush();
  }

  /** Somebody wants to try again: what was refused may be allowed by now. */
  forgive(): void {
    for (const room of this.#rooms.values()) room.refused = undefined;
  }

  /** The connection is gone. */
  lost(): void {
    this.#asked.clear();
    for (const room of this.#rooms.values()) room.subscribed = false;
  }

  /** The client was closed, or has failed with this error: nothing comes before it connects again. */
  over(error: WeftError | undefined): void {
    for (const timer of this.#pauses) clearTimeout(timer);
    this.#pauses.clear();
    for (const room of this.#rooms.values()) {
      clearTimeout(room.lingering);
      if (room.follows.size === 0) this.#rooms.delete(room.name);
      for (const follow of room.follows) follow.over(error);
    }
  }

  /** A message about a room. */
  told(message: Extract<Incoming, { room: string }>): void {
    const room = this.#rooms.get(message.room);
    if (message.type === 'subscribed') this.#subscribed(message, room);
    else if (message.type === 'snapshot') room?.restate(message.snapshot, message.offset);
    else if (message.type === 'gap') room?.tellGap(message);
  }

  /** An event; whether it was news to anybody. */
  event(event: WeftEvent | OtherEvent): boolean {
    const { executionId, userId, agentId, data } = event as OtherEvent;
    const room = this.#rooms.get(roomOf(event as OtherEvent));
    let news = room?.subscribed ? room.take(event) : false;
    if (event.room === undefined || event.room.startsWith('kb:')) {
      if (userId !== undefined) news = this.#copy(`user:${userId}`, event) || news;
      const agent = agentId ?? data?.agentId;
      if (agent !== undefined && event.type.startsWith('agent:')) {
        news = this.#copy(`agent:${agent}:${executionId}`, event) || news;
      }
    }
    const key = keyOf(event);
    return news && (key === undefined || this.#told.add(key));
  }

  /** A refusal; whether it was about a room. */
  refused(error: { code: string; message: string; ref?: string; room?: string }): boolean {
    const asked = error.ref === undefined ? undefined : this.#asked.get(error.ref);
    const room = error.room === undefined ? undefined : this.#rooms.get(error.room);
    if (room) this.#refuse(room, error);
    else if (asked && asked.size > 1) {
      // One wrong room has the whole message refused: ask for each by itself, and the others begin.
      this.#asked.delete(error.ref ?? '');
      for (const each of asked) this.#ask([each]);
    } else if (asked) for (const each of asked) this.#refuse(each, error);
    return asked !== undefined || room !== undefined;
  }

  #copy(name: string, event: WeftEvent | OtherEvent): boolean {
    return this.#rooms.get(name)?.takeCopy(event) ?? false;
  }

  #subscribed(message: Subscribed, room: Room | undefined): void {
    for (const [name, offset] of Object.entries(message.offsets ?? {})) {
      const other = this.#rooms.get(name);
      if (other) other.offset = offset;
    }
    const asked = this.#asked.get(message.ref ?? '');
    // An answer to somebody who has left and come again since is not the answer to the second subscribe.
    if (!room || !asked?.delete(room)) return;
    if (asked.size === 0) this.#asked.delete(message.ref ?? '');
    room.begin(message);
  }

  #subscribe(room: Room): void {
    this.#due.add(room);
    queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    const due = [...this.#due].filter(room => this.#rooms.get(room.name) === room);
    this.#due.clear();
    if (due.length > 0) this.#ask(due);
  }

  /** Without a connection this does nothing: a new one resumes all rooms. */
  #ask(rooms: Room[]): void {
    const ref = `s${++this.#count}`;
    // Before it is sent: a fallback answers within the call.
    this.#asked.set(ref, new Set(rooms));
    const sent = this.#port.send({
      type: 'subscribe',
      ref,
      rooms: rooms.map(({ name, offset }) => (offset === undefined ? { room: name } : { room: name, offset })),
      // Counts for rooms without an offset only.
      snapshot: true,
      batch: true,
      ...(this.#port.conflate ? { conflate: true } : undefined),
    });
    if (!sent) this.#asked.delete(ref);
  }

  #refuse(room: Room, { code, message }: { code: string; message: string }): void {
    if (LATER.has(code)) {
      const again = () => {
        this.#pauses.delete(timer);
        if (this.#rooms.get(room.name) === room && !room.subscribed) this.#subscribe(room);
      };
      const timer = setTimeout(again, this.#port.pauseMs());
      this.#pauses.add(timer);
      return;
    }
    room.refuse(new WeftError(code, message, room.name));
  }
}
