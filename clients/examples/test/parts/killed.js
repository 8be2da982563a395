/**
 * The gateway is killed under a client while lines and tokens come; for a moment there is none, then another. Or it
 * leaves, as in a deployment. What the client has told in the end is held against what was published.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { withoutWebSocket } from '../rig/browser.js';
import { newId } from '../rig/fleet.js';
import { examples, python, start } from '../rig/processes.js';
import { sleep, until } from '../rig/until.js';
import { event, line, lines, node, token } from './events.js';

/** Publishes a line and two tokens of two agents again and again, until it is told to stop. */
class Publishing {
  count = 0;
  /** How often in one go. */
  step = 1;
  #goes = true;

  constructor(pair, id, rest) {
    this.pair = pair;
    this.id = id;
    this.rest = rest;
    this.done = this.#run();
    // Read by `end`; until then it must not end the tests.
    this.done.catch(() => {});
  }

  async #run() {
    const { pair, id, rest } = this;
    await pair.publish(event(id, 'execution:started', {}, rest), node(id, 'work', 'started'));
    while (this.#goes) {
      const numbers = Array.from({ length: this.step }, () => ++this.count);
      const events = numbers.flatMap(n => [line(id, `line ${n}`), token(id, 'ada', n), token(id, 'bob', n)]);
      await pair.publish(...events.map(each => ({ ...each, ...rest })));
      await sleep(15);
    }
  }

  /** Stops, and ends the execution; answers the lines that there were. */
  async end() {
    this.#goes = false;
    await this.done;
    await this.pair.publish(
      node(this.id, 'work', 'completed'),
      event(this.id, 'execution:completed', { result: 'done' }, this.rest),
    );
    return lines('line', 1, this.count);
  }

  /** Waits until this many more were published. */
  more(count) {
    const until_ = this.count + count;
    return until(() => this.count >= until_, `${count} more lines`);
  }
}

/** How a gateway goes. */
const goes = {
  killed: (pair, publishing) => pair.killFirst(() => publishing.more(20)),
  // More than a gateway holds in memory: what comes then is read from the broker.
  'killed, much missed': (pair, publishing) =>
    pair.killFirst(async () => {
      publishing.step = 200;
      await publishing.more(1000);
      publishing.step = 1;
    }),
  // Also before a client has come back from the time before.
  'killed six times': pair => pair.killMany(6, () => sleep(Math.random() * 2500)),
  drained: pair => pair.drainFirst(),
};

/** Takes the gateway away that the client is on, in the middle; answers what `follow` gives. */
async function under({ fleet, ends, how }, follow, rest) {
  const pair = ends(await fleet.pair(), it => it.stop());
  const id = newId();
  const client = await follow(pair, id);
  const publishing = new Publishing(pair, id, rest);
  await client.logged(10);
  const passed = pair.relay.passed;
  await goes[how](pair, publishing);
  await until(() => pair.relay.passed > passed, 'the client to come back');
  await client.logged(publishing.count + 1);
  return { pair, id, client, expected: await publishing.end() };
}

function shownOf(shown) {
  return {
    shown,
    logged: count => shown.until(now => lastOf(now.logs) >= count, `line ${count}`),
  };
}

const lastOf = logs => Number(/^line (\d+)$/.exec(logs.at(-1) ?? '')?.[1] ?? 0);

/** A page that must have everything, once and in order. */
async function page(rig, name, recovers, { more = {}, rest = {}, before } = {}) {
  const follow = async (pair, id) => {
    const shown = await rig.open(name, { gateway: pair.http, execution: id, ...more }, before);
    await shown.until(now => now.connection === 'connected', 'the connection');
    // Whether it follows already cannot be seen; a first line tells.
    await seen(pair, id, shown, rest);
    return shownOf(shown);
  };
  const { client, expected } = await under(rig, follow, rest);
  const last = await client.shown.until(
    now => (name === 'e-logs' ? now.logs.at(-1) === 'work' : now.result === '"done"'),
    'the end',
  );
  const told = last.logs.filter(message => /^line /.test(message));
  assert.deepEqual(told, expected);
  if (recovers) assert.equal(last.connection, 'recovered');
  return { last, expected };
}

/** Publishes until the client shows it: from then on it follows. */
async function seen(pair, id, shown, rest) {
  const look = async () => {
    await pair.publish(line(id, 'hello', rest));
    await sleep(50);
    return (await shown.now()).logs.length > 0;
  };
  await until(look, 'the page to follow');
}

async function agents(rig, user, before) {
  const rest = user ? { userId: `user-${newId()}` } : {};
  const more = user ? { user: rest.userId } : {};
  const { last, expected } = await page(rig, 'd-react', true, { more, rest, before });
  const text = expected.map((_, n) => `${n + 1} `).join('');
  assert.deepEqual(last.agents, { ada: text, bob: text });
}

/**
 * Clients that say nothing of where they were: they get the present state, and what happens from then on. Lines from in
 * between are missing, none comes twice or out of order.
 */
async function forgetful(rig, follow) {
  const pair = rig.ends(await rig.fleet.pair(), it => it.stop());
  const id = newId();
  await pair.publish(event(id, 'execution:started'), event(id, 'execution:progress', { progress: 10 }));
  const client = await follow(pair, id);
  await client.state(10);
  await pair.publish(...lines('line', 1, 20).map(message => line(id, message)));
  await client.logged(20);
  await pair.killFirst(async () => {
    await pair.publish(...lines('line', 21, 40).map(message => line(id, message)));
    await pair.publish(event(id, 'execution:progress', { progress: 60 }), node(id, 'work', 'started'));
  });
  await client.state(60);
  await pair.publish(...lines('line', 41, 60).map(message => line(id, message)));
  await pair.publish(node(id, 'work', 'completed'), event(id, 'execution:completed', { result: 'done' }));
  await client.end([...lines('line', 1, 20), ...lines('line', 41, 60)]);
}

const forgetfulPage = (rig, name, more) =>
  forgetful(rig, async (pair, id) => {
    const shown = await rig.open(name, { gateway: pair.http, execution: id, ...more });
    if (name === 'b-page') await shown.page.click('text=Subscribe');
    return {
      ...shownOf(shown),
      state: progress => shown.until(now => now.progress === `${progress}%`, `${progress}%`),
      async end(expected) {
        const last = await shown.until(now => now.status === 'completed' && now.result === '"done"', 'the end');
        assert.deepEqual(last.logs, expected);
        assert.deepEqual(last.nodes, ['work completed']);
      },
    };
  });

const logsOf = child => child.lines.filter(told => told.startsWith('log line ')).map(told => told.slice(4));

/** A script as a client. */
function scriptOf(rig, program, args, follows) {
  return async (pair, id) => {
    const child = rig.ends(start(program, [...args, id, '--gateway', pair.http]), it => it.kill());
    await child.told(line => line === follows, `"${follows}"`);
    return {
      child,
      logged: count => child.told(line => lastOf([line.slice(4)]) >= count, `line ${count}`),
      state: progress => child.told(line => line === `status running ${progress / 100}`, `${progress}%`),
      async end(expected) {
        assert.equal(await child.ended, 0, child.said);
        assert.deepEqual(logsOf(child), expected);
      },
    };
  };
}

async function script(rig, program, args, follows, last) {
  const { client, expected } = await under(rig, scriptOf(rig, program, args, follows));
  await client.end(expected);
  assert.equal(client.child.lines.at(-1), last);
}

/** Recovery is for clients that can bear another argument: Python's come back, and get the state. */
async function pythonSocketIo(rig, ...more) {
  const pair = rig.ends(await rig.fleet.pair(), it => it.stop());
  const id = newId();
  await pair.publish(event(id, 'execution:started'));
  const args = [join(examples, 'd-python/follow.py'), ...more];
  const client = await scriptOf(rig, python(), args, 'snapshot running')(pair, id);
  const follows = () => client.child.lines.filter(told => told === 'snapshot running').length;
  await pair.publish(...lines('line', 1, 20).map(message => line(id, message)));
  await client.logged(20);
  await pair.killFirst(() => pair.publish(...lines('line', 21, 40).map(message => line(id, message))));
  await until(
    () => follows() === 2,
    () => `the state again; it said ${client.child.lines.slice(-5)}`,
  );
  await pair.publish(...lines('line', 41, 60).map(message => line(id, message)));
  await pair.publish(event(id, 'execution:completed', { result: 'done' }));
  await client.end([...lines('line', 1, 20), ...lines('line', 41, 60)]);
}

/** The executor's own demo, started from the page, with the gateway killed in the middle. */
async function demo({ fleet, open, ends }) {
  const pair = ends(await fleet.pair(), it => it.stop());
  const id = newId();
  const viewer = await open('e-logs', { gateway: pair.http, execution: id });
  await viewer.until(now => now.connection === 'connected', 'the connection');
  await viewer.page.click('text=Start');
  await viewer.until(now => now.logs.length >= 5, 'some entries');
  await pair.killFirst(() => sleep(300));
  await until(async () => (await pair.read(`/api/executions/${id}`)).status === 'completed', `${id} to end`);
  const entries = (await pair.read(`/api/executions/${id}/events?limit=1000`)).events.filter(({ type }) =>
    ['log', 'node:completed', 'node:failed'].includes(type),
  );
  assert.ok(entries.length >= 61, `${entries.length} entries are too few for this test`);
  const last = await viewer.until(now => now.logs.length >= entries.length, `${entries.length} entries`);
  assert.deepEqual(
    last.logs,
    entries.map(({ type, nodeId, data }) => (type === 'log' ? data.message : nodeId)),
  );
  await viewer.page.click('text=Start');
  await viewer.until(now => now.error === '409', 'a refusal, since it exists');
}

const cScript = join(examples, 'c-python/follow.py');

const nodeScript = join(examples, 'b-node/follow.js');

/** Clients that must have everything, however the gateway went. */
const whole = [
  ['a-vue', 'recovered', rig => page(rig, 'a-vue', true)],
  ['d-react', 'recovered', rig => agents(rig, false)],
  ['d-react', 'recovered, of two channels', rig => agents(rig, true)],
  ['a-vue, polling', 'recovered', rig => page(rig, 'a-vue', true, { before: withoutWebSocket })],
  ['d-react, polling', 'recovered', rig => agents(rig, true, withoutWebSocket)],
  ['e-logs', 'each entry once', rig => page(rig, 'e-logs', false)],
  ['f-events', 'each event once', rig => page(rig, 'f-events', false)],
  // A connection that is open follows a moment later; from the start, so that it does not matter when.
  ['c-python', 'resumed', rig => script(rig, python(), [cScript, '--from-start'], 'connected', 'completion "done"')],
  ['b-node', 'resumed', rig => script(rig, process.execPath, [nodeScript], 'subscribed live', 'execution:completed')],
];
const every = how => whole.map(([name, what, run]) => [`${name}: ${how}, ${what}`, rig => run({ ...rig, how })]);

export const killed = [
  ...every('killed'),
  ['e-logs: killed while the executor runs its demo', demo],
  ['b-page: killed, the state again', rig => forgetfulPage(rig, 'b-page', { snapshot: '1' })],
  ['c-react: killed, the state again', rig => forgetfulPage(rig, 'c-react')],
  [
    'c-python: killed, the state again',
    rig => forgetful(rig, scriptOf(rig, python(), [cScript, '--forgetful'], 'connected')),
  ],
  ['d-python: killed, the state again', rig => pythonSocketIo(rig)],
  ['d-python, polling: killed, the state again', rig => pythonSocketIo(rig, '--polling')],
];

/** What takes longer. */
export const killedMore = [...every('killed, much missed'), ...every('killed six times'), ...every('drained')];
