/** WebSockets of a real gateway: every message that comes is looked up in asyncapi.yaml by its name and held against it. */
import { decode, encode } from '@msgpack/msgpack';
import { afterAll, beforeAll, expect, it } from 'vitest';
import WebSocket from 'ws';
import { postTo, startExecutor, startGateway, until } from './rig.js';
import { flaws, read } from './specs.js';

const { channels, components } = read('asyncapi.yaml');
const keys = channel => Object.keys(channels[channel].messages);
/** The key of a channel's message by what it is called on the wire. */
const byName = channel => new Map(keys(channel).map(key => [components.messages[key].name, key]));

/** Messages that no test provokes, and why. */
const notProvoked = new Map([['degraded', 'needs a broker that goes away; the in-process bus cannot']]);
/** The keys of what was said and told, by channel. */
const seen = new Map(Object.keys(channels).map(channel => [channel, new Set()]));

let gateway;
let executor;
const open = new Set();

beforeAll(async () => {
  gateway = await startGateway({ WEFT_RETENTION_EVENTS: '40' });
  executor = await startExecutor(gateway);
});

afterAll(async () => {
  for (const socket of open) socket.terminate();
  await executor?.stop();
  await gateway?.stop();
});

/** Of these every type is documented; others are carried as they are. */
const families = ['execution', 'node', 'agent', 'user_input', 'kb'];
const failures = [];

/** Holds what was told against the document. */
function check(channel, name, value) {
  const named = byName(channel);
  const isOther = name.includes(':') && !families.includes(name.split(':')[0]);
  const key = named.get(name) ?? (isOther ? 'eventOther' : undefined);
  if (!key) return failures.push(`${channel} has no message ${name}: ${JSON.stringify(value)}`);
  const wrong = flaws('asyncapi.yaml', `/components/messages/${key}/payload`, value);
  if (wrong) failures.push(wrong);
  seen.get(channel).add(key);
}

/** A client that checks all it is told. */
class Client {
  constructor(socket, channel, binary) {
    Object.assign(this, { socket, channel, binary, told: [], closed: undefined });
    open.add(socket);
    socket.on('message', data => {
      const objects = binary ? [decode(data)] : `${data}`.split('\n').map(line => JSON.parse(line));
      for (const object of objects) {
        check(channel, channel === 'logs' ? 'entry' : object.type, object);
        this.told.push(object);
      }
    });
    socket.on('close', code => {
      this.closed = code;
    });
  }

  static async open(path, channel, protocol) {
    const socket = new WebSocket(gateway.url.replace('http:', 'ws:') + path, protocol ? [protocol] : []);
    const client = new Client(socket, channel, protocol?.endsWith('msgpack'));
    await new Promise((resolve, reject) => {
      socket.on('open', resolve);
      socket.on('error', reject);
    });
    return client;
  }

  say(message) {
    if (typeof message === 'string') return this.socket.send(message);
    const key = byName('native').get(message.type);
    expect(flaws('asyncapi.yaml', `/components/messages/${key}/payload`, message)).toBe('');
    seen.get('native').add(key);
    this.socket.send(this.binary ? encode(message) : JSON.stringify(message));
  }

  /** Waits until such a message has been told. */
  hears(what, holds) {
    return until(
      () => `${what}, told ${JSON.stringify(this.told.slice(-5))}`,
      () => this.told.find(holds),
    );
  }

  type(type) {
    return this.hears(type, message => message.type === type);
  }

  answer(ref) {
    return this.hears(`the answer ${ref}`, message => message.ref === ref);
  }
}

const post = (path, body) => postTo(gateway.url + path, body);

/** The examples of all events that the document has. */
const examples = Object.entries(components.messages)
  .filter(([key]) => key.startsWith('event'))
  .flatMap(([key, message]) => message.examples.map(({ payload }) => [key, payload]));

it.each(['weft.v1.json', 'weft.v1.msgpack'])('carries a workflow, %s', async protocol => {
  const id = `run-${protocol}`;
  const client = await Client.open('/api/ws', 'native', protocol);
  await client.type('connected');
  client.say({ type: 'subscribe', executionId: id, snapshot: true, ref: 's' });
  expect((await client.answer('s')).type).toBe('subscribed');
  await post('/api/workflows/approval/execute', { executionId: id, userId: 'ada' });
  const { data } = await client.type('user_input:required');
  client.say({ type: 'user_input:provide', executionId: id, requestId: data.requestId, value: 'perhaps', ref: 'no' });
  expect((await client.answer('no')).type).toBe('error');
  client.say({ type: 'user_input:provide', executionId: id, requestId: data.requestId, value: true, ref: 'yes' });
  expect((await client.answer('yes')).type).toBe('ack');
  await client.type('user_input:provided');
  await client.type('execution:completed');
  client.say({ type: 'ping', ref: 'p' });
  expect((await client.answer('p')).type).toBe('pong');
  client.say({ type: 'unsubscribe', executionId: id, ref: 'u' });
  expect((await client.answer('u')).type).toBe('unsubscribed');
  client.socket.close();
});

it('carries what executors of today tell of agents, and ends them', async () => {
  const client = await Client.open('/api/ws', 'native');
  client.say({ type: 'subscribe', executionId: 'demo', batch: true, conflate: true, ref: 's' });
  await client.answer('s');
  await post('/executions/demo/start-streaming', {});
  await client.type('agent:token');
  client.say({ type: 'cancel', executionId: 'demo', reason: 'enough', ref: 'c' });
  expect((await client.answer('c')).type).toBe('ack');
  await client.type('execution:cancelled');
  client.socket.close();
});

it('carries every documented event, as published and one field more', async () => {
  const client = await Client.open('/api/ws', 'native');
  const rooms = [
    'execution:exec-1',
    'execution:exec-2',
    'execution:exec-3',
    'kb:manual',
    'user:ada',
    'agent:writer:exec-1',
  ];
  client.say({ type: 'subscribe', rooms: rooms.map(room => ({ room, offset: '0' })), ref: 's' });
  await until('all answers', () => client.told.filter(({ type }) => type === 'subscribed').length === rooms.length);
  for (const [, payload] of examples) await post('/api/events', payload);
  for (const [key, payload] of examples) {
    const { type, executionId } = payload;
    const told = await client.hears(key, one => one.type === type && one.executionId === executionId);
    expect(told, key).toMatchObject(payload);
    expect(Object.keys(told).at(-1)).toBe('offset');
  }
  // Copies in the rooms of the user and the agent are left out.
  const tokens = client.told.filter(({ type, executionId }) => type === 'agent:token' && executionId === 'exec-1');
  expect(tokens).toHaveLength(1);
  client.socket.close();
});

it('takes what a client may say by the examples', async () => {
  const client = await Client.open('/api/ws', 'native');
  const said = ['subscribe', 'unsubscribe', 'ping', 'auth', 'provideInput', 'cancel'];
  const payloads = said.flatMap(key => components.messages[key].examples.map(({ payload }) => payload));
  for (const [index, payload] of payloads.entries()) {
    client.say({ ...payload, ref: `${index}` });
    const answer = await client.answer(`${index}`);
    // Nobody runs what the examples name.
    if (answer.type === 'error') expect(answer.code).toBe('no_executor');
  }
  expect(payloads.length).toBeGreaterThan(8);
  for (const [bytes, code] of [
    ['{', 'malformed'],
    ['{"type":"shout"}', 'unknown_type'],
    ['{"type":"subscribe","room":"nowhere"}', 'invalid'],
    ['{"type":"subscribe","executionId":"e","offset":"x","ref":"r"}', 'invalid'],
  ]) {
    client.say(bytes);
    await client.hears(code, message => message.code === code);
  }
  client.socket.close();
});

it('begins in each of the four ways', async () => {
  const line = n => ({ type: 'log', executionId: 'ways', userId: 'ada', data: { level: 'info', message: `${n}` } });
  await post('/api/events', [line(0), line(1), line(2)]);
  const { events } = await (await fetch(`${gateway.url}/api/executions/ways/events`)).json();
  const client = await Client.open('/api/ws', 'native');
  const outcome = async (ref, message) => {
    client.say({ type: 'subscribe', executionId: 'ways', ref, ...message });
    const { outcome } = await client.answer(ref);
    client.say({ type: 'unsubscribe', executionId: 'ways' });
    return outcome;
  };
  expect(await outcome('1', {})).toBe('live');
  expect(await outcome('2', { offset: events[1].offset })).toBe('resumed');
  expect(await outcome('3', { snapshot: true })).toBe('snapshot');
  await client.type('snapshot');
  for (let n = 3; n < 60; n += 1) await post('/api/events', line(n));
  const ended = await until('the first to be gone', async () => {
    const page = await (
      await fetch(`${gateway.url}/api/executions/ways/events?after=${encodeURIComponent(events[0].offset)}`)
    ).json();
    return page.gap;
  });
  expect(ended.reason).toBe('retention');
  await until('a gap', async () => (await outcome(`${Math.random()}`, { offset: events[0].offset })) === 'gap', 45_000);
  await client.type('gap');
  // A second room with copies gives the first one a fresh offset.
  client.say({ type: 'subscribe', room: 'execution:ways', ref: 'a' });
  await client.answer('a');
  client.say({ type: 'subscribe', room: 'user:ada', ref: 'b' });
  expect((await client.answer('b')).offsets).toHaveProperty('execution:ways');
  client.socket.close();
});

it('speaks the other two dialects', async () => {
  await post('/api/workflows/approval/execute', { executionId: 'other' });
  const states = await Client.open('/api/ws/executions/other', 'states');
  const logs = await Client.open('/ws/executions/other/logs', 'logs');
  states.say('ping');
  logs.say('ping');
  await states.type('pong');
  const asked = async () => (await (await fetch(`${gateway.url}/api/executions/other`)).json()).pendingInput?.[0];
  const { requestId } = await until('the prompt', asked);
  const native = await Client.open('/api/ws', 'native');
  native.say({ type: 'user_input:provide', executionId: 'other', requestId, value: true, ref: '1' });
  await native.answer('1');
  for (const type of ['status', 'node_update', 'log', 'completion']) await states.type(type);
  await logs.hears('the last entry', entry => entry.step_name === 'apply');
  // One that failed has an error instead.
  const failed = await Client.open('/api/ws/executions/exec-2', 'states');
  await failed.type('error');
  for (const client of [states, logs, native, failed]) client.socket.close();
});

it('says goodbye', async () => {
  const clients = await Promise.all([1, 2, 3].map(() => Client.open('/api/ws', 'native')));
  await executor.stop();
  const left = gateway.stop();
  for (const client of clients) {
    await client.type('reconnect');
    await until('the close', () => client.closed);
    expect(client.closed).toBe(1012);
  }
  expect(await left).toBe(0);
});

it('was told nothing that the document does not have', () => expect(failures).toEqual([]));

it.each(['native', 'states', 'logs'])('%s: has seen every message but those listed', channel => {
  const unseen = keys(channel).filter(key => !seen.get(channel).has(key) && key !== 'pingText');
  expect(unseen.sort()).toEqual(channel === 'native' ? [...notProvoked.keys()].sort() : []);
  expect(seen.get(channel).size).toBeGreaterThan(0);
});
