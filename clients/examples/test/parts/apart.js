/**
 * Connections of one session come to both gateways in turn, as behind a load balancer without affinity: requests that
 * poll reach the gateway that holds the session all the same.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { newId } from '../rig/fleet.js';
import { examples, python, start } from '../rig/processes.js';
import { event, line, lines } from './events.js';

async function pairOf({ fleet, ends }) {
  const pair = ends(await fleet.pair(), it => it.stop());
  pair.alternate();
  const id = newId();
  await pair.publish(event(id, 'execution:started'));
  return { pair, id };
}

/** Publishes one by one, so that a client that polls does so often. */
async function publish(pair, id) {
  const expected = lines('line', 1, 100);
  for (const message of expected) await pair.publish(line(id, message));
  await pair.publish(event(id, 'execution:completed', { result: 'done' }));
  return expected;
}

const reachedBoth = ({ gateways, relay }) => {
  const reached = gateways.map(({ port }) => relay.passedTo.get(port) ?? 0);
  assert.ok(Math.min(...reached) > 0, `connections to each gateway: ${reached}`);
};

async function page(rig, name) {
  const { pair, id } = await pairOf(rig);
  const shown = await rig.open(name, { gateway: pair.http, execution: id });
  await shown.until(now => now.status === 'running', 'the state');
  const expected = await publish(pair, id);
  const last = await shown.until(now => now.result === '"done"', 'the end');
  assert.deepEqual(last.logs, expected);
  assert.equal(last.connection, 'connected', 'the connection was never lost');
  reachedBoth(pair);
}

async function script(rig) {
  const { pair, id } = await pairOf(rig);
  const args = [join(examples, 'd-python/follow.py'), '--polling', id, '--gateway', pair.http];
  const child = rig.ends(start(python(), args), it => it.kill());
  await child.told(line => line === 'snapshot running');
  const expected = await publish(pair, id);
  assert.equal(await child.ended, 0, child.said);
  assert.ok(!child.lines.includes('lost'), child.lines.join('\n'));
  assert.deepEqual(
    child.lines.filter(told => told.startsWith('log ')).map(told => told.slice(4)),
    expected,
  );
  reachedBoth(pair);
}

export const apart = [
  ['a-vue: connections to both gateways', rig => page(rig, 'a-vue')],
  ['d-react: connections to both gateways', rig => page(rig, 'd-react')],
  ['d-python, polling: connections to both gateways', script],
];
