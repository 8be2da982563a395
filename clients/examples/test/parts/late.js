/** What a page shows that is opened while an execution runs, and after it has ended. */
import assert from 'node:assert/strict';
import { newId } from '../rig/fleet.js';
import { event, line, lines, node } from './events.js';

/** A page, what it is opened with, and what it says of a cancelled execution. */
const pages = [
  ['a-vue', {}, 'failed'],
  ['b-page', { snapshot: '1' }, 'cancelled'],
  ['c-react', {}, 'failed'],
  ['d-react', {}, 'cancelled'],
  ['f-events', {}, 'cancelled'],
];

/** Texts that a frame, a page or a terminal could take for something else. */
const odd = [
  '',
  '"]',
  '</li><b>&amp;',
  'Grüße, 世界, 🦀\u2028',
  'two\nlines',
  '\\u0000',
  '42["log",{}]',
  'x'.repeat(100_000),
];

async function opened(open, pair, page, execution, more) {
  const shown = await open(page, { gateway: pair.http, execution, ...more });
  if (page === 'b-page') await shown.page.click('text=Subscribe');
  return shown;
}

async function running({ open, pair }, page, more) {
  const id = newId();
  await pair.publish(
    event(id, 'execution:started', { status: 'running' }),
    node(id, 'fetch', 'started'),
    line(id, 'before the page'),
    node(id, 'fetch', 'completed', { output: { rows: 3 } }),
    node(id, 'build', 'started'),
  );
  const shown = await opened(open, pair, page, id, more);
  const state = now => now.status === 'running' && now.nodes.length === 2;
  const first = await shown.until(state, 'the state of a running execution');
  assert.deepEqual(first.nodes, ['fetch completed', 'build running']);
  assert.deepEqual(first.logs, [], 'lines from before are not replayed');

  const expected = [...lines('line', 1, 20), ...odd];
  await pair.publish(...expected.map(message => line(id, message)));
  await pair.publish(node(id, 'build', 'completed'), event(id, 'execution:completed', { result: { ok: true } }));
  const last = await shown.until(now => now.status === 'completed' && now.result, 'the end');
  assert.deepEqual(last.logs, expected);
  assert.deepEqual(last.nodes, ['fetch completed', 'build completed']);
  assert.equal(last.result, '{"ok":true}');
}

async function finished({ open, pair }, page, more, cancelled) {
  const [completed, failed, stopped] = [newId(), newId(), newId()];
  for (const id of [completed, failed, stopped]) {
    await pair.publish(event(id, 'execution:started'), node(id, 'only', 'started'), node(id, 'only', 'completed'));
  }
  await pair.publish(
    event(completed, 'execution:completed', { result: [1, 2] }),
    event(failed, 'execution:failed', { error: 'the disk is full' }),
    event(stopped, 'execution:cancelled', { reason: 'enough' }),
  );
  const good = await opened(open, pair, page, completed, more);
  const end = await good.until(now => now.status === 'completed' && now.result, 'the state of a completed execution');
  assert.equal(end.result, '[1,2]');
  assert.deepEqual(end.nodes, ['only completed']);
  assert.equal(end.error, '');

  const bad = await opened(open, pair, page, failed, more);
  const error = await bad.until(now => now.status === 'failed' && now.error, 'the state of a failed execution');
  assert.equal(error.error, 'the disk is full');
  assert.equal(error.result, '');

  const ended = await opened(open, pair, page, stopped, more);
  await ended.until(now => now.status === cancelled, `a cancelled execution as ${cancelled}`);
}

/** All entries that there were come first, and those that follow once. */
async function viewer({ open, pair }) {
  const id = newId();
  await pair.publish(...lines('old', 1, 30).map(message => line(id, message)));
  const shown = await open('e-logs', { gateway: pair.http, execution: id });
  const first = await shown.until(now => now.logs.length >= 30, 'the entries from before');
  assert.deepEqual(first.logs, lines('old', 1, 30));
  await pair.publish(...lines('new', 1, 30).map(message => line(id, message)));
  await pair.publish(
    node(id, 'step', 'failed', { error: 'step has failed' }),
    event(id, 'execution:failed', { error: 'no' }),
  );
  const all = [...lines('old', 1, 30), ...lines('new', 1, 30), 'step has failed'];
  const last = await shown.until(now => now.logs.at(-1) === 'step has failed', 'the last entry');
  assert.deepEqual(last.logs, all);

  const again = await open('e-logs', { gateway: pair.http, execution: id });
  const after = await again.until(
    now => now.logs.length >= all.length && now.connection === 'connected',
    'all entries',
  );
  assert.deepEqual(after.logs, all);
  await again.page.selectOption('#level', 'error');
  await again.until(now => now.logs.length === 1, 'only the error');
}

/** Subscribe, unsubscribe, ping, as buttons. */
async function buttons({ open, pair }) {
  const id = newId();
  const shown = await opened(open, pair, 'b-page', id, {});
  await shown.until(now => now.connection === 'subscribed', 'the answer to subscribe');
  await pair.publish(line(id, 'heard'));
  await shown.until(now => now.logs.length === 1, 'the line');
  await shown.page.click('text=Unsubscribe');
  await shown.until(now => now.connection === 'connected', 'the answer to unsubscribe');
  await pair.publish(line(id, 'not heard'));
  await shown.page.click('text=Ping');
  await shown.until(now => /^pong \d{4}-/.test(now.pong), 'the pong');
  await shown.page.click('text=Subscribe');
  await shown.until(now => now.connection === 'subscribed', 'the answer to subscribe');
  await pair.publish(line(id, 'heard again'));
  const last = await shown.until(now => now.logs.includes('heard again'), 'the line after');
  assert.deepEqual(last.logs, ['heard', 'heard again']);
}

export const late = [
  ...pages.map(([page, more]) => [`${page}: opened while it runs`, rig => running(rig, page, more)]),
  ...pages.map(([page, more, word]) => [`${page}: opened after the end`, rig => finished(rig, page, more, word)]),
  ['b-page: subscribe, unsubscribe, ping', buttons],
  ['e-logs: history and live, each entry once', viewer],
];
