import { afterEach, describe, expect, test } from 'vitest';
import type { WeftEvent } from '../../src/index.js';
import { client, endAll, ends, gateway, log, sleep, subscribes, texts, until } from '../rig/index.js';

afterEach(endAll);

describe('following', () => {
  test('an execution begins with its state and goes on with its events', async () => {
    const server = await gateway();
    server.snapshots.set('execution:e', {
      executionId: 'e',
      status: 'running',
      progress: 5,
      nodes: {},
      pendingInput: [],
    });
    const run = client(server).execution('e');
    const seen: WeftEvent[] = [];
    run.on('*', event => seen.push(event));
    await until(() => run.snapshot?.progress === 5, 'the snapshot');
    server.log.publish('execution:e', { type: 'execution:progress', executionId: 'e', data: { progress: 40 } });
    server.log.publish('execution:e', log('e', 'one'));
    await until(
      () => seen.length === 2,
      () => JSON.stringify(seen),
    );
    expect(run.snapshot).toMatchObject({ status: 'running', progress: 40 });
    expect(run.offset).toBe('a.2.00000000');
  });

  test('listeners hear their type, narrowed; one that throws does not silence the others', async () => {
    const server = await gateway();
    const run = client(server).execution('e');
    const messages: string[] = [];
    const errors: unknown[] = [];
    const onError = (error: unknown) => errors.push(error);
    process.on('uncaughtException', onError);
    ends(onError, () => process.off('uncaughtException', onError));
    run.on('log', () => {
      throw new Error('mine');
    });
    run.on('log', event => messages.push(event.data?.message ?? ''));
    run.on('billing:charged', event => messages.push(event.type));
    await until(() => server.connections[0]?.rooms.size, 'subscribed');
    server.log.publish('execution:e', log('e', 'one'));
    server.log.publish('execution:e', { type: 'billing:charged', executionId: 'e' });
    await until(
      () => messages.length === 2,
      () => JSON.stringify(messages),
    );
    expect(messages).toEqual(['one', 'billing:charged']);
    await until(() => errors.length === 1, 'the error is reported');
  });

  test('a listener and a follow end with their signals', async () => {
    const server = await gateway();
    const [one, two] = [new AbortController(), new AbortController()];
    const run = client(server).execution('e', { signal: two.signal });
    let heard = 0;
    run.on('log', () => heard++, { signal: one.signal });
    await until(() => server.connections[0]?.rooms.size, 'subscribed');
    server.log.publish('execution:e', log('e', 'one'));
    await until(() => heard === 1, 'the first');
    one.abort();
    server.log.publish('execution:e', log('e', 'two'));
    await until(() => run.offset === 'a.2.00000000', 'the second');
    expect(heard).toBe(1);
    two.abort();
    await until(() => server.received.some(({ type }) => type === 'unsubscribe'), 'the room is left');
  });

  test('one subscribe for many rooms, one subscription for many follows, left when the last has lingered', async () => {
    const server = await gateway();
    const weft = client(server);
    const follows = [weft.execution('e'), weft.execution('e'), weft.room('user:u')];
    await until(() => server.connections[0]?.rooms.size === 2, 'both rooms');
    expect(subscribes(server)).toHaveLength(1);
    follows[0]?.close();
    await sleep(60);
    expect(server.received.some(({ type }) => type === 'unsubscribe')).toBe(false);
    follows[1]?.close();
    await until(() => server.received.some(({ type }) => type === 'unsubscribe'), 'left');
    expect(server.last.rooms.has('user:u')).toBe(true);
  });

  test('names that are no rooms are refused before they reach a gateway', async () => {
    const weft = client(await gateway());
    for (const name of ['execution:', 'kb:a b', 'agent:a', 'agent:a:b:c d', 'other:x', `user:${'x'.repeat(129)}`]) {
      expect(() => weft.room(name), name).toThrow(TypeError);
    }
    expect(weft.room('agent:a:e:1').room).toBe('agent:a:e:1');
  });

  test('a follow iterates, and ends with its execution', async () => {
    const server = await gateway();
    const run = client(server).execution('e');
    await until(() => server.connections[0]?.rooms.size, 'subscribed');
    const events = run.events();
    server.log.publish('execution:e', log('e', 'one'));
    server.log.publish('execution:e', { type: 'execution:completed', executionId: 'e', data: { result: 7 } });
    const types = [];
    for await (const event of events) types.push(event.type);
    expect(types).toEqual(['log', 'execution:completed']);
    expect(run.snapshot).toMatchObject({ status: 'completed', result: 7 });
    for await (const event of run) types.push(event.type);
    expect(types).toHaveLength(2);
  });

  test('an iterator that is too slow is told so', async () => {
    const server = await gateway();
    const run = client(server).room('user:u');
    await until(() => server.connections[0]?.rooms.size, 'subscribed');
    const events = run.events({ max: 3 });
    for (let n = 0; n < 5; n++) server.log.publish('user:u', log('e', `${n}`));
    await until(() => run.offset === 'a.5.00000000', 'all have come');
    const seen: unknown[] = [];
    await expect(
      (async () => {
        for await (const event of events) seen.push(event);
      })(),
    ).rejects.toMatchObject({ code: 'too_slow' });
    expect(texts(seen)).toEqual(['0', '1', '2']);
  });

  test('an event of two followed rooms comes once and is heard in both', async () => {
    const server = await gateway();
    const weft = client(server);
    const heard: Record<string, string[]> = { user: [], run: [], all: [], agent: [] };
    weft.on('event', event => heard.all?.push(event.id ?? ''));
    weft.room('user:u').on('*', event => heard.user?.push(event.id ?? ''));
    weft.room('agent:a:e').on('*', event => heard.agent?.push(event.id ?? ''));
    weft.execution('e').on('*', event => heard.run?.push(event.id ?? ''));
    await until(() => server.connections[0]?.rooms.size === 3, 'subscribed');
    // As the gateway does: by the execution's room only.
    server.log.publish('execution:e', { ...log('e', 'one'), userId: 'u', id: '1' });
    server.log.publish('execution:e', {
      type: 'agent:token',
      executionId: 'e',
      userId: 'u',
      id: '2',
      data: { agentId: 'a', token: 't' },
    });
    server.log.publish('user:u', { ...log('f', 'elsewhere'), userId: 'u', id: '3' });
    // A copy that comes all the same is none.
    server.log.publish('user:u', { ...log('e', 'one'), userId: 'u', id: '1' });
    await until(
      () => heard.all?.length === 3,
      () => JSON.stringify(heard),
    );
    await sleep(30);
    expect(heard).toEqual({ user: ['1', '2', '3'], run: ['1', '2'], all: ['1', '2', '3'], agent: ['2'] });
  });
});
