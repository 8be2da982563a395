/** What a gateway that asks for tokens answers, and its control listener. */
import { createHmac } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { Caller } from './caller.js';
import { folder, freePort, startGateway, until } from './rig.js';
import { flaws } from './specs.js';

const gatewayCaller = new Caller('openapi.yaml');
const control = new Caller('control.yaml');
const secret = 'a-secret-of-the-test-0123456789abcdef';
const controlToken = 'a-control-token-of-the-test-0123456789';

/** A token of a user, good for a minute. */
function token(subject, claims = {}) {
  const part = value => Buffer.from(JSON.stringify(value)).toString('base64url');
  const now = Math.floor(Date.now() / 1000);
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: subject, iat: now, exp: now + 60, ...claims })}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

const as = (subject, claims) => ({ authorization: `Bearer ${token(subject, claims)}` });

let gateway;
let controlUrl;

beforeAll(async () => {
  const files = folder();
  writeFileSync(join(files, 'secret'), secret, { mode: 0o600 });
  writeFileSync(join(files, 'control'), controlToken, { mode: 0o600 });
  const port = await freePort();
  controlUrl = `http://127.0.0.1:${port}`;
  gateway = await startGateway({
    WEFT_AUTH: 'jwt',
    WEFT_JWT_SECRET_FILE: join(files, 'secret'),
    WEFT_CONTROL_LISTEN: `127.0.0.1:${port}`,
    WEFT_CONTROL_TOKEN_FILE: join(files, 'control'),
    WEFT_CONNECTIONS_PER_USER_MAX: '1',
    WEFT_CONNECTIONS_PER_ADDRESS_MAX: '1',
    WEFT_TRUSTED_PROXIES: '127.0.0.1',
    WEFT_PUBLISHES_PER_USER: '3',
  });
});

afterAll(() => gateway?.stop());

const call = (id, status, options) => gatewayCaller.call(gateway.url, id, status, options);
const body = { type: 'log', executionId: 'e', userId: 'ada', data: { level: 'info', message: 'm' } };
const json = { 'content-type': 'application/json' };
const params = { id: 'e', room: 'user:eve', name: 'n', execution_id: 'e', executor: 'x', ref: 'r' };

/** The operations that document such an answer. */
const documenting = status =>
  [...gatewayCaller.operations.values()]
    .filter(({ responses }) => responses[status])
    .map(({ operationId }) => operationId);
const options = { params, query: { executor: 'x' } };
const bodies = {
  publishEvents: body,
  runWorkflow: { nodes: [], executionId: 'e' },
  executeWorkflow: { inputs: {}, executionId: 'e' },
  registerExecutor: {},
  replyToCommand: { outcome: 'accepted' },
};

describe('openapi.yaml, with tokens', () => {
  it('says 401 without one, or with a wrong one', async () => {
    for (const id of documenting('401')) {
      const asked = { ...options, body: bodies[id], headers: json };
      await call(id, 401, asked);
      await call(id, 401, { ...asked, headers: { ...json, authorization: 'Bearer a.b.c' } });
    }
    expect(documenting('401').length).toBeGreaterThan(10);
  });

  it('says 403 where the token does not allow it', async () => {
    for (const id of documenting('403'))
      await call(id, 403, { ...options, body: bodies[id], headers: { ...json, ...as('ada') } });
    expect(documenting('403').length).toBeGreaterThan(5);
  });

  it('lets those in who may', async () => {
    const publisher = as('publisher', { scope: 'events:publish' });
    await call('publishEvents', 202, { body, headers: publisher });
    await call('readExecution', 200, { params, headers: as('ada') });
    await call('readExecution', 404, { params, headers: as('eve') });
    expect((await call('listExecutions', 200, { headers: as('eve') })).executions).toEqual([]);
    expect((await call('listExecutions', 200, { headers: as('ada') })).executions).toHaveLength(1);
    await call('listGateways', 200, { headers: as('root', { scope: 'admin' }) });
  });

  it('says 429 to who asks for too much', async () => {
    const publisher = as('busy', { scope: 'events:publish' });
    const many = { body: Array.from({ length: 100 }, () => body), headers: publisher };
    // One body that is larger than what may come at once is taken, and makes the next wait.
    await call('publishEvents', 202, many);
    expect((await call('publishEvents', 429, many)).error.code).toBe('rate_limited');
    const stream = await fetch(`${gateway.url}/api/executions/e/events`, {
      headers: { ...as('ada'), accept: 'text/event-stream' },
    });
    expect(stream.status).toBe(200);
    for (const [id, room] of [
      ['readExecutionEvents', undefined],
      ['readRoomEvents', 'user:ada'],
    ])
      await call(id, 429, { params: { ...params, room }, headers: { ...as('ada'), accept: 'text/event-stream' } });
    await stream.body.cancel();
    const query = { EIO: '4', transport: 'polling' };
    const headers = { 'x-forwarded-for': '203.0.113.7' };
    await call('pollSocketIo', 200, { query, headers });
    await call('pollSocketIo', 429, { query, headers });
  });

  it('has given every such answer', () => {
    const such = gatewayCaller.documented().filter(answer => /^\w+ (401|403|429)$/.test(answer));
    expect(such.filter(answer => !gatewayCaller.seen.has(answer))).toEqual([]);
    expect(such.length).toBeGreaterThan(20);
  });
});

describe('the native protocol, with tokens', () => {
  it('takes one as the first message, and another on the open connection', async () => {
    const socket = new WebSocket(`${gateway.url.replace('http:', 'ws:')}/api/ws`);
    const told = [];
    socket.on('message', data => {
      const message = JSON.parse(data);
      expect(flaws('asyncapi.yaml', `/components/messages/${message.type}/payload`, message)).toBe('');
      told.push(message);
    });
    const answer = ref =>
      until(
        () => `the answer ${ref}: ${JSON.stringify(told)}`,
        () => told.find(message => message.ref === ref),
      );
    await new Promise(resolve => socket.on('open', resolve));
    for (const ref of ['first', 'renewed']) {
      socket.send(JSON.stringify({ type: 'auth', token: token('ada', { n: ref }), ref }));
      expect((await answer(ref)).type).toBe('ack');
    }
    socket.send(JSON.stringify({ type: 'subscribe', room: 'user:eve', ref: 'other' }));
    expect(await answer('other')).toMatchObject({ type: 'error', code: 'forbidden' });
    socket.send(JSON.stringify({ type: 'subscribe', executionId: 'e', ref: 'own' }));
    expect((await answer('own')).type).toBe('subscribed');
    const headers = { authorization: `Bearer ${controlToken}` };
    const { connections } = await control.call(controlUrl, 'listConnections', 200, {
      headers,
      query: { subject: 'ada' },
    });
    expect(connections).toMatchObject([{ subject: 'ada', rooms: [expect.stringContaining('execution:e')] }]);
    const at = { headers, params: { id: connections[0].id } };
    await control.call(controlUrl, 'readConnection', 200, at);
    await control.call(controlUrl, 'listConnections', 400, {
      headers,
      query: ['a', 'b'].map(name => ['subject', name]),
    });
    await control.call(controlUrl, 'listRooms', 200, { headers });
    const closed = new Promise(resolve => socket.on('close', resolve));
    await control.call(controlUrl, 'endConnection', 204, at);
    expect(await closed).toBe(1012);
    for (const id of ['readConnection', 'endConnection']) await control.call(controlUrl, id, 404, at);
  });
});

describe('control.yaml', () => {
  const headers = { authorization: `Bearer ${controlToken}` };
  const notProvoked = new Map([
    ['revoke 501', 'needs a bus that stores nothing'],
    ['revoke 503', 'needs a bus that is away'],
  ]);

  it('takes tokens back', async () => {
    const { example } = control.operation('revoke').requestBody.content['application/json'];
    await call('listExecutions', 200, { headers: as('eve') });
    const eve = as('eve');
    await control.call(controlUrl, 'revoke', 204, { headers, body: example });
    await until(
      'the token to be refused',
      async () => (await fetch(`${gateway.url}/api/executions`, { headers: eve })).status === 401,
    );
    await control.call(controlUrl, 'revoke', 400, { headers, body: {} });
    await control.call(controlUrl, 'revoke', 413, { headers, body: { subject: 'x'.repeat(17 * 1024) } });
  });

  it('sends clients elsewhere', async () => {
    const shed = (percent, status) =>
      control.call(controlUrl, 'shed', status, { headers, query: [['percent', percent]] });
    await shed('10', 202);
    await shed('101', 400);
    await control.call(controlUrl, 'drain', 202, { headers });
    await shed('10', 409);
  });

  it('asks for its token everywhere', async () => {
    for (const id of control.operations.keys()) await control.call(controlUrl, id, 401, { params: { id: 'x' } });
  });

  it('has given every answer that is documented, but those listed', () => {
    const documented = control.documented();
    expect(documented.filter(answer => !control.seen.has(answer) && !notProvoked.has(answer))).toEqual([]);
    expect([...notProvoked.keys()].filter(answer => !documented.includes(answer) || control.seen.has(answer))).toEqual(
      [],
    );
  });
});
