/** Addresses, forms and figures. */
import { createElement } from 'react';
import { renderToStaticMarkup } from 'react-dom/server';
import { expect, test } from 'vitest';
import { curve, remember, type Sample, short, topOf, totalsOf } from '../../src/fleet.js';
import { inputsOf } from '../../src/inputs.js';
import { Prompt } from '../../src/parts/prompt.js';
import { isId, routeOf, toExecution } from '../../src/route.js';
import type { Run } from '../../src/run.js';

test('an address leads to its page and back', () => {
  for (const [fragment, page] of [
    ['', 'executions'],
    ['#/', 'executions'],
    ['#/fleet', 'fleet'],
    ['#/fleet/', 'fleet'],
    ['#/else', 'nowhere'],
  ])
    expect(routeOf(fragment as string).page).toBe(page);
  for (const id of ['exec-1', 'a:b.c~d@e_f']) expect(routeOf(toExecution(id))).toEqual({ page: 'execution', id });
  expect(routeOf('#/executions/%')).toMatchObject({ page: 'nowhere' });
  expect(routeOf('#/executions/a/b')).toMatchObject({ page: 'nowhere' });
});

test('ids are those of the protocol', () => {
  for (const id of ['', 'a b', 'a/b', 'é', 'x'.repeat(129)]) expect(isId(id)).toBe(false);
  expect(isId('x'.repeat(128))).toBe(true);
});

test('what was left empty is left out, so that the default counts; the rest has its kind', () => {
  const inputs = { text: {}, count: { type: 'number' }, sure: { type: 'boolean' }, empty: { type: 'number' } };
  const form: Record<string, string> = { text: '1', count: '1.5', sure: 'false', empty: '', other: 'x' };
  expect(inputsOf({ name: 'w', inputs }, name => form[name])).toEqual({ text: '1', count: 1.5, sure: false });
});

test('a choice without choices is drawn as a text field, which can be answered', () => {
  const asked = (validation: object) => {
    const question = { requestId: 'r', prompt: 'Which?', inputType: 'choice', validation };
    const run = { answer: () => Promise.resolve() } as unknown as Run;
    return renderToStaticMarkup(createElement(Prompt, { run, question }));
  };
  expect(asked({ choices: ['a', 'b'] })).toMatch(/<select.*<option>a<\/option><option>b<\/option>/);
  for (const validation of [{}, { choices: [] }]) {
    expect(asked(validation)).not.toContain('<select');
    expect(asked(validation)).toMatch(/<input[^>]* type="text"[^>]* name="answer"/);
  }
});

test('figures are short', () => {
  for (const [value, text] of [
    [0, '0'],
    [12.34, '12.3'],
    [999.96, '1000'],
    [1234, '1,234'],
    [12_345, '12.3k'],
    [999_960, '1.0M'],
    [1.25e6, '1.3M'],
  ] as const)
    expect(short(value)).toBe(text);
});

test('totals are sums, and only the last are remembered', () => {
  const gateway = { id: 'g', address: '', version: '', startedAt: '', draining: false };
  const one = { ...gateway, connections: 1, rooms: 2, eventsPerSecond: 0.5, deliveriesPerSecond: 3 };
  const totals = { connections: 2, rooms: 4, eventsPerSecond: 1, deliveriesPerSecond: 6 };
  expect(totalsOf([one, one])).toEqual(totals);
  let samples: readonly Sample[] = [];
  for (let n = 0; n < 500; n++) samples = remember(samples, { at: n, totals: { ...totals, rooms: n } });
  expect(samples).toHaveLength(120);
  expect(samples.at(-1)?.totals.rooms).toBe(499);
});

test('a curve stands on a scale that ends at a round figure, and its samples where their times are', () => {
  const tops = [0, 1, 1.2, 2, 3, 5, 5.1, 10, 87.7, 201, 999, 1000, 1_200_000];
  expect(tops.map(value => topOf([0, value]))).toEqual([1, 1, 2, 2, 5, 5, 10, 10, 100, 500, 1000, 1000, 2_000_000]);
  expect(topOf([])).toBe(1);
  const totals = { connections: 0, rooms: 0, eventsPerSecond: 0, deliveriesPerSecond: 0 };
  const sample = (at: number, rooms: number) => ({ at, totals: { ...totals, rooms } });
  // Between the second and the third one nobody looked at the page.
  expect(curve([sample(1000, 0), sample(6000, 5), sample(51_000, 10)], 'rooms', 10)).toBe(
    '0.0,39.0 10.0,20.0 100.0,1.0',
  );
  expect(curve([sample(1000, 0)], 'rooms', 1)).toBe('0.0,39.0');
});
