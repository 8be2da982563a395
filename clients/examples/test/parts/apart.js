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
import { until } from '../rig/until.js';
import { event, line, lines } from './events.js';

const polling = '/socket.io/?EIO=4&transport=polling';

/** Opens a session as a client does; answers its id. */
async function sessionAt({ http }) {
  const greeting = await (await fetch(http + polling)).text();
  return JSON.parse(greeting.slice(1)).sid;
}

/** Says CONNECT in a session; answers what the gateway said to that. */
async function connectAt({ http }, sid) {
  const response = await fetch(`${http}${polling}&sid=${sid}`, { method: 'POST', body: '40' });
  return `${response.status} ${await response.text()}`;
}

/** The gateways have not heard of each other when the first sessions come, and none of those may suffer from it. */
async function manyAtOnce({ fleet, ends }) {
  const pair = ends(await fleet.pair(), it => it.stop());
  const [holding, passing] = pair.gateways;
  const sids = await Promise.all(Array.from({ length: 50 }, () => sessionAt(holding)));
  const answers = await Promise.all(sids.map(sid => connectAt(passing, sid)));
  const counts = {};
  for (const answer of answers) counts[answer] = (counts[answer] ?? 0) + 1;
  assert.deepEqual(counts, { '200 ok': sids.length });
}

/** Has both gateways know each other: what is so in the first moment is for `manyAtOnce`. */
async function acquaint([first, second]) {
  for (const [holding, passing] of [
    [first, second],
    [second, first],
  ]) {
    const known = async () => (await connectAt(passing, await sessionAt(holding))) === '200 ok';
    await until(known, 'the gateways to know each other');
  }
}

async function apart({ pair, ends }) {
  await acquaint(pair.gateways);
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
  ['without affinity: many at once, at gateways that have just begun', manyAtOnce],
];
