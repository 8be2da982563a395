/** The ways to a gateway: which one to try next, and how each is opened. */
import type { FallbackPlace } from './fallback.js';
import type { Options, Times, Transport } from './options.js';
import type { Site } from './tokens.js';
import { webSocketLink } from './websocket.js';
import type { Link, LinkEvents } from './wire.js';

export class Ways {
  readonly #options: Options;
  readonly #times: Times;
  readonly #site: Site;
  /** WebSockets in a row that never came up. */
  #blocked = 0;

  constructor(options: Options, times: Times, site: Site) {
    this.#options = options;
    this.#times = times;
    this.#site = site;
  }

  /** Where a WebSocket has never come up, two losses are enough to look for another way. */
  choose(everUp: boolean): Transport {
    const wish = this.#options.transport ?? 'auto';
    if (wish !== 'auto') return wish;
    return this.#blocked >= (everUp ? 5 : 2) || !this.#socket() ? 'sse' : 'websocket';
  }

  /** Opens a way. Throws where there is no WebSocket, or the browser forbids it. */
  open(kind: Transport, address: string, events: LinkEvents): Link {
    const Socket = this.#socket();
    const byWebSocket = Socket && ((of: LinkEvents) => webSocketLink(address, Socket, this.#times.openMs, of));
    if (kind === 'websocket') {
      if (!byWebSocket) throw new TypeError('there is no WebSocket here: pass one in options.WebSocket');
      return byWebSocket(events);
    }
    const isFixed = (this.#options.transport ?? 'auto') !== 'auto';
    const place = { site: this.#site, times: this.#times, streamsMax: this.#options.streamsMax };
    return lazyFallback(place, kind, events, isFixed ? undefined : byWebSocket);
  }

  /** A WebSocket has got through. */
  through(): void {
    this.#blocked = 0;
  }

  /**
   * A way has ended, or never was up. After a fallback one WebSocket is tried. One that was closed with a word had got
   * through.
   */
  lost(kind: Transport, wasUp: boolean, code: number): void {
    if (kind !== 'websocket') this.#blocked = Math.max(1, this.#blocked - 1);
    else if (!wasUp && code === 1006) this.#blocked += 1;
  }

  #socket(): Options['WebSocket'] {
    return this.#options.WebSocket ?? (globalThis as { WebSocket?: Options['WebSocket'] }).WebSocket;
  }
}

/** The fallback is fetched where it is needed: most never do. */
function lazyFallback(
  place: FallbackPlace,
  kind: 'sse' | 'poll',
  events: LinkEvents,
  byWebSocket: ((events: LinkEvents) => Link) | undefined,
): Link {
  let link: Link | undefined;
  let over = false;
  import('./fallback.js').then(
    ({ fallbackLink }) => {
      if (!over) link = fallbackLink(place, kind, events, byWebSocket);
    },
    () => over || events.closed(1006),
  );
  return {
    send: message => link?.send(message),
    close() {
      over = true;
      link?.close();
    },
  };
}
