/**
 * The requests of one session come to both gateways in turn, as behind a load balancer without affinity: they reach the
 * gateway that holds the session all the same, and so does the WebSocket that takes over from polling.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { Balancer } from '../rig/balancer.js';
import { withoutWebSocket } from '../rig/browser.js';
import { newId } from '../rig/fleet.js';
import { examples, python, start } from '../rig/processes.js';
import { event, line, lines } from './events.js';

async function apart({ pair, ends }) {
  const ports = pair.gateways.map(({ port }) => port);
  const balancer = ends(await Balancer.start(ports), it => it.stop());
  const id = newId();
  await pair.publish(event(id, 'execution:started'));
  return {
    id,
    http: balancer.http,
    /** Publishes one by one, so that a client that polls does so often. */
    async publish() {
      const expected = lines('line', 1, 100);
      for (const message of expected) await pair.publish(line(id, message));
      await pair.publish(event(id, 'execution:completed', { result: 'done' }));
      return expected;
    },
    check() {
      const reached = ports.map(port => balancer.passedTo.get(port) ?? 0);
      assert.ok(Math.min(...reached) > 1, `requests to each gateway: ${reached}`);
      assert.deepEqual(balancer.refused, []);
    },
  };
}

async function page(rig, name, before) {
  const { id, http, publish, check } = await apart(rig);
  const shown = await rig.open(name, { gateway: http, execution: id }, before);
  await shown.until(now => now.status === 'running', 'the state');
  const expected = await publish();
  const last = await shown.until(now => now.result === '"done"', 'the end');
  assert.deepEqual(last.logs, expected);
  assert.equal(last.connection, 'connected', 'the connection was never lost');
  check();
}

async function script(rig) {
  const { id, http, publish, check } = await apart(rig);
  const args = [join(examples, 'd-python/follow.py'), '--polling', id, '--gateway', http];
  const child = rig.ends(start(python(), args), it => it.kill());
  await child.told(told => told === 'snapshot running', 'the state');
  const expected = await publish();
  assert.equal(await child.ended, 0, child.said);
  assert.ok(!child.lines.includes('lost'), child.lines.join('\n'));
  const logs = child.lines.filter(told => told.startsWith('log ')).map(told => told.slice(4));
  assert.deepEqual(logs, expected);
  check();
}

export const withoutAffinity = [
  ['a-vue: without affinity', rig => page(rig, 'a-vue')],
  ['a-vue, polling: without affinity', rig => page(rig, 'a-vue', withoutWebSocket)],
  ['d-react: without affinity', rig => page(rig, 'd-react')],
  ['d-react, polling: without affinity', rig => page(rig, 'd-react', withoutWebSocket)],
  ['d-python, polling: without affinity', script],
];
