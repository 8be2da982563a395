import fc from 'fast-check';
import { expect, test } from 'vitest';
import { keepsToEnd, LINE_PX, linesAt, topToShow } from '../../src/window.js';

test('every line that is seen is drawn, and few more', () => {
  fc.assert(
    fc.property(fc.nat(200_000), fc.integer({ min: 1, max: 3000 }), fc.nat(5_000_000), (count, height, wish) => {
      // A browser scrolls no further than to the end.
      const top = Math.max(0, Math.min(wish, count * LINE_PX - height));
      const { from, to } = linesAt(top, height, count);
      expect(from).toBeGreaterThanOrEqual(0);
      expect(to).toBeLessThanOrEqual(count);
      expect(from * LINE_PX).toBeLessThanOrEqual(top);
      expect(to * LINE_PX).toBeGreaterThanOrEqual(Math.min(count * LINE_PX, top + height));
      expect(to - from).toBeLessThanOrEqual(Math.ceil(height / LINE_PX) + 49);
    }),
  );
});

test('a list that has become shorter is drawn at its end, whatever the place was', () => {
  expect(linesAt(1_000_000, 220, 30)).toEqual({ from: 0, to: 30 });
  expect(linesAt(50, 220, 0)).toEqual({ from: 0, to: 0 });
});

test('to show a line moves as little as possible', () => {
  expect(topToShow(5, 0, 10 * LINE_PX)).toBe(0);
  expect(topToShow(20, 0, 10 * LINE_PX)).toBe(11 * LINE_PX);
  expect(topToShow(3, 8 * LINE_PX, 10 * LINE_PX)).toBe(3 * LINE_PX);
});

test('the end is left by any move upwards, and found again by arriving there', () => {
  const at = (scrollTop: number) => ({ scrollTop, clientHeight: 200, scrollHeight: 1000 });
  expect(keepsToEnd(true, 800, at(797))).toBe(false);
  expect(keepsToEnd(false, 400, at(797))).toBe(true);
  expect(keepsToEnd(false, 400, at(500))).toBe(false);
  // Lines that were added put the end away from the reader.
  expect(keepsToEnd(true, 500, at(500))).toBe(true);
  // The browser has moved it, because there is less than before.
  expect(keepsToEnd(true, 900, at(800))).toBe(true);
  expect(keepsToEnd(false, 900, at(800))).toBe(false);
});
