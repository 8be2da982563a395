/** Every operation of executor.yaml asked of a real executor, every answer held against what is documented. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Caller } from './caller.js';
import { folder, startExecutor, startGateway, until } from './rig.js';

const caller = new Caller('executor.yaml');
const large = 'x'.repeat(256 * 1024 + 1);
const token = 'a-token-of-the-test-0123456789ab';

let gateway;
let executor;
let guarded;

beforeAll(async () => {
  gateway = await startGateway();
  const file = join(folder(), 'token');
  writeFileSync(file, token, { mode: 0o600 });
  [executor, guarded] = await Promise.all([
    startExecutor(gateway),
    startExecutor(gateway, { WEFT_EXECUTOR_TOKEN_FILE: file, WEFT_EXECUTIONS_MAX: '1' }),
  ]);
});

afterAll(() => Promise.all([executor, guarded, gateway].map(process => process?.stop())));

const call = (id, status, options) => caller.call(executor.url, id, status, options);
const params = { id: 'run-1' };
const approval = { name: 'approval' };

it('answers what it has', async () => {
  await call('readHealth', 200);
  const { workflows } = await call('listWorkflows', 200);
  for (const { name } of workflows) await call('readWorkflow', 200, { params: { name } });
  await call('readWorkflow', 404, { params: { name: 'none' } });
  await call('readExecution', 404, { params: { id: 'none' } });
});

it('runs, asks and ends', async () => {
  const { example } = caller.operation('executeWorkflow').requestBody.content['application/json'];
  await call('executeWorkflow', 202, { params: approval, body: example });
  await call('executeWorkflow', 409, { params: approval, body: example });
  await call('executeWorkflow', 400, { params: approval, body: { input: 1 } });
  await call('executeWorkflow', 404, { params: { name: 'none' } });
  await call('executeWorkflow', 413, { params: approval, body: large });
  const asked = () => call('readExecution', 200, { params });
  const [{ requestId }] = await until('the prompt', async () => {
    const { pendingInput } = await asked();
    return pendingInput.length > 0 && pendingInput;
  });
  const provide = (status, body, id = params.id) => call('provideInput', status, { params: { id }, body });
  await provide(400, { requestId });
  await provide(404, { requestId: 'none', value: true });
  await provide(413, { requestId, value: large });
  await provide(422, { requestId, value: 'perhaps' });
  await provide(200, { requestId, value: true });
  await provide(200, { requestId, value: true });
  await until('the end', async () => (await asked()).endedAt);
  const { executions } = await call('listExecutions', 200);
  expect(executions.map(({ executionId }) => executionId)).toEqual(['run-1']);
  await call('cancelExecution', 409, { params });
});

it('is cancelled', async () => {
  await call('startStreaming', 202, { params: { id: 'demo-1' }, body: { userId: 'ada' } });
  await call('startStreaming', 409, { params: { id: 'demo-1' } });
  await call('startStreaming', 400, { params: { id: 'not an id' } });
  await call('startStreaming', 413, { params: { id: 'demo-2' }, body: large });
  await call('cancelExecution', 400, { params: { id: 'demo-1' }, body: { why: 'no' } });
  await call('cancelExecution', 413, { params: { id: 'demo-1' }, body: large });
  await call('cancelExecution', 404, { params: { id: 'none' } });
  await call('cancelExecution', 202, { params: { id: 'demo-1' }, body: { reason: 'enough' } });
});

it('refuses a second execution where one may run, and an answer that comes too late', async () => {
  const headers = { authorization: `Bearer ${token}` };
  const ask = (id, status, options) => caller.call(guarded.url, id, status, { headers, ...options });
  await ask('executeWorkflow', 202, { params: approval, body: { executionId: 'late' } });
  const [{ requestId }] = await until('the prompt', async () => {
    const { pendingInput } = await ask('readExecution', 200, { params: { id: 'late' } });
    return pendingInput.length > 0 && pendingInput;
  });
  await ask('executeWorkflow', 503, { params: approval });
  await ask('startStreaming', 503, { params: { id: 'other' } });
  await ask('cancelExecution', 202, { params: { id: 'late' } });
  await until('the end', async () => (await ask('readExecution', 200, { params: { id: 'late' } })).endedAt);
  await ask('provideInput', 409, { params: { id: 'late' }, body: { requestId, value: true } });
});

it('asks for its token everywhere', async () => {
  for (const id of caller.operations.keys())
    await caller.call(guarded.url, id, 401, { params: { id: 'x', name: 'x' } });
});

it('has given every answer that is documented', () => {
  const documented = caller.documented();
  expect(documented.filter(answer => !caller.seen.has(answer))).toEqual([]);
  expect(documented.length).toBeGreaterThan(30);
});
