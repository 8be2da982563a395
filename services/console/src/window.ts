/** Which lines of a long list are drawn, and whether it keeps to its end. All lines are of one height. */

/** Height of a line in pixels; the style sheet has the same. */
export const LINE_PX = 22;
/** Lines drawn above and below what is seen, so that a quick scroll does not show blanks. */
const OVERSCAN = 24;
/** This close to the end counts as at the end. */
const NEAR_END_PX = 2 * LINE_PX;

/** A scrolling element, as far as it is used. */
export interface Scroller {
  scrollTop: number;
  readonly scrollHeight: number;
  readonly clientHeight: number;
}

/** The lines to be drawn, of `count`, where the first `from` is included and `to` is not. */
export function linesAt(top: number, height: number, count: number, linePx = LINE_PX): { from: number; to: number } {
  const fit = Math.ceil(height / linePx);
  const first = Math.min(Math.floor(Math.max(0, top) / linePx), Math.max(0, count - fit));
  return { from: Math.max(0, first - OVERSCAN), to: Math.min(count, first + fit + OVERSCAN) };
}

/** Where to scroll so that a line is seen, moving as little as possible. */
export function topToShow(line: number, top: number, height: number): number {
  const at = line * LINE_PX;
  if (at < top) return at;
  if (at + LINE_PX > top + height) return at + LINE_PX - height;
  return top;
}

/**
 * Whether the list keeps to its end, after it has scrolled from `before`. Any move upwards lets go, also a small one, or a
 * slow reader could never leave the end; arriving there by a move downwards takes hold again. A list that has become
 * shorter, or its window larger, is moved by the browser and stands at its end then: that is nobody's wish.
 */
export function keepsToEnd(isFollowing: boolean, before: number, now: Scroller): boolean {
  const fromEnd = now.scrollHeight - now.scrollTop - now.clientHeight;
  if (now.scrollTop < before) return isFollowing && fromEnd < 1;
  return isFollowing || (now.scrollTop > before && fromEnd <= NEAR_END_PX);
}
