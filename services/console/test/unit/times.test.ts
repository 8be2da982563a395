import { expect, test } from 'vitest';
import { took, tookFrom } from '../../src/times.js';

test('a length of time is as exact as it is worth', () => {
  const lengths = [0, 8, 999.4, 1000, 2149, 9949, 9950, 46_400, 59_600, 187_000, 3_723_000];
  const texts = ['0 ms', '8 ms', '999 ms', '1.0 s', '2.1 s', '9.9 s', '10 s', '46 s', '1:00', '3:07', '1:02:03'];
  expect(lengths.map(took)).toEqual(texts);
  expect([took(-1), took(Number.NaN)]).toEqual(['', '']);
});

test('what goes on is told in whole seconds, and nothing of what has no beginning', () => {
  const start = '2026-01-01T00:00:00.000Z';
  const now = Date.parse(start) + 2900;
  expect(tookFrom(start, null, now)).toBe('2 s');
  expect(tookFrom(start, null, now + 60_000)).toBe('1:02');
  expect(tookFrom(start, null, now - 9000)).toBe('0 s');
  expect(tookFrom(start, '2026-01-01T00:00:02.500Z', 0)).toBe('2.5 s');
  expect([tookFrom(null, null, now), tookFrom('soon', start, now)]).toEqual(['', '']);
});
