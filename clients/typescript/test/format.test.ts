/** How values are written for people. */
import { expect, test } from 'vitest';
import { between, clock, dateTime, duration, oneLine, plain } from '../src/view/format.js';

test('a date has the clock that a log has, at every hour', () => {
  for (let hour = 0; hour < 24; hour++) {
    const at = new Date(2026, 0, 2, hour, 7, 9).toISOString();
    expect(dateTime(at)).toContain(clock(at).slice(0, 8));
    expect(dateTime(at)).toContain('2026');
    expect(dateTime(at)).not.toMatch(/[AP]M/i);
  }
  for (const nothing of [null, undefined, '', 'soon'])
    expect([dateTime(nothing), clock(nothing ?? '')]).toEqual(['', '']);
});

test('a length of time is told in milliseconds below a second, then as a clock', () => {
  const lengths = [0, 999, 1000, 65_000, 3_723_000, -1, Number.NaN];
  expect(lengths.map(duration)).toEqual(['0 ms', '999 ms', '0:01', '1:05', '1:02:03', '', '']);
  const start = '2026-01-01T00:00:00.000Z';
  expect(between(start, null, Date.parse(start) + 7000)).toBe('0:07');
  expect(between(start, '2026-01-01T00:01:00.000Z', 0)).toBe('1:00');
  expect(between(null, start, 0)).toBe('');
});

test('a message has one line in a log, without what is meant for a terminal', () => {
  expect(oneLine('Traceback:\n  File "a.py"\r\nValueError: no\n')).toBe('Traceback: ⏎   File "a.py" ⏎ ValueError: no');
  expect(oneLine('10 %\r20 %')).toBe('10 % ⏎ 20 %');
  expect(oneLine('\u001b[1;32mgreen\u001b[0m and\u001b[K all')).toBe('green and all');
  expect(plain('\u001b[31mone\u001b[0m\ntwo')).toBe('one\ntwo');
});
