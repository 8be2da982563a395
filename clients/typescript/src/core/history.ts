/**
 * What happened before, for one who begins in the middle: pages over HTTP, while what comes live waits; then the live
 * events that the pages did not hold. There is no seam, because the live ones are kept from before the first page is
 * asked for, and everything that came earlier is stored by then.
 */
import type { Backoff } from './backoff.js';
import type { Gap, OtherEvent, WeftEvent } from './event.js';
import { Http, HttpRefusal } from './http.js';
import { keyOf, Recent } from './recent.js';
import type { Site } from './tokens.js';
import { LATER, WeftError } from './told.js';

/** Where history comes from. */
export interface History {
  site: Site;
  /** Its name. */
  room: string;
  from: string;
  /** Only log entries are told, and gaps. */
  logsOnly: boolean;
  /** Whether live events come at the moment: if so, a gateway that cannot be asked is not just away. */
  isLive(): boolean;
  /** A fresh one for each reading. */
  backoff(): Backoff;
}

/** Attempts in a row after which history is given up, while live events come. */
const FAILURES_MAX = 5;

type Told = WeftEvent | OtherEvent | Gap;

/** Live events that wait for the pages; past it they are dropped and read from the pages as well. */
const WAITING_MAX = 10_000;
/** Events remembered to tell what pages and the live side both hold. */
const KEYS_MAX = 20_000;

/**
 * Begins to read. `tell` gets what the pages hold; `done` gets the live events that have come meanwhile, the keys of what
 * was told, which the live side may tell again, and why there is no history if there is none. What `push` is given waits
 * till then.
 */
export function readHistory(
  history: History,
  signal: AbortSignal,
  tell: (event: Told) => void,
  done: (live: Told[], known: Recent, error?: WeftError) => void,
): { push(event: Told): void } {
  const waiting: Told[] = [];
  const keys = new Recent(KEYS_MAX);
  let dropped = false;
  let error: WeftError | undefined;
  const run = async () => {
    let from: string | undefined = history.from;
    do {
      dropped = false;
      from = await readOn(history, from, signal, event => {
        const key = event.type === 'gap' ? undefined : keyOf(event);
        const isWanted = !history.logsOnly || event.type === 'log' || event.type === 'gap';
        if ((key === undefined || keys.add(key)) && isWanted) tell(event);
      });
    } while (dropped && from !== undefined);
  };
  run()
    .catch((reason: unknown) => {
      error = reason instanceof WeftError ? reason : new WeftError('internal', String(reason));
    })
    .finally(() => {
      if (signal.aborted) return;
      done(waiting, keys, error);
    });
  return {
    push(event) {
      if (waiting.length >= WAITING_MAX) {
        waiting.length = 0;
        dropped = true;
      }
      waiting.push(event);
    },
  };
}

/** Reads to the end of what is held; answers where that is. */
async function readOn(
  history: History,
  from: string,
  signal: AbortSignal,
  tell: (event: Told) => void,
): Promise<string> {
  const http = new Http(history.site);
  const backoff = history.backoff();
  const room = history.room;
  const gap = (reason: string) => tell({ type: 'gap', room, missedFrom: after, missedTo: null, reason });
  let after = from;
  let failures = 0;
  while (!signal.aborted) {
    try {
      const page = await http.page<WeftEvent>(room, after, signal);
      failures = 0;
      if (page.gap) gap(page.gap.reason);
      for (const event of page.events) tell(event);
      after = page.next;
      if (page.complete) break;
    } catch (error) {
      // Nothing has happened yet.
      if (error instanceof HttpRefusal && error.status === 404) break;
      if (error instanceof HttpRefusal && error.code === 'gone') {
        gap('reset');
        after = '0';
      } else if (error instanceof WeftError && (LATER.has(error.code) || isPassing(error))) {
        // What comes live must not wait for ever for what something in between holds back.
        if (history.isLive() && ++failures > FAILURES_MAX) throw error;
        await pause(backoff.next(), signal);
      } else throw error;
    }
  }
  return after;
}

/** Whether it may go away by itself: no answer, or one by something in between. */
const isPassing = (error: WeftError): boolean =>
  error.code === 'unreachable' || (error instanceof HttpRefusal && error.code.startsWith('http_5'));

const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise(resolve => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
