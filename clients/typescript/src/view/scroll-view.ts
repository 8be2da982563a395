/** Which lines of a long list are on the screen, and whether it keeps to the end. Lines are of one height. */
import { View } from './view.js';

/** Height of a line in pixels; the style sheet has the same. */
export const LINE_PX = 20;
/** Lines drawn above and below what is seen. */
const OVERSCAN = 20;

export interface Scroll {
  /** Keeps to the end: until the reader scrolls up, and again once the end is reached. */
  isFollowing: boolean;
  top: number;
  height: number;
}

/** The part of an element that is used. */
interface Scroller {
  scrollTop: number;
  readonly scrollHeight: number;
  readonly clientHeight: number;
}

export class ScrollView extends View<Scroll> {
  #element: Scroller | null = null;
  #state: Scroll = { isFollowing: true, top: 0, height: 400 };

  /** The scrolling element, when it is drawn, and null when it goes. */
  readonly attach = (element: unknown): void => {
    this.#element = element as Scroller | null;
    this.settle();
  };

  /** The reader has scrolled, or we have. */
  readonly scrolled = (): void => {
    const element = this.#element;
    if (!element) return;
    const fromEnd = element.scrollHeight - element.scrollTop - element.clientHeight;
    this.#set(fromEnd < 2 * LINE_PX, element);
  };

  readonly follow = (isFollowing: boolean): void => {
    this.#state = { ...this.#state, isFollowing };
    this.settle();
    this.changedNow();
  };

  /** To be called once new lines are drawn: goes to the end, if that is wished. */
  readonly settle = (): void => {
    const element = this.#element;
    if (!element) return;
    if (this.#state.isFollowing) element.scrollTop = element.scrollHeight;
    if (this.#state.height !== element.clientHeight && element.clientHeight > 0)
      this.#set(this.#state.isFollowing, element);
  };

  protected start(): () => void {
    return () => {};
  }

  protected read(): Scroll {
    return this.#state;
  }

  #set(isFollowing: boolean, { scrollTop, clientHeight }: Scroller): void {
    this.#state = { isFollowing, top: scrollTop, height: clientHeight || this.#state.height };
    this.changed();
  }
}

/** The lines to be drawn, of `count`. */
export function visibleLines({ isFollowing, top, height }: Scroll, count: number): { from: number; to: number } {
  const fit = Math.ceil(height / LINE_PX);
  const first = isFollowing ? count - fit : Math.floor(top / LINE_PX);
  const from = Math.max(0, Math.min(first, count - fit) - OVERSCAN);
  return { from, to: Math.min(count, Math.max(first, 0) + fit + OVERSCAN) };
}
