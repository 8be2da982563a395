/** One followed room: where it stands, what it has told, and who listens. */
import type { Gap, OtherEvent, WeftEvent } from './event.js';
import type { Follow } from './follow.js';
import { keyOf, Recent } from './recent.js';
import { emptySnapshot, fold, type Snapshot } from './snapshot.js';
import type { WeftError } from './told.js';
import type { Outcome, Subscribed } from './wire.js';

/** Events of a room that are remembered to tell repeats; the gateway repeats far fewer after a reconnect. */
const SEEN_MAX = 2048;
const ID = '[A-Za-z0-9_.:~@-]{1,128}';
const NAMES = new RegExp(`^(execution|user|kb):${ID}$|^agent:[A-Za-z0-9_.~@-]{1,128}:${ID}$`);

/** Checks a room's name: a wrong one would have the whole message refused that resumes all rooms. */
export function checkRoom(name: string): string {
  if (!NAMES.test(name))
    throw new TypeError(`"${name}" is no room: execution:<id>, user:<id>, agent:<id>:<execution> or kb:<id>`);
  return name;
}

/** The room that an event came by. */
export const roomOf = ({ room, executionId, knowledgeBaseId }: OtherEvent): string =>
  room ?? (executionId === undefined ? `kb:${knowledgeBaseId}` : `execution:${executionId}`);

export class Room {
  readonly name: string;
  /** Set if it is an execution's. */
  readonly executionId: string | undefined;
  readonly follows = new Set<Follow>();
  /** The last offset told, wherever it came from; passed back as it is. */
  offset: string | undefined;
  /** The folded state, of an execution. Changes in place. */
  snapshot: Snapshot | undefined;
  /** Whether this connection has begun to deliver it. */
  subscribed = false;
  /** How it began the first time. */
  begun: Outcome | undefined;
  /** Set once the gateway has refused it for good. */
  refused: WeftError | undefined;
  /** Runs while nobody follows it any more. */
  lingering: ReturnType<typeof setTimeout> | undefined;
  /** Where a room without snapshots stands once its gap has been told. */
  #afterGap: string | undefined;
  readonly #came = new Recent(SEEN_MAX);
  readonly #copied = new Recent(SEEN_MAX);

  constructor(name: string) {
    this.name = name;
    this.executionId = name.startsWith('execution:') ? name.slice(10) : undefined;
  }

  /** The subscribe was answered. */
  begin({ type, outcome, offset, recovered }: Subscribed): void {
    this.subscribed = true;
    const again = this.begun !== undefined;
    // In all other outcomes something follows that says where the room stands; until it has come the older offset must
    // count, or a cut in between would lose it.
    if (outcome === 'live') this.offset ??= offset;
    this.#afterGap = outcome === 'gap' && this.executionId === undefined ? offset : undefined;
    if (outcome === 'live' && this.executionId !== undefined) this.snapshot ??= emptySnapshot(this.executionId);
    this.begun ??= outcome;
    for (const follow of this.follows) follow.begun({ type, room: this.name, outcome, recovered });
    // It had no offset to go on from, because its bus stores nothing.
    if (again && (outcome === 'live' || outcome === 'snapshot')) {
      this.tellGap({ type: 'gap', room: this.name, missedFrom: null, missedTo: null, reason: 'live_only' });
    }
  }

  /** The state as of an offset; every event after it follows. */
  restate(snapshot: Snapshot, offset: string | null): void {
    this.snapshot = { ...emptySnapshot(snapshot.executionId), ...snapshot };
    this.offset = offset ?? this.offset;
    for (const follow of this.follows) follow.tellSnapshot();
  }

  /**
   * Events are gone. What is known to have been seen stays known: an id stands for one event for ever. Where no place
   * to go on from is told the older offset stays, so that a cut right now is answered with a gap again.
   */
  tellGap(gap: Gap): void {
    this.offset = gap.missedTo ?? this.#afterGap ?? this.offset;
    for (const follow of this.follows) follow.receive(gap);
  }

  /** An event has come by this room; whether it was news. */
  take(event: WeftEvent | OtherEvent): boolean {
    const key = keyOf(event);
    if (key !== undefined && !this.#came.add(key)) return false;
    this.offset = event.offset ?? this.offset;
    if (key !== undefined && !this.#copied.add(key)) return false;
    if (this.snapshot) fold(this.snapshot, event);
    for (const follow of this.follows) follow.receive(event);
    return true;
  }

  /**
   * An event has come by its execution's room, and belongs to this one too. The gateway sends it once however many of
   * its rooms are followed, so that it is handed on here, also while this room's own answer is still to come: the copy
   * that would follow it is left out. It says nothing of where this room stands.
   */
  takeCopy(event: WeftEvent | OtherEvent): boolean {
    const key = keyOf(event);
    if (key === undefined || !this.#copied.add(key)) return false;
    for (const follow of this.follows) follow.receive(event);
    return true;
  }

  /** Refused; whoever follows it is told. */
  refuse(error: WeftError): void {
    this.refused = error;
    for (const follow of this.follows) follow.over(error);
  }
}
