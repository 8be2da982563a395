/** Socket.IO of a real gateway, by the client as it is: all that is said and told in both namespaces, held against asyncapi.yaml. */
import { io } from 'socket.io-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postTo, startExecutor, startGateway, until } from './rig.js';
import { flaws, read } from './specs.js';

const { channels, components } = read('asyncapi.yaml');
/** Messages that no test provokes, and why. */
const notProvoked = new Map([
  ['socketDegraded', 'needs a broker that goes away; the in-process bus cannot'],
  ['socketGap', 'needs a broker that loses what it had; a session that missed too much is told so by `recovered`'],
]);
const families = ['execution', 'node', 'agent', 'user_input', 'kb'];
const ACKS = new Set(['socketSubscribed', 'socketDone']);
const seen = new Map([
  ['socketio', new Set()],
  ['socketioExecutions', new Set()],
]);
const failures = [];

let gateway;
let executor;
const clients = [];

beforeAll(async () => {
  gateway = await startGateway({ WEFT_RETENTION_EVENTS: '40' });
  executor = await startExecutor(gateway);
});

afterAll(async () => {
  for (const { socket } of clients) socket.close();
  await executor?.stop();
  await gateway?.stop();
});

/** The messages of a channel that a client says, or is told, by name. */
function named(channel, isSaid) {
  const said = new Set(
    Object.values(read('asyncapi.yaml').operations)
      .filter(operation => operation.action === 'receive' && operation.channel.$ref.endsWith(`/${channel}`))
      .flatMap(({ messages }) => messages.map(({ $ref }) => $ref.split('/').at(-1))),
  );
  const keys = Object.keys(channels[channel].messages).filter(key => !ACKS.has(key) && said.has(key) === isSaid);
  return new Map(keys.map(key => [components.messages[key].name, key]));
}

function check(channel, key, value) {
  const wrong = flaws('asyncapi.yaml', `/components/messages/${key}/payload`, value);
  if (wrong) failures.push(wrong);
  seen.get(channel).add(key);
}

/** A client of a namespace that checks all it says and is told. */
class Client {
  constructor(namespace, channel, options = {}) {
    Object.assign(this, { channel, told: [] });
    this.socket = io(`${gateway.url}${namespace}`, { forceNew: true, ...options });
    const known = named(channel, false);
    this.socket.onAny((name, payload, ...further) => {
      const isOther = name.includes(':') && !families.includes(name.split(':')[0]);
      const key = known.get(name) ?? (channel === 'socketio' && isOther ? 'eventOther' : undefined);
      if (key) check(channel, key, payload);
      else failures.push(`${channel} has no message ${name}: ${JSON.stringify(payload)}`);
      // The offset, for the client's library.
      if (further.length > 1 || further.some(one => typeof one !== 'string')) failures.push(`${name}: ${further}`);
      this.told.push({ name, payload });
    });
    clients.push(this);
  }

  /** Says something that the document has, and answers its acknowledgement. */
  async say(name, payload) {
    const key = named(this.channel, true).get(name);
    expect(flaws('asyncapi.yaml', `/components/messages/${key}/payload`, payload)).toBe('');
    seen.get(this.channel).add(key);
    const answer = await this.socket.timeout(20_000).emitWithAck(name, payload);
    check(this.channel, name === 'subscribe' ? 'socketSubscribed' : 'socketDone', answer);
    return answer;
  }

  hears(name, holds = () => true) {
    return until(
      () => `${name}, told ${JSON.stringify(this.told.slice(-5))}`,
      () => this.told.find(one => one.name === name && holds(one.payload))?.payload,
    );
  }
}

const main = options => new Client('/', 'socketio', options);
const executions = options => new Client('/executions', 'socketioExecutions', options);

const post = (path, body) => postTo(gateway.url + path, body);

const examples = Object.entries(components.messages)
  .filter(([key]) => key.startsWith('event'))
  .flatMap(([, { examples = [] }]) => examples.map(({ payload }) => payload));

describe('namespace /', () => {
  it('carries a workflow, its prompt and its end; acknowledges what is said, and refuses what is wrong', async () => {
    const client = main();
    expect(await client.say('subscribe', { executionId: 'run' })).toMatchObject({ ok: true, outcome: 'live' });
    await post('/api/workflows/approval/execute', { executionId: 'run', userId: 'ada' });
    const { data } = await client.hears('user_input:required');
    const wrong = { executionId: 'run', requestId: data.requestId, value: 'perhaps' };
    expect(await client.say('user_input:provide', wrong)).toMatchObject({ ok: false });
    expect(await client.say('user_input:provide', { ...wrong, value: true })).toEqual({ ok: true });
    await client.hears('execution:completed');
    expect(await client.say('cancel', { executionId: 'run', reason: 'late' })).toMatchObject({ ok: false });
    expect(await client.say('unsubscribe', 'execution:run')).toEqual({ ok: true });
    // Late, it gets the state first.
    expect(await client.say('subscribe', 'execution:run')).toMatchObject({ ok: true });
    expect((await client.hears('snapshot')).snapshot.status).toBe('completed');
    // Without an acknowledgement a refusal comes as an event.
    client.socket.emit('subscribe', 'nowhere');
    expect(await client.hears('error')).toMatchObject({ code: 'invalid' });
    expect(await client.socket.timeout(20_000).emitWithAck('shout', {})).toMatchObject({ code: 'unknown_type' });
  });

  it('carries every documented event as it was published', async () => {
    const client = main();
    for (const room of ['execution:exec-1', 'execution:exec-2', 'execution:exec-3', 'kb:manual'])
      expect(await client.say('subscribe', room)).toMatchObject({ ok: true });
    for (const payload of examples) await post('/api/events', payload);
    for (const payload of examples)
      expect(await client.hears(payload.type, told => told.executionId === payload.executionId)).toMatchObject(payload);
    expect(examples.length).toBeGreaterThan(20);
  });

  it('takes what a client may say by the examples', async () => {
    const client = main();
    let said = 0;
    for (const [name, key] of named('socketio', true))
      for (const { payload } of components.messages[key].examples) {
        const answer = await client.say(name, payload);
        // Nobody runs what the examples name.
        if (!answer.ok) expect(answer.code).toBe('no_executor');
        said++;
      }
    expect(said).toBeGreaterThan(6);
  });
});

describe('namespace /executions', () => {
  it('tells states, nodes, logs and results, and an error where there is none', async () => {
    const client = executions();
    expect(await client.say('subscribe', 'other')).toMatchObject({ ok: true });
    await post('/api/workflows/approval/execute', { executionId: 'other' });
    const asked = async () => (await (await fetch(`${gateway.url}/api/executions/other`)).json()).pendingInput?.[0];
    const { requestId } = await until('the prompt', asked);
    const answer = { executionId: 'other', requestId, value: true };
    expect(await main().say('user_input:provide', answer)).toEqual({ ok: true });
    await client.hears('status', ({ status }) => status === 'running');
    await client.hears('nodeStatus', ({ status }) => status === 'completed');
    await client.hears('log');
    await client.hears('result');
    await client.hears('status', ({ status }) => status === 'completed');
    // One that has ended before tells its state in the same words.
    const late = executions();
    await late.say('subscribe', 'other');
    await late.hears('result');
    await post('/api/events', [
      { type: 'execution:started', executionId: 'broken' },
      { type: 'execution:failed', executionId: 'broken', data: { error: 'no disk' } },
    ]);
    await late.say('subscribe', 'broken');
    expect(await late.hears('error')).toEqual({ executionId: 'broken', error: 'no disk' });
    late.socket.emit('subscribe', 'not an id');
    await late.hears('error', ({ executionId }) => executionId === null || executionId === 'not an id');
    expect(await late.say('unsubscribe', 'broken')).toEqual({ ok: true });
  });
});

it('was told nothing that the document does not have', () => expect(failures).toEqual([]));

it.each(['socketio', 'socketioExecutions'])('%s: has seen every message but those listed', channel => {
  const unseen = Object.keys(channels[channel].messages).filter(key => !seen.get(channel).has(key));
  expect(unseen.sort()).toEqual(channel === 'socketio' ? [...notProvoked.keys()].sort() : []);
});
