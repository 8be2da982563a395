import { afterEach, describe, expect, test } from 'vitest';
import type { Gap, WeftError, WeftEvent } from '../../src/index.js';
import { client, endAll, gateway, log, texts, until } from '../rig/index.js';

afterEach(endAll);

describe('history', () => {
  test('begins where it is told, without a seam and without doubles', async () => {
    const server = await gateway();
    for (let n = 0; n < 120; n++) server.log.publish('execution:e', log('e', `${n}`));
    const weft = client(server);
    weft.execution('e');
    await until(() => server.connections[0]?.rooms.size, 'subscribed');
    const seen: unknown[] = [];
    // Events that come while the pages are read.
    server.onRequest = (_request, _response, url) => {
      if (url.pathname.includes('/rooms/'))
        server.log.publish('execution:e', log('e', `${server.log.end('execution:e')}`));
      return false;
    };
    const late = weft.execution('e', { from: 'a.20.00000000' });
    let caughtUp = false;
    late.on('*', event => seen.push(event));
    late.on('caughtUp', () => {
      caughtUp = true;
    });
    await until(() => caughtUp, 'caught up');
    server.log.publish('execution:e', log('e', 'last'));
    await until(() => texts(seen).includes('last'), 'live');
    const expected = Array.from({ length: server.log.end('execution:e') - 21 }, (_, n) => `${n + 20}`);
    expect(texts(seen)).toEqual([...expected, 'last']);
  });

  test('only log entries where that was wished', async () => {
    const server = await gateway();
    server.log.publish('execution:e', log('e', 'one'));
    server.log.publish('execution:e', { type: 'node:started', executionId: 'e', nodeId: 'n' });
    const run = client(server).execution('e', { history: 'logs' });
    const types: string[] = [];
    run.on('*', event => types.push(event.type));
    await until(() => types.length > 0, 'history');
    server.log.publish('execution:e', { type: 'node:completed', executionId: 'e', nodeId: 'n' });
    await until(() => types.length > 1, 'live');
    expect(types).toEqual(['log', 'node:completed']);
  });

  test('of log entries hides nothing else that happens while it is read, though its pages hold that too', async () => {
    const server = await gateway();
    server.log.publish('execution:e', log('e', 'one'));
    const weft = client(server);
    weft.execution('e');
    await until(() => server.connections[0]?.rooms.size, 'subscribed');
    let isAsked = false;
    server.onRequest = (_request, _response, url) => {
      if (isAsked || !url.pathname.includes('/rooms/')) return false;
      isAsked = true;
      server.log.publish('execution:e', { type: 'user_input:required', executionId: 'e', data: { requestId: 'r' } });
      server.log.publish('execution:e', log('e', 'two'));
      return false;
    };
    const run = weft.execution('e', { history: 'logs' });
    const told: unknown[] = [];
    run.on('log', ({ data }) => told.push(data?.message));
    run.on('user_input:required', ({ data }) => told.push(data?.requestId));
    let caughtUp = false;
    run.on('caughtUp', () => {
      caughtUp = true;
    });
    await until(() => caughtUp, 'caught up');
    server.log.publish('execution:e', log('e', 'last'));
    await until(() => told.includes('last'), 'live');
    expect(told).toEqual(['one', 'two', 'r', 'last']);
  });

  test('that is lost while it is read begins anew, and tells nothing twice', async () => {
    const server = await gateway();
    for (let n = 0; n < 70; n++) server.log.publish('execution:e', log('e', `${n}`));
    let isLost = false;
    server.onRequest = (_request, response, url) => {
      if (isLost || !url.pathname.includes('/rooms/') || url.searchParams.get('after') === '0') return false;
      isLost = true;
      server.json(response, 410, { error: { code: 'gone', message: 'x' } });
      return true;
    };
    const seen: unknown[] = [];
    const run = client(server).execution('e', { from: '0' });
    run.on('*', event => seen.push(event));
    run.on('gap', ({ reason }) => seen.push(log('e', reason)));
    await until(
      () => seen.length >= 71,
      () => `${seen.length}`,
    );
    const expected = Array.from({ length: 70 }, (_, n) => `${n}`);
    expect(texts(seen)).toEqual([...expected.slice(0, 50), 'reset', ...expected.slice(50)]);
  });

  test('that something in between holds back does not hold back what comes live', async () => {
    const server = await gateway();
    server.log.publish('execution:e', log('e', 'before'));
    server.onRequest = (_request, response, url) => {
      if (url.pathname.includes('/rooms/')) server.json(response, 502, 'a proxy');
      return url.pathname.includes('/rooms/');
    };
    const seen: unknown[] = [];
    const errors: WeftError[] = [];
    const run = client(server, { times: { baseMs: 1, capMs: 2 } }).execution('e', { from: '0' });
    run.on('*', event => seen.push(event));
    run.on('error', error => errors.push(error));
    await until(() => server.connections[0]?.rooms.size, 'subscribed');
    server.log.publish('execution:e', log('e', 'live'));
    await until(() => seen.length === 1 && errors.length === 1, 'live, and why there is no history');
    expect(texts(seen)).toEqual(['live']);
    expect(errors[0]?.code).toBe('http_502');
  });

  test('that is gone is told as a gap; that cannot be had as an error', async () => {
    const server = await gateway();
    server.log.publish('execution:e', log('e', 'one'));
    const old = server.log.offset(0);
    let answer: [number, string] = [410, 'gone'];
    server.onRequest = (_request, response, url) => {
      if (!url.pathname.includes('/rooms/') || url.searchParams.get('after') === '0') return false;
      server.json(response, answer[0], { error: { code: answer[1], message: 'x' } });
      return true;
    };
    const weft = client(server);
    const told: (Gap | WeftEvent)[] = [];
    const first = weft.execution('e', { from: old });
    first.on('gap', gap => told.push(gap));
    first.on('*', event => told.push(event));
    await until(
      () => told.length === 2,
      () => JSON.stringify(told),
    );
    expect(told).toMatchObject([{ type: 'gap', reason: 'reset', missedFrom: old }, { type: 'log' }]);
    answer = [409, 'not_durable'];
    const errors: WeftError[] = [];
    weft.execution('e', { from: old }).on('error', error => errors.push(error));
    await until(() => errors.length === 1, 'the error');
    expect(errors[0]?.code).toBe('not_durable');
  });
});
