/** The last events of a room, as they come. */
import type { Gap, WeftEvent } from '../core/event.js';
import type { WeftError } from '../core/told.js';
import type { Weft } from '../core/weft.js';
import { View } from './view.js';

export interface EventsState {
  events: readonly (WeftEvent | Gap)[];
  refusal: WeftError | undefined;
}

export interface EventsViewOptions {
  /** Only these: types (`log`), and families (`node:*`). */
  types?: readonly string[];
  /** Begin after this offset; `'0'` is the oldest event held. */
  from?: string;
  /** Events that are kept. 1,000 unless set. */
  max?: number;
  /** Called for each event at once, also between two frames. */
  onEvent?: (event: WeftEvent) => void;
}

export class EventsView extends View<EventsState> {
  readonly #weft: Weft;
  readonly #room: string;
  readonly #options: EventsViewOptions;
  #events: (WeftEvent | Gap)[] = [];
  #refusal: WeftError | undefined;

  constructor(weft: Weft, room: string, options: EventsViewOptions = {}) {
    super();
    this.#weft = weft;
    this.#room = room;
    this.#options = options;
  }

  readonly clear = (): void => {
    this.#events = [];
    this.changed();
  };

  protected start(): () => void {
    const { from, types, onEvent } = this.#options;
    this.clear();
    const wanted = (type: string) =>
      !types ||
      types.some(pattern => pattern === type || (pattern.endsWith(':*') && type.startsWith(pattern.slice(0, -1))));
    const follow = this.#weft.room(this.#room, from === undefined ? {} : { from });
    follow.on('*', event => {
      if (!wanted(event.type)) return;
      this.#push(event);
      onEvent?.(event);
    });
    follow.on('gap', gap => this.#push(gap));
    follow.on('error', error => {
      this.#refusal = error;
      this.changed();
    });
    return () => follow.close();
  }

  protected read(): EventsState {
    return { events: this.#events.slice(-this.#max()), refusal: this.#refusal };
  }

  #max(): number {
    return this.#options.max ?? 1000;
  }

  #push(event: WeftEvent | Gap): void {
    this.#events.push(event);
    if (this.#events.length > 2 * this.#max() + 10) this.#events = this.#events.slice(-this.#max());
    this.changed();
  }
}
