import fc from 'fast-check';
import { expect, test } from 'vitest';
import { highlighted, KINDS, type Kind, type Line, Lines, NO_FILTER } from '../../src/lines.js';

const line = (message: string, kind: Kind = 'info', nodeId?: string): Omit<Line, 'key'> => ({
  kind,
  message,
  nodeId,
  timestamp: undefined,
  event: undefined,
});
const messages = (lines: Lines) => Array.from({ length: lines.length }, (_, index) => lines.at(index)?.message);

test('all lines are there, in order, with their numbers', () => {
  const lines = new Lines();
  for (const text of ['a', 'b', 'c']) lines.add(line(text));
  expect(messages(lines)).toEqual(['a', 'b', 'c']);
  expect([lines.at(2)?.key, lines.end, lines.omitted]).toEqual([2, 3, 0]);
  expect(lines.at(3)).toBeUndefined();
});

test('a filter counts for lines that were there, and for those that come', () => {
  const lines = new Lines();
  lines.add(line('Disk is FULL', 'error'));
  lines.add(line('disk is fine', 'info'));
  lines.filter = { ...NO_FILTER, kinds: new Set(['error'] as const), text: ' full ' };
  lines.add(line('full again', 'error'));
  lines.add(line('full, but only a warning', 'warning'));
  expect(messages(lines)).toEqual(['Disk is FULL', 'full again']);
  lines.filter = NO_FILTER;
  expect(lines.length).toBe(4);
});

test('a node is searched for by its id, and shown alone', () => {
  const lines = new Lines();
  lines.add(line('one', 'info', 'Build'));
  lines.add(line('two', 'info', 'build-docs'));
  lines.filter = { ...NO_FILTER, text: 'build' };
  expect(messages(lines)).toEqual(['one', 'two']);
  lines.filter = { ...NO_FILTER, nodeId: 'Build' };
  expect(messages(lines)).toEqual(['one']);
});

test('the oldest lines are left out and counted, and their numbers stay theirs', () => {
  const lines = new Lines(100);
  for (let n = 0; n < 1000; n++) lines.add(line(`${n}`, n % 2 === 0 ? 'info' : 'debug'));
  expect(lines.kept).toBeLessThanOrEqual(120);
  expect(lines.omitted + lines.kept).toBe(1000);
  expect(lines.at(lines.length - 1)?.message).toBe('999');
  expect(lines.at(0)?.key).toBe(lines.omitted);
  expect(lines.counts.info + lines.counts.debug).toBe(lines.kept);
});

test('few lines that are very long have a bound too', () => {
  const lines = new Lines();
  const long = 'x'.repeat(1_000_000);
  for (let n = 0; n < 130; n++) lines.add(line(`${n} ${long}`));
  expect(lines.kept).toBeLessThanOrEqual(100);
  expect(lines.kept).toBeGreaterThan(80);
  expect(lines.at(lines.length - 1)?.message).toMatch(/^129 /);
  expect(lines.omitted + lines.kept).toBe(130);
});

test('clearing begins anew, and the filter stays', () => {
  const lines = new Lines();
  lines.filter = { ...NO_FILTER, text: 'x' };
  lines.add(line('x'));
  lines.clear();
  expect([lines.length, lines.kept, lines.end, lines.counts.info]).toEqual([0, 0, 0, 0]);
  lines.add(line('y'));
  lines.add(line('x too'));
  expect(messages(lines)).toEqual(['x too']);
});

test('whatever comes and is filtered, the lines are those that a plain filter would give', () => {
  const kind = fc.constantFrom(...KINDS);
  const steps = fc.oneof(
    fc.record({
      kind,
      message: fc.constantFrom('alpha', 'Beta', 'gamma beta'),
      nodeId: fc.constantFrom(undefined, 'n', 'm'),
    }),
    fc.record({
      kinds: fc.uniqueArray(kind),
      text: fc.constantFrom('', 'beta', 'N'),
      nodeId: fc.constantFrom(undefined, 'n'),
    }),
  );
  fc.assert(
    fc.property(fc.array(steps, { maxLength: 120 }), fc.integer({ min: 1, max: 40 }), (run, max) => {
      const lines = new Lines(max);
      const model: { key: number; kind: Kind; message: string; nodeId: string | undefined }[] = [];
      let filter = NO_FILTER;
      for (const step of run) {
        if ('kinds' in step) {
          filter = { ...step, kinds: new Set(step.kinds) };
          lines.filter = filter;
        } else {
          lines.add({ ...step, timestamp: undefined, event: undefined });
          model.push({ ...step, key: model.length });
        }
      }
      const text = filter.text.toLowerCase();
      const wanted = model
        .slice(lines.omitted)
        .filter(one => filter.kinds.has(one.kind) && (filter.nodeId === undefined || one.nodeId === filter.nodeId))
        .filter(one => one.message.toLowerCase().includes(text) || (one.nodeId ?? '').includes(text));
      expect(Array.from({ length: lines.length }, (_, index) => lines.at(index)?.key)).toEqual(
        wanted.map(({ key }) => key),
      );
      for (const [index, { key }] of wanted.entries()) expect(lines.indexOf(key)).toBe(index);
    }),
    { numRuns: 300 },
  );
});

test('100,000 lines are filtered, and written as text', () => {
  const lines = new Lines();
  for (let n = 0; n < 100_000; n++) lines.add(line(`line ${n}`));
  lines.filter = { ...NO_FILTER, text: 'LINE 9999' };
  expect(lines.length).toBe(11);
  expect(lines.text().split('\n')[0]).toBe('\tinfo\t\tline 9999');
});

test('a text is cut where it contains what is searched for', () => {
  expect(highlighted('An Error, an error', 'error')).toEqual(['An ', 'Error', ', an ', 'error', '']);
  expect(highlighted('nothing', 'else')).toEqual(['nothing']);
  expect(highlighted('nothing', '  ')).toEqual(['nothing']);
  // The lower case of this letter has two characters.
  expect(highlighted('\u0130stanbul', 'stan')).toEqual(['\u0130stanbul']);
});
