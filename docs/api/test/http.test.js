/** Every operation of openapi.yaml asked of a real gateway, every answer held against what is documented. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Caller } from './caller.js';
import { startExecutor, startGateway, until } from './rig.js';
import { flaws, operations } from './specs.js';

const caller = new Caller('openapi.yaml');
const json = { 'content-type': 'application/json' };
const large = 'x'.repeat(1024 * 1024 + 1);

/** What no test provokes, and why. */
const AWAY = 'needs a bus that is away, or a broker that refuses';
const STORES_NOTHING = 'needs a bus that stores nothing';
const notProvoked = new Map([
  ...[
    'listExecutions',
    'readExecution',
    'readExecutionEvents',
    'readRoomEvents',
    'listWorkflows',
    'listGateways',
  ].flatMap(id => [
    [`${id} 409`, STORES_NOTHING],
    [`${id} 500`, AWAY],
    [`${id} 503`, AWAY],
  ]),
  ...[
    'publishEvents',
    'cancelExecution',
    'provideInput',
    'runWorkflow',
    'executeWorkflow',
    'startStreaming',
    'registerExecutor',
  ].map(id => [`${id} 500`, AWAY]),
  ['registerExecutor 503', 'needs a thousand executors'],
  ['takeCommands 503', 'needs a thousand executors'],
  ['postSocketIo 408', 'takes 30 s'],
]);

let gateway;
let executor;
/** A gateway whose only executor is this test. */
let ours;
let answers;

/** Answers the next command as told. */
function playExecutor(base) {
  const waiting = [];
  let [buffer, stop] = ['', new AbortController()];
  const read = async () => {
    const response = await fetch(`${base}/api/commands?executor=worker-1`, { signal: stop.signal });
    for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
      const blocks = (buffer + piece).split('\n\n');
      buffer = blocks.pop();
      for (const block of blocks) {
        const data = block.split('\n').find(line => line.startsWith('data: '));
        if (data) waiting.shift()?.(JSON.parse(data.slice(6)));
      }
    }
  };
  const reading = read().catch(error => error.name === 'AbortError' || Promise.reject(error));
  return {
    next: () => new Promise(resolve => waiting.push(resolve)),
    async end() {
      stop.abort();
      await reading;
    },
  };
}

beforeAll(async () => {
  [gateway, ours] = await Promise.all([
    startGateway(),
    startGateway({ WEFT_COMMAND_TIMEOUT_MS: '800', WEFT_RETENTION_EVENTS: '5', WEFT_DRAIN_SECS: '4' }),
  ]);
  executor = await startExecutor(gateway);
});

afterAll(async () => {
  await answers?.end();
  await Promise.all([executor, gateway, ours].map(process => process?.stop()));
});

const publish = (status, body, base = gateway.url) => caller.call(base, 'publishEvents', status, { body });
const log = (executionId, more = {}) => ({
  type: 'log',
  executionId,
  data: { level: 'info', message: 'hello' },
  ...more,
});

describe('events', () => {
  it('takes the documented examples', async () => {
    const { requestBody } = caller.operation('publishEvents');
    const examples = Object.values(requestBody.content).flatMap(({ examples }) => Object.values(examples));
    for (const { value } of examples) await publish(202, value);
    expect(examples.length).toBe(3);
  });

  it('refuses what is no event, and says where', async () => {
    expect((await publish(400, '{')).error.code).toBe('malformed');
    expect((await publish(400, [log('e'), log('not an id')])).error).toMatchObject({ field: 'executionId', index: 1 });
    expect((await publish(413, log('e', { data: { message: large } }))).error.code).toBe('too_large');
  });

  it('tells each event of a body that is stored in part', async () => {
    await publish(202, log('owned', { userId: 'ada' }));
    expect((await publish(409, log('owned', { userId: 'eve' }))).error.code).toBe('owner_mismatch');
    const partial = await publish(409, [log('owned', { userId: 'ada' }), log('owned', { userId: 'eve' })]);
    expect(partial.results.map(result => Object.keys(result)[0])).toEqual(['id', 'error']);
  });
});

describe('executions', () => {
  it('lists them, page by page', async () => {
    await publish(202, [log('list-1'), log('list-2'), log('list-3')]);
    const first = await caller.call(gateway.url, 'listExecutions', 200, { query: { limit: 2, status: 'pending' } });
    expect(first.executions).toHaveLength(2);
    const second = await caller.call(gateway.url, 'listExecutions', 200, { query: { limit: 2, cursor: first.cursor } });
    expect(second.executions[0].executionId).not.toBe(first.executions[1].executionId);
    for (const query of [{ limit: 0 }, { limit: 201 }, { cursor: 'x' }, { status: 'asleep' }])
      await caller.call(gateway.url, 'listExecutions', 400, { query });
  });

  it('folds one', async () => {
    await publish(202, { type: 'execution:started', executionId: 'state', workflowId: 'w', userId: 'ada', data: {} });
    await publish(202, { type: 'node:failed', executionId: 'state', nodeId: 'n', data: { error: { code: 1 } } });
    const state = await caller.call(gateway.url, 'readExecution', 200, { params: { id: 'state' } });
    expect(state).toMatchObject({
      status: 'running',
      userId: 'ada',
      nodes: { n: { status: 'failed', error: { code: 1 } } },
    });
    await caller.call(gateway.url, 'readExecution', 404, { params: { id: 'nobody' } });
    await caller.call(gateway.url, 'readExecution', 400, { params: { id: 'not an id' } });
  });

  it.each([
    ['readExecutionEvents', { id: 'paged' }],
    ['readRoomEvents', { room: 'execution:paged' }],
  ])('%s gives pages and streams', async (id, params) => {
    await publish(
      202,
      [1, 2, 3].map(n => log('paged', { data: { level: 'info', message: `${n}` } })),
      ours.url,
    );
    const first = await caller.call(ours.url, id, 200, { params, query: { limit: 2 } });
    expect(first.complete).toBe(false);
    const rest = await caller.call(ours.url, id, 200, { params, query: { after: first.next } });
    expect(rest.complete).toBe(true);
    await caller.call(ours.url, id, 400, { params, query: { limit: 1001 } });
    await caller.call(ours.url, id, 400, { params, query: { after: 'x' } });
    await caller.call(ours.url, id, 410, { params, query: { after: 'abc.1.00000001' } });
    // More than the retention of five: the first offset lies before what is held.
    await publish(
      202,
      [4, 5, 6, 7, 8, 9, 10].map(n => log('paged', { data: { level: 'info', message: `${n}` } })),
      ours.url,
    );
    const gap = await until('retention to take the first', async () => {
      const page = await caller.call(ours.url, id, 200, { params, query: { after: first.events[0].offset } });
      return page.gap && page;
    });
    expect(gap.gap.reason).toBe('retention');
    const headers = { accept: 'text/event-stream', 'last-event-id': '0' };
    const stream = await caller.call(ours.url, id, 200, {
      params,
      headers,
      until: text => text.includes('"message":"10"') && text.includes('event: snapshot'),
    });
    const told = [...stream.matchAll(/^event: (.+)\ndata: (.+)$/gm)].map(([, name, data]) => [name, JSON.parse(data)]);
    expect(new Set(told.map(([name]) => name))).toEqual(new Set(['gap', 'snapshot', 'log']));
    for (const [name, value] of told) {
      const message = { gap: 'gap', snapshot: 'snapshot', log: 'eventLog' }[name];
      expect(flaws('asyncapi.yaml', `/components/messages/${message}/payload`, value)).toBe('');
    }
  });

  it('does not know the events of an execution that is none', async () => {
    await caller.call(gateway.url, 'readExecutionEvents', 404, { params: { id: 'nobody' } });
    await caller.call(gateway.url, 'readRoomEvents', 404, { params: { room: 'execution:nobody' } });
    await caller.call(gateway.url, 'readRoomEvents', 200, { params: { room: 'user:nobody' } });
  });
});

describe('workflows', () => {
  it('runs and ends them', async () => {
    const { workflows } = await caller.call(gateway.url, 'listWorkflows', 200);
    expect(workflows.map(({ name }) => name)).toContain('approval');
    const body = { executionId: 'approval-1', userId: 'ada' };
    await caller.call(gateway.url, 'executeWorkflow', 202, { params: { name: 'approval' }, body });
    await caller.call(gateway.url, 'executeWorkflow', 409, { params: { name: 'approval' }, body });
    await caller.call(gateway.url, 'executeWorkflow', 400, { params: { name: 'approval' }, body: { input: 1 } });
    await caller.call(gateway.url, 'executeWorkflow', 413, { params: { name: 'approval' }, body: large });
    await caller.call(gateway.url, 'executeWorkflow', 503, { params: { name: 'none' } });
    const params = { id: 'approval-1' };
    const provide = (status, body) => caller.call(gateway.url, 'provideInput', status, { params, body });
    expect((await provide(400, { requestId: 1, value: true })).error.field).toBe('requestId');
    expect((await provide(400, { requestId: 'q' })).error.field).toBe('value');
    await provide(413, large);
    await provide(404, { requestId: 'none', value: true });
    await caller.call(gateway.url, 'cancelExecution', 400, { params, body: '[' });
    await caller.call(gateway.url, 'cancelExecution', 413, { params, body: large });
    await caller.call(gateway.url, 'cancelExecution', 202, { params, body: { reason: 'enough' } });
    await until('the end', async () => (await caller.call(gateway.url, 'readExecution', 200, { params })).endedAt);
    await caller.call(gateway.url, 'cancelExecution', 409, { params });
    await caller.call(gateway.url, 'cancelExecution', 503, { params: { id: 'nobody' } });
  });

  it('runs what a request brings along, but no commands', async () => {
    const { example } = caller.operation('runWorkflow').requestBody.content['application/json'];
    const { executionId } = await caller.call(gateway.url, 'runWorkflow', 202, { body: example });
    await caller.call(gateway.url, 'runWorkflow', 409, { body: { executionId, steps: example.nodes } });
    const refused = await caller.call(gateway.url, 'runWorkflow', 400, {
      body: { nodes: [{ id: 'x', command: 'true' }] },
    });
    expect(refused.error.message).toContain('commands come only from files');
    await caller.call(gateway.url, 'runWorkflow', 413, { body: large });
  });

  it('runs the demo under an id', async () => {
    const params = { execution_id: 'demo-1' };
    await caller.call(gateway.url, 'startStreaming', 202, { params });
    await caller.call(gateway.url, 'startStreaming', 409, { params });
    await caller.call(gateway.url, 'startStreaming', 400, { params: { execution_id: 'not an id' } });
    await caller.call(gateway.url, 'cancelExecution', 202, { params: { id: 'demo-1' } });
  });
});

describe('executors', () => {
  const asked = [
    ['executeWorkflow', { params: { name: 'mine' }, body: {} }],
    ['runWorkflow', { body: { nodes: [{ id: 'x' }] } }],
    ['startStreaming', { params: { execution_id: 'one' } }],
    ['cancelExecution', { params: { id: 'exec-9' } }],
    ['provideInput', { params: { id: 'exec-9' }, body: { requestId: 'ask-1', value: null } }],
  ];

  it('are missing at first', async () => {
    for (const [id, options] of asked)
      expect((await caller.call(ours.url, id, 503, options)).error.code).toBe('no_executor');
  });

  it('register', async () => {
    const params = { executor: 'worker-1' };
    const { example } = caller.operation('registerExecutor').requestBody.content['application/json'];
    await caller.call(ours.url, 'registerExecutor', 204, { params, headers: json, body: example });
    // What it is called is nobody's concern; that it is JSON is.
    await caller.call(ours.url, 'registerExecutor', 204, { params, body: example });
    await caller.call(ours.url, 'registerExecutor', 400, { params, headers: json, body: '{' });
    const many = { executions: Array.from({ length: 10_001 }, (_, n) => `e${n}`) };
    await caller.call(ours.url, 'registerExecutor', 413, { params, headers: json, body: many });
    expect((await caller.call(ours.url, 'listWorkflows', 200)).workflows).toEqual(example.workflows);
  });

  it('take commands and answer each once', async () => {
    const { call } = caller;
    const stream = call.call(caller, ours.url, 'takeCommands', 200, {
      query: { executor: 'worker-1' },
      until: text => text.includes('\n\n') && text.includes('data: '),
    });
    await until('the stream to be heard', async () => {
      const asking = fetch(`${ours.url}/api/workflows/mine/execute`, { method: 'POST' });
      return Promise.race([stream.then(() => true), asking.then(() => false)]);
    });
    const command = JSON.parse((await stream).match(/^data: (.+)$/m)[1]);
    expect(flaws('openapi.yaml', '/components/schemas/Command', command)).toBe('');
    await caller.call(ours.url, 'takeCommands', 400, { query: { executor: 'not an id' } });
    answers = playExecutor(ours.url);
    const { example } = caller.operation('registerExecutor').requestBody.content['application/json'];
    await caller.call(ours.url, 'registerExecutor', 204, {
      params: { executor: 'worker-1' },
      headers: json,
      body: example,
    });
    const refusals = [
      ['unknown_workflow', 404],
      ['exists', 409],
      ['invalid', 400],
      ['too_large', 413],
      ['busy', 503],
    ];
    const kinds = new Set();
    const reply = async body => {
      const command = await answers.next();
      expect(flaws('openapi.yaml', '/components/schemas/Command', command)).toBe('');
      kinds.add(command.kind);
      const options = { params: { ref: command.ref }, headers: json, body };
      await caller.call(ours.url, 'replyToCommand', 204, options);
      await caller.call(ours.url, 'replyToCommand', 409, options);
      return options;
    };
    for (const [id, options] of asked) {
      for (const [code, status] of refusals) {
        const told = reply({ outcome: 'rejected', code, message: 'no' });
        await Promise.all([told, caller.call(ours.url, id, status, options)]);
      }
      await Promise.all([reply({ outcome: 'accepted' }), caller.call(ours.url, id, 202, options)]);
    }
    expect(kinds).toEqual(new Set(['execute', 'start-streaming', 'cancel', 'user_input:provide']));
    await Promise.all(asked.map(([id, options]) => caller.call(ours.url, id, 504, options)));
    const late = { params: { ref: 'none' }, headers: json };
    await caller.call(ours.url, 'replyToCommand', 404, { ...late, body: { outcome: 'accepted' } });
    await caller.call(ours.url, 'replyToCommand', 400, { ...late, body: { outcome: 'maybe' } });
    await caller.call(ours.url, 'replyToCommand', 413, { ...late, body: { outcome: 'accepted', body: large } });
  });
});

describe('the fleet, pages and sockets', () => {
  it('answers', async () => {
    const { gateways } = await caller.call(gateway.url, 'listGateways', 200);
    expect(gateways).toHaveLength(1);
    await caller.call(gateway.url, 'readHealth', 200);
    for (const id of ['readConsole', 'readPage', 'readPageScript', 'readPageStyle'])
      await caller.call(gateway.url, id, 200);
  });

  it('serves what the console is made of', async () => {
    const page = await caller.call(gateway.url, 'readConsole', 200);
    const files = [...page.matchAll(/assets\/([\w.-]+)/g)].map(([, file]) => file);
    for (const file of files) await caller.call(gateway.url, 'readAsset', 200, { params: { file } });
    // Built without it, the gateway has none.
    if (files.length === 0)
      for (const kind of ['text/javascript', 'text/css', 'image/svg+xml'])
        notProvoked.set(`readAsset 200 ${kind}`, 'no console');
    await caller.call(gateway.url, 'readAsset', 404, { params: { file: 'none.js' } });
  });

  const sockets = [
    ['openNative', {}],
    ['openExecutionStates', { params: { execution_id: 'socket' } }],
    ['openExecutionLogs', { params: { execution_id: 'socket' } }],
    ['pollSocketIo', { query: { EIO: '4', transport: 'websocket' } }],
  ];
  it.each(sockets)('%s', async (id, options) => {
    (await caller.upgrade(gateway.url, id, 101, options)).close();
    await caller.call(gateway.url, id, 400, options);
    await caller.upgrade(gateway.url, id, 426, { ...options, version: 8 });
  });

  it('polls Socket.IO', async () => {
    const query = { EIO: '4', transport: 'polling' };
    const opened = await caller.call(gateway.url, 'pollSocketIo', 200, { query });
    const { sid } = JSON.parse(opened.slice(1));
    await caller.call(gateway.url, 'postSocketIo', 200, { query: { ...query, sid }, body: '40' });
    expect(await caller.call(gateway.url, 'pollSocketIo', 200, { query: { ...query, sid } })).toMatch(/^40/);
    await caller.call(gateway.url, 'pollSocketIo', 400, { query: { ...query, sid: 'none' } });
    await caller.call(gateway.url, 'postSocketIo', 413, { query: { ...query, sid }, body: large });
    await caller.call(gateway.url, 'postSocketIo', 400, { query: { ...query, sid: 'none' }, body: '40' });
  });

  it('refuses everywhere alike', async () => {
    for (const [path, status, options] of [
      ['/api/fleet', 403, { headers: { origin: 'https://evil.example' } }],
      ['/nothing', 404, {}],
      ['/api/fleet', 405, { method: 'DELETE' }],
    ]) {
      const response = await fetch(gateway.url + path, options);
      expect(response.status).toBe(status);
      expect(flaws('openapi.yaml', '/components/schemas/Error', await response.json())).toBe('');
    }
    const headers = { origin: 'http://localhost:5173', 'access-control-request-method': 'POST' };
    const preflight = await fetch(`${gateway.url}/api/events`, { method: 'OPTIONS', headers });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get('access-control-allow-origin')).toBe(headers.origin);
  });

  it('sends clients away while it leaves', async () => {
    const clients = await Promise.all(Array.from({ length: 8 }, () => caller.upgrade(ours.url, 'openNative', 101)));
    await answers.end();
    const left = ours.stop();
    // Told of the signal, it says so to the next who asks; until then it still takes events.
    const draining = async () =>
      (await fetch(`${ours.url}/api/events`, { method: 'POST', body: JSON.stringify(log('late')) })).status === 503;
    await until('the gateway to leave', draining, 3000);
    expect((await publish(503, log('late'), ours.url)).error.code).toBe('draining');
    for (const [id, options] of sockets) await caller.upgrade(ours.url, id, 503, options);
    expect(await left).toBe(0);
    for (const client of clients) client.terminate();
  });
});

it('has seen every answer that is documented, but those listed', () => {
  // Those of tokens are seen in auth.test.js.
  const documented = caller.documented().filter(answer => !/^\w+ (401|403|429)$/.test(answer));
  const missing = documented.filter(answer => !caller.seen.has(answer) && !notProvoked.has(answer));
  expect(missing).toEqual([]);
  const stale = [...notProvoked.keys()].filter(answer => !documented.includes(answer) || caller.seen.has(answer));
  expect(stale).toEqual([]);
  expect(documented.length).toBeGreaterThan(operations(caller.document).length);
});
