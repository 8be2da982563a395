/** The ways to a gateway: which one to try next, and how each is opened. */
import type { Http } from './http.js';
import type { Options, Times, Transport } from './options.js';
import { webSocketLink } from './websocket.js';
import type { Link, LinkEvents } from './wire.js';

export class Ways {
  readonly #options: Options;
  readonly #times: Times;
  readonly #http: Http;
  /** WebSockets in a row that never came up. */
  #blocked = 0;

  constructor(options: Options, times: Times, http: Http) {
    this.#options = options;
    this.#times = times;
    this.#http = http;
  }

  /** Whether a WebSocket is to be looked for while on a fallback. */
  get mayUpgrade(): boolean {
    return (this.#options.transport ?? 'auto') === 'auto' && this.#socket() !== undefined;
  }

  /** Where a WebSocket has never come up, two losses are enough to look for another way. */
  choose(everUp: boolean): Transport {
    const wish = this.#options.transport ?? 'auto';
    if (wish !== 'auto') return wish;
    return this.#blocked >= (everUp ? 5 : 2) || !this.#socket() ? 'sse' : 'websocket';
  }

  /** Opens a way. Throws where there is no WebSocket, or the browser forbids it. */
  open(kind: Transport, address: string, events: LinkEvents): Link {
    if (kind !== 'websocket') return lazyFallback(this.#http, this.#times, kind, events);
    const Socket = this.#socket();
    if (!Socket) throw new TypeError('there is no WebSocket here: pass one in options.WebSocket');
    return webSocketLink(address, Socket, this.#times.openMs, events);
  }

  /** A WebSocket has got through. */
  through(): void {
    this.#blocked = 0;
  }

  /** A way has ended, or never was up. After a fallback one WebSocket is tried. */
  lost(kind: Transport, wasUp: boolean): void {
    if (kind !== 'websocket') this.#blocked = Math.max(1, this.#blocked - 1);
    else if (!wasUp) this.#blocked += 1;
  }

  #socket(): Options['WebSocket'] {
    return this.#options.WebSocket ?? (globalThis as { WebSocket?: Options['WebSocket'] }).WebSocket;
  }
}

/** The fallback is fetched where it is needed: most never do. */
function lazyFallback(http: Http, times: Times, kind: 'sse' | 'poll', events: LinkEvents): Link {
  let link: Link | undefined;
  let over = false;
  import('./fallback.js').then(
    ({ fallbackLink }) => {
      if (!over) link = fallbackLink(http, times, kind, events);
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
