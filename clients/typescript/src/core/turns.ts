/**
 * The rooms of a fallback. A few have a stream of server-sent events each; the others are asked for in turn, page by page,
 * because over HTTP/1.1 a browser has six connections for each host, and one more stream than that would leave none for
 * anything else. Streams go to rooms that were opened last, and to those in which something happens.
 */
import type { OtherEvent, WeftEvent } from './event.js';
import { type Http, HttpRefusal, type Page } from './http.js';
import type { Transport } from './options.js';
import { takePlace } from './places.js';
import type { Snapshot } from './snapshot.js';
import { readStream, type StreamEvent } from './sse.js';
import { LATER } from './told.js';
import type { Incoming, Outcome } from './wire.js';

/** Silence after which a stream is taken for dead; a gateway sends a comment every 15 s. */
const SILENCE_MS = 45_000;
/** Requests for pages at once. With a few streams they leave connections for commands. */
const [ASKS_BESIDE_STREAMS, ASKS_ALONE] = [2, 4];
/** Questions for which a room that is not there yet is passed over: over HTTP it looks like one that is not ours. */
const PATIENCE = 5;
/** Questions after which the place of a stream that has told nothing may be another room's. */
const IDLE = 5;

/** What the rooms need of their link. */
export interface TurnsPort {
  readonly http: Http;
  /** Address of the gateway. */
  readonly gateway: string;
  /** Between two questions for each room that has no stream. */
  readonly pollMs: number;
  readonly streamsMax: number;
  tell(message: Incoming | WeftEvent | OtherEvent): void;
  /** There are no streams here after all. */
  kind(kind: Transport): void;
  /** A request failed, and with it the link; without an error a stream has ended. */
  lost(error?: unknown): void;
}

/** What a stream tells. */
interface Told extends Record<string, unknown> {
  offset?: string;
  room?: string;
  snapshot?: Snapshot;
  missedTo?: string | null;
}

/** A followed room. */
interface Seat {
  readonly room: string;
  readonly ref: string;
  readonly over: AbortController;
  /** After which event it goes on, as soon as that is known. */
  at: string | undefined;
  begun: boolean;
  /** Set while it has a stream, also while that is asked for. */
  stream: AbortController | undefined;
  /** Gives back the place that its stream has among those of all pages. */
  free: (() => void) | undefined;
  isAsked: boolean;
  /** When anything came of its stream, or its question was asked. */
  heardAt: number;
  /** When its stream told something, or was opened. */
  toldAt: number;
  /** It is passed over until then. */
  patientUntil: number;
  /** It gets no stream until then: other pages have all the places. */
  placelessUntil: number;
}

export class Turns {
  readonly #port: TurnsPort;
  readonly #seats = new Map<string, Seat>();
  /** The place of a stream that was ended for the one that is begun now. */
  #spare: (() => void) | undefined;
  #hasStreams: boolean;
  #isAsking = false;
  /** Ends the pause between two rounds of questions. */
  #pause = new AbortController();

  constructor(port: TurnsPort, hasStreams: boolean) {
    this.#port = port;
    this.#hasStreams = hasStreams;
  }

  /** Whether nothing has been silent for too long. */
  get isAlive(): boolean {
    const since = Date.now() - SILENCE_MS;
    return [...this.#seats.values()].every(({ stream, isAsked, heardAt }) => !(stream || isAsked) || heardAt > since);
  }

  /** Follows a room after an offset, or from now on. */
  start(room: string, offset: string | undefined, ref: string): void {
    this.end(room);
    const now = Date.now();
    const seat: Seat = {
      room,
      ref,
      over: new AbortController(),
      at: offset,
      begun: false,
      stream: undefined,
      free: undefined,
      isAsked: false,
      heardAt: now,
      toldAt: now,
      patientUntil: 0,
      placelessUntil: 0,
    };
    this.#seats.set(room, seat);
    if (this.#hasPlace(Number.POSITIVE_INFINITY)) void this.#stream(seat);
    else this.#wake();
  }

  end(room: string): void {
    this.#seats.get(room)?.over.abort();
    this.#seats.delete(room);
  }

  endAll(): void {
    for (const room of [...this.#seats.keys()]) this.end(room);
    this.#pause.abort();
  }

  // ── streams ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** Whether there is a place for one more stream. One that has told nothing since `quietSince` makes room for it. */
  #hasPlace(quietSince: number): boolean {
    if (!this.#hasStreams) return false;
    const streamed = this.#streamed;
    if (streamed.length < this.#port.streamsMax) return true;
    const quiet = streamed
      .filter(({ begun, at, toldAt }) => begun && at !== undefined && toldAt < quietSince)
      .sort((one, other) => one.toldAt - other.toldAt)[0];
    if (!quiet) return false;
    quiet.stream?.abort();
    quiet.stream = undefined;
    this.#spare = quiet.free;
    quiet.free = undefined;
    this.#wake();
    return true;
  }

  /** Gives a room a stream, if other pages have left a place; it is read to its end, which is the link's. */
  async #stream(seat: Seat): Promise<void> {
    const own = begin(seat);
    const { gateway, streamsMax, pollMs } = this.#port;
    const inherited = this.#spare;
    this.#spare = undefined;
    seat.free = inherited ?? (await takePlace(gateway, streamsMax));
    if (seat.free && !own.signal.aborted) await this.#read(seat, own);
    else if (!own.signal.aborted) {
      seat.stream = undefined;
      seat.placelessUntil = Date.now() + IDLE * pollMs;
      this.#wake();
    }
    // Another one may have begun meanwhile; the place is that one's.
    if (seat.stream && seat.stream !== own) return;
    seat.free?.();
    seat.free = undefined;
  }

  get #streamed(): Seat[] {
    return [...this.#seats.values()].filter(({ stream }) => stream);
  }

  async #read(seat: Seat, own: AbortController): Promise<void> {
    try {
      const response = await this.#port.http.request(streamOf(seat), {
        headers: { accept: 'text/event-stream' },
        signal: own.signal,
        cache: 'no-store',
      });
      const { body, headers } = response;
      if (!body || !headers.get('content-type')?.startsWith('text/event-stream')) {
        await body?.cancel();
        return own.signal.aborted ? undefined : this.#withoutStreams(seat);
      }
      this.#begin(seat, seat.at !== undefined ? 'resumed' : executionOf(seat.room) !== undefined ? 'snapshot' : 'live');
      await readStream(body, {
        tell: event => this.#hear(seat, event),
        at: id => {
          seat.at ??= id;
        },
        retry: afterMs => this.#tell(seat, { type: 'reconnect', afterMs }),
        alive: () => {
          seat.heardAt = Date.now();
        },
      });
      if (!own.signal.aborted) this.#port.lost();
    } catch (error) {
      if (own.signal.aborted) return;
      seat.stream = undefined;
      this.#failed(seat, error);
      this.#wake();
    }
  }

  /** What is between us and the gateway holds streams up, or answers in its place. */
  #withoutStreams(seat: Seat): void {
    seat.stream = undefined;
    if (this.#hasStreams) this.#port.kind('poll');
    this.#hasStreams = false;
    this.#wake();
  }

  #hear(seat: Seat, { event, data, id }: StreamEvent): void {
    const body = JSON.parse(data) as Told;
    const offset = body.offset ?? id;
    const { room } = seat;
    seat.toldAt = Date.now();
    if (event === 'snapshot') {
      seat.at = offset ?? seat.at;
      const snapshot = body.snapshot ?? (body as unknown as Snapshot);
      this.#tell(seat, { type: 'snapshot', room, offset: offset ?? null, snapshot });
    } else if (event === 'gap') {
      seat.at = body.missedTo ?? seat.at;
      this.#tell(seat, { type: 'gap', missedFrom: null, missedTo: null, reason: 'retention', ...body, room });
    } else {
      seat.at = offset ?? seat.at;
      const at = offset === undefined ? undefined : { offset };
      this.#tell(seat, { ...body, type: event, ...at, ...by(room, body) } as OtherEvent);
    }
  }

  // ── questions ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** Somebody is to be asked for now. */
  #wake(): void {
    this.#pause.abort();
    void this.#askAll();
  }

  /** Asks for all rooms without a stream, round after round, as long as there are any. */
  async #askAll(): Promise<void> {
    if (this.#isAsking) return;
    this.#isAsking = true;
    for (;;) {
      const due = [...this.#seats.values()].filter(({ stream }) => !stream);
      if (due.length === 0) break;
      this.#pause = new AbortController();
      const worker = async () => {
        for (let seat = due.shift(); seat; seat = due.shift()) if (await this.#turn(seat)) due.push(seat);
      };
      const workers = Math.min(due.length, this.#hasStreams ? ASKS_BESIDE_STREAMS : ASKS_ALONE);
      await Promise.all(Array.from({ length: workers }, worker));
      await sleep(this.#port.pollMs, this.#pause.signal);
    }
    this.#isAsking = false;
  }

  /** One page of a room; whether there are more. A room that has caught up gets a stream, if there is a place. */
  async #turn(seat: Seat): Promise<boolean> {
    const { room, over } = seat;
    if (over.signal.aborted || seat.stream || Date.now() < seat.patientUntil) return false;
    seat.isAsked = true;
    seat.heardAt = Date.now();
    try {
      const at = seat.at ?? (await this.#stateOf(seat));
      this.#begin(seat, 'resumed');
      const page = await this.#port.http.page<OtherEvent>(room, at, over.signal);
      if (page.gap) this.#tell(seat, { type: 'gap', room, missedFrom: at, missedTo: null, reason: page.gap.reason });
      for (const event of page.events) this.#tell(seat, { ...event, ...by(room, event) });
      seat.at = page.next;
      if (!page.complete) return true;
      const quietSince = page.events.length > 0 ? Date.now() - IDLE * this.#port.pollMs : 0;
      const mayStream = !over.signal.aborted && Date.now() >= seat.placelessUntil;
      if (mayStream && this.#hasPlace(quietSince)) void this.#stream(seat);
    } catch (error) {
      this.#failed(seat, error);
    } finally {
      seat.isAsked = false;
    }
    return false;
  }

  /** Where a room stands now; of an execution, its state is told. */
  async #stateOf(seat: Seat): Promise<string> {
    const { room, over } = seat;
    const execution = executionOf(room);
    if (execution !== undefined) {
      try {
        const path = `/api/executions/${encodeURIComponent(execution)}`;
        const snapshot = await this.#port.http.json<Snapshot & { offset: string | null }>(path, over);
        this.#begin(seat, 'snapshot');
        this.#tell(seat, { type: 'snapshot', room, offset: snapshot.offset, snapshot });
        return snapshot.offset ?? '0';
      } catch (error) {
        if (!isMissing(error)) throw error;
        this.#begin(seat, 'live');
        // All that happens from its beginning on is to be told.
        seat.at = '0';
        return seat.at;
      }
    }
    for (let after = '0'; ; ) {
      const page: Page<unknown> = await this.#port.http.page(room, after, over.signal);
      after = page.next;
      if (!page.complete) continue;
      this.#begin(seat, 'live', after);
      return after;
    }
  }

  // ── both ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #tell(seat: Seat, message: Incoming | WeftEvent | OtherEvent): void {
    if (!seat.over.signal.aborted) this.#port.tell(message);
  }

  /** Answers the subscribe, once. */
  #begin(seat: Seat, outcome: Outcome, offset?: string): void {
    if (seat.begun) return;
    seat.begun = true;
    const { room, ref } = seat;
    const at = offset === undefined ? undefined : { offset };
    this.#tell(seat, { type: 'subscribed', room, outcome, recovered: outcome === 'resumed', ref, ...at });
  }

  #failed(seat: Seat, error: unknown): void {
    const { room, ref, over } = seat;
    if (over.signal.aborted) return;
    if (!(error instanceof HttpRefusal)) return this.#port.lost(error);
    const { code, status, message } = error;
    if (status === 404) {
      if (!seat.begun) seat.patientUntil = Date.now() + PATIENCE * this.#port.pollMs;
    } else if (code === 'gone') {
      this.#tell(seat, { type: 'gap', room, missedFrom: seat.at ?? null, missedTo: null, reason: 'reset' });
      seat.at = undefined;
    } else if (code === 'not_durable' && this.#hasStreams && !seat.stream) {
      // Where nothing is stored there are no pages: it needs a stream, whatever the bound.
      void this.#read(seat, begin(seat));
    } else if (status < 500 && status !== 401 && !LATER.has(code)) {
      // A room that is refused is no reason to leave the others.
      this.#tell(seat, { type: 'error', code, message, ref, room });
      this.end(room);
    } else this.#port.lost(error);
  }
}

/** It has a stream from now on, until what is answered is aborted. */
function begin(seat: Seat): AbortController {
  const own = new AbortController();
  seat.over.signal.addEventListener('abort', () => own.abort(), { once: true, signal: own.signal });
  seat.stream = own;
  seat.heardAt = Date.now();
  seat.toldAt = seat.heardAt;
  return own;
}

const isMissing = (error: unknown): boolean => error instanceof HttpRefusal && error.status === 404;

const executionOf = (room: string): string | undefined => (room.startsWith('execution:') ? room.slice(10) : undefined);

/** Where the stream of a room is, from where it stands. */
function streamOf({ room, at }: Seat): string {
  const execution = executionOf(room);
  const isExecution = execution !== undefined;
  const place = isExecution ? `executions/${encodeURIComponent(execution)}` : `rooms/${encodeURIComponent(room)}`;
  const query = at !== undefined ? `?offset=${encodeURIComponent(at)}` : isExecution ? '?snapshot=true' : '';
  return `/api/${place}/events${query}`;
}

/** An event of a stream says by which room it came, as one of a WebSocket does. */
const by = (room: string, event: { room?: unknown }): { room?: string } =>
  event.room !== undefined || executionOf(room) !== undefined ? {} : { room };

const sleep = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise(resolve => {
    if (signal.aborted) return resolve();
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
