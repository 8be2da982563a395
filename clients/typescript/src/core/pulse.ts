/** Whether the other end still lives: a page cannot see WebSocket pings, so it sends messages of its own. */

/** What a pulse needs and tells. */
export interface PulsePort {
  ping(): void;
  /** Nothing was heard in time. */
  dead(): void;
  latency(ms: number): void;
}

export class Pulse {
  #interval: ReturnType<typeof setInterval> | undefined;
  #deadline: ReturnType<typeof setTimeout> | undefined;
  #due = 0;
  #askedAt = 0;
  readonly #port: PulsePort;

  constructor(port: PulsePort) {
    this.#port = port;
  }

  start(heartbeatMs: number, pongMs: number): void {
    this.stop();
    this.#interval = setInterval(() => this.ask(pongMs), heartbeatMs);
    this.ask(pongMs);
  }

  /** Asks now for a sign of life, due within this time. */
  ask(withinMs: number): void {
    const now = performance.now();
    // A further question must not put off the deadline of one that has no answer yet.
    if (this.#deadline === undefined || now + withinMs < this.#due) {
      clearTimeout(this.#deadline);
      this.#due = now + withinMs;
      this.#deadline = setTimeout(() => this.#port.dead(), withinMs);
    }
    this.#askedAt = now;
    this.#port.ping();
  }

  /** Anything that comes is a sign of life. */
  heard(isPong: boolean): void {
    clearTimeout(this.#deadline);
    this.#deadline = undefined;
    if (isPong) this.#port.latency(performance.now() - this.#askedAt);
  }

  stop(): void {
    clearInterval(this.#interval);
    clearTimeout(this.#deadline);
    this.#deadline = undefined;
  }
}

/** Calls when the page is looked at again, comes back from the cache, or goes online or offline. */
export function watchPage(wake: () => void, offline: () => void): () => void {
  const stops: (() => void)[] = [];
  const on = (target: EventTarget | undefined, name: string, listener: () => void) => {
    target?.addEventListener?.(name, listener);
    stops.push(() => target?.removeEventListener?.(name, listener));
  };
  const { document, window } = globalThis as { document?: Document; window?: Window };
  on(document, 'visibilitychange', () => document?.visibilityState === 'visible' && wake());
  on(window, 'pageshow', wake);
  on(window, 'online', wake);
  on(window, 'offline', offline);
  return () => {
    for (const stop of stops) stop();
  };
}

/** Whether the browser says that there is no network. It may be wrong: a gateway on the same machine needs none. */
export const isOffline = (): boolean =>
  (globalThis as { navigator?: { onLine?: boolean } }).navigator?.onLine === false;
