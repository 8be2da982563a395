/** The connection, for a badge. */
import type { State } from '../core/connection.js';
import type { Transport } from '../core/options.js';
import type { WeftError } from '../core/told.js';
import type { Weft } from '../core/weft.js';
import { View } from './view.js';

export interface Connection {
  state: State;
  isConnected: boolean;
  isReconnecting: boolean;
  transport: Transport | undefined;
  latencyMs: number | undefined;
  /** The broker is away: nothing new comes for the moment, and nothing is lost. */
  degraded: boolean;
  error: WeftError | undefined;
}

export class ClientView extends View<Connection> {
  readonly #weft: Weft;

  constructor(weft: Weft) {
    super();
    this.#weft = weft;
  }

  protected start(): () => void {
    const over = new AbortController();
    const changed = () => this.changed();
    for (const name of ['state', 'degraded', 'latency', 'error'] as const) this.#weft.on(name, changed, over);
    this.changed();
    return () => over.abort();
  }

  protected read(): Connection {
    const { state, transport, latencyMs, degraded, error } = this.#weft;
    const isReconnecting = state === 'reconnecting';
    return { state, isConnected: state === 'connected', isReconnecting, transport, latencyMs, degraded, error };
  }
}

/** Connections by client, so that all badges of a page share one. */
const views = new WeakMap<Weft, ClientView>();

export function clientView(weft: Weft): ClientView {
  const view = views.get(weft) ?? new ClientView(weft);
  views.set(weft, view);
  return view;
}
