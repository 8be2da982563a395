/** What becomes of an execution's events: bars, texts, lines. */
import type { NodeState, OtherEvent } from '@weft/client';
import { expect, test } from 'vitest';
import { Agents } from '../../src/agents.js';
import { type Attempt, chartOf, edgePath } from '../../src/gantt.js';
import { lineOf } from '../../src/run.js';

const T0 = Date.parse('2026-01-01T00:00:00.000Z');
const at = (ms: number) => new Date(T0 + ms).toISOString();
const node = (status: NodeState['status'], startedAt: string | null, completedAt: string | null): NodeState => ({
  status,
  progress: null,
  output: null,
  error: null,
  startedAt,
  completedAt,
});

test('nodes stand where they ran, those that began first at the top', () => {
  const nodes = {
    late: node('running', at(6000), null),
    never: node('pending', null, null),
    early: node('completed', at(0), at(5000)),
  };
  const chart = chartOf(nodes, new Map(), undefined, T0 + 10_000);
  expect(chart.rows.map(({ id }) => id)).toEqual(['early', 'late', 'never']);
  expect(chart.rows[0]?.bars).toEqual([{ left: 0, width: 50, status: 'completed' }]);
  expect(chart.rows[1]?.bars).toEqual([{ left: 60, width: 40, status: 'running' }]);
  expect(chart.rows[2]?.bars).toEqual([]);
  expect(chart.rows.map(({ durationMs }) => durationMs)).toEqual([5000, 4000, undefined]);
  expect(chart.ticks.map(({ label }) => label)).toEqual(['0', '5 s', '10 s']);
});

test('what waited for what is joined, from the end of the one to the beginning of the other', () => {
  const nodes = {
    first: node('completed', at(0), at(4000)),
    second: node('completed', at(1000), at(2000)),
    third: node('running', at(5000), null),
    never: node('pending', null, null),
  };
  const needs = new Map([
    ['third', ['first', 'second', 'nobody']],
    ['never', ['third']],
  ]);
  const { edges } = chartOf(nodes, new Map(), undefined, T0 + 10_000, needs);
  expect(edges).toEqual([
    { from: 0, to: 2, ends: 40, begins: 50 },
    { from: 1, to: 2, ends: 20, begins: 50 },
  ]);
  expect(chartOf(nodes, new Map(), undefined, T0 + 10_000).edges).toEqual([]);
});

test('an edge goes along the row that waited, and ends at the top of its bar; upwards from below', () => {
  const at = (d: string) => d.split('M')[1];
  const path = (edge: { from: number; to: number; ends: number; begins: number }) => edgePath(edge, 200, 34, 6, 3.5);
  expect(at(path({ from: 0, to: 2, ends: 40, begins: 50 }))).toBe('80 17V68H101V78');
  expect(at(path({ from: 2, to: 1, ends: 0, begins: 0 }))).toBe('1 85V68H1V58');
  expect(path({ from: 0, to: 1, ends: 100, begins: 100 })).toBe('M201 17V34H201V44M197.5 40.5L201 44L204.5 40.5');
});

test('each attempt has its bar, and none leaves the chart', () => {
  const tries: Attempt[] = [
    { status: 'failed', startedAt: at(0), completedAt: at(1000) },
    { status: 'completed', startedAt: at(3999), completedAt: at(4000) },
  ];
  const chart = chartOf({ n: node('completed', at(3999), at(4000)) }, new Map([['n', tries]]), Number.NaN, T0 + 99_000);
  expect(chart.spanMs).toBe(4000);
  expect(chart.rows[0]).toMatchObject({ attempts: 2, durationMs: 1 });
  for (const { left, width } of chart.rows[0]?.bars ?? []) expect(left + width).toBeLessThanOrEqual(100);
});

test('what never told its end is unfinished once the execution has ended, and took until then', () => {
  const nodes = { done: node('completed', at(0), at(1000)), left: node('running', at(1000), null) };
  const chart = chartOf(nodes, new Map(), T0 + 5000, T0 + 99_000);
  expect(chart.rows.map(({ status, durationMs }) => [status, durationMs])).toEqual([
    ['completed', 1000],
    ['unfinished', 4000],
  ]);
  expect(chart.spanMs).toBe(5000);
  expect(chart.rows[1]?.bars).toEqual([{ left: 20, width: 80, status: 'unfinished' }]);
  const tries = new Map<string, Attempt[]>([['left', [{ status: 'running', startedAt: at(1000), completedAt: null }]]]);
  expect(chartOf(nodes, tries, T0 + 5000, T0 + 99_000)).toEqual(chart);
  // Where no clock told the end nobody knows.
  expect(chartOf(nodes, new Map(), Number.NaN, T0).rows[1]).toMatchObject({
    status: 'unfinished',
    durationMs: undefined,
  });
  expect(chartOf(nodes, new Map(), undefined, T0 + 3000).rows[1]).toMatchObject({
    status: 'running',
    durationMs: 2000,
  });
});

test('times that nobody can read make no bars', () => {
  const chart = chartOf({ n: node('running', 'soon', null) }, new Map(), Number.NaN, T0);
  expect(chart.rows[0]?.bars).toEqual([]);
  expect(chartOf({}, new Map(), Number.NaN, T0)).toMatchObject({ rows: [], spanMs: 1 });
});

test('a bar that ends before it begins has no length', () => {
  const chart = chartOf({ n: node('completed', at(1000), at(0)) }, new Map(), Number.NaN, T0);
  expect(chart.rows[0]?.durationMs).toBe(0);
});

const agent = (name: string, data: Record<string, unknown> = {}): OtherEvent => ({
  type: `agent:${name}`,
  executionId: 'e',
  agentId: 'a',
  data,
});

test('tokens become a text, and a new answer begins anew', () => {
  const agents = new Agents();
  agents.take(agent('streaming_start', { agentName: 'Ada' }));
  for (const token of ['Hello', ', ', 'you']) agents.take(agent('token', { token }));
  expect(agents.read()).toMatchObject([{ name: 'Ada', text: 'Hello, you', isStreaming: true }]);
  const before = agents.read()[0];
  expect(agents.read()[0]).toBe(before);
  agents.take(agent('streaming_end', { response: 'Hello, you all' }));
  expect(agents.read()).toMatchObject([{ text: 'Hello, you all', isStreaming: false }]);
  agents.take(agent('streaming_start'));
  agents.take(agent('token', { token: 'Again' }));
  expect(agents.read()).toMatchObject([{ name: 'Ada', text: 'Again', isStreaming: true }]);
});

test('a call that goes on takes the place of its beginning', () => {
  const agents = new Agents();
  agents.take(agent('tool_call', { tool: 'search', arguments: { q: 1 }, status: 'started' }));
  agents.take(agent('tool_call', { tool: 'search', status: 'completed' }));
  expect(agents.read()[0]?.calls).toEqual([{ tool: 'search', arguments: { q: 1 }, status: 'completed' }]);
});

test('nobody speaks any more when the execution is over, and events without an agent are nobody’s', () => {
  const agents = new Agents();
  agents.take(agent('token', { token: 'x' }));
  agents.end();
  expect(agents.read()).toMatchObject([{ isStreaming: false }]);
  expect(agents.take({ type: 'agent:token', executionId: 'e', data: { token: 'x' } })).toBe(false);
  expect(agents.take({ type: 'node:started', executionId: 'e', nodeId: 'n' })).toBe(false);
});

test('a very long answer keeps its end', () => {
  const agents = new Agents();
  for (let n = 0; n < 3000; n++) agents.take(agent('token', { token: 'x'.repeat(100) }));
  agents.take(agent('token', { token: 'end' }));
  const text = agents.read()[0]?.text ?? '';
  expect(text).toHaveLength(200_000);
  expect(text.endsWith('xend')).toBe(true);
});

test('what happens has a line; progress and tokens have none', () => {
  expect(lineOf({ type: 'node:failed', executionId: 'e', nodeId: 'n', data: { error: 'no' } })).toEqual({
    kind: 'error',
    message: 'node failed: no',
  });
  expect(lineOf({ type: 'user_input:required', executionId: 'e', data: { requestId: 'r', prompt: 'Go on?' } })).toEqual(
    {
      kind: 'event',
      message: 'user input required: Go on?',
    },
  );
  for (const type of [
    'execution:progress',
    'execution:updated',
    'node:progress',
    'agent:token',
    'agent:streaming_start',
  ] as const)
    expect(lineOf({ type, executionId: 'e' } as OtherEvent)).toBeUndefined();
});
