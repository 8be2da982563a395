import { afterEach, describe, expect, test } from 'vitest';
import type { State, WeftError } from '../../src/index.js';
import { client, endAll, gateway, sleep, until } from '../rig/index.js';

afterEach(endAll);

const shown = (server: { received: { type: string; token?: unknown }[] }) =>
  server.received.filter(({ type }) => type === 'auth').map(({ token }) => token);

describe('tokens', () => {
  test('are sent first, asked for before each connection, and renewed in time', async () => {
    const server = await gateway();
    let count = 0;
    const weft = client(server, { token: async () => `t${++count}` });
    weft.execution('e');
    await until(() => weft.state === 'connected', 'connected');
    expect(server.received[0]).toMatchObject({ type: 'auth', token: 't1' });
    server.last.send({ type: 'error', code: 'token_expired', message: 'soon' });
    await until(() => shown(server).includes('t2'), 'renewed');
    expect(server.connections).toHaveLength(1);
    server.last.socket.close(4401);
    await until(() => shown(server).includes('t3'), 'asked again after 4401');
  });

  test('that the gateway has seen are not shown to it again: it would warn again, and again', async () => {
    const server = await gateway();
    // As a gateway does.
    server.onMessage = (connection, { type, ref, token }) => {
      if (type !== 'auth') return false;
      connection.send({ type: 'ack', ref });
      if (token === 'old') connection.send({ type: 'error', code: 'token_expired', message: 'soon' });
      return true;
    };
    let current = 'old';
    const weft = client(server, { token: () => current, times: { renewMs: 20 } });
    const errors: WeftError[] = [];
    weft.on('error', error => errors.push(error));
    await until(() => errors.length === 1, 'told that there is none');
    await sleep(100);
    expect(shown(server)).toEqual(['old']);
    expect(errors).toMatchObject([{ code: 'token_expired' }]);
    current = 'new';
    await until(() => shown(server).length === 2, 'shown as soon as there is one');
    await sleep(60);
    expect(shown(server)).toEqual(['old', 'new']);
    expect(server.connections).toHaveLength(1);
    expect(errors).toHaveLength(1);
  });

  test('that live for less than the warning are renewed now and then, not all the time', async () => {
    const server = await gateway();
    server.onMessage = (connection, { type, ref }) => {
      if (type !== 'auth') return false;
      connection.send({ type: 'ack', ref });
      connection.send({ type: 'error', code: 'token_expired', message: 'soon' });
      return true;
    };
    let count = 0;
    const weft = client(server, { token: () => `t${++count}`, times: { renewMs: 200 } });
    await until(() => weft.state === 'connected', 'connected');
    const began = performance.now();
    await until(() => count >= 4, 'renewed');
    // The first at once, each further one after the pause.
    expect(performance.now() - began).toBeGreaterThan(350);
    expect(server.connections).toHaveLength(1);
  });

  test('that cannot be looked at for the moment are shown again', async () => {
    const server = await gateway();
    let isAway = false;
    server.onMessage = (connection, { type, ref }) => {
      if (type !== 'auth' || !isAway) return false;
      isAway = false;
      connection.send({ type: 'error', code: 'overloaded', message: 'no keys', ref });
      return true;
    };
    let current = 'one';
    const weft = client(server, { token: () => current, times: { renewMs: 20 } });
    const errors: WeftError[] = [];
    weft.on('error', error => errors.push(error));
    await until(() => weft.state === 'connected', 'connected');
    [isAway, current] = [true, 'two'];
    server.last.send({ type: 'error', code: 'token_expired', message: 'soon' });
    await until(() => shown(server).length === 3, 'shown again');
    expect(shown(server)).toEqual(['one', 'two', 'two']);
    expect(errors).toMatchObject([{ code: 'overloaded' }]);
    expect(server.connections).toHaveLength(1);
  });

  test('that are refused are no connection; after five of them in a row it has failed, and says why', async () => {
    const server = await gateway();
    server.onMessage = (connection, { type, ref }) => {
      if (type === 'auth') connection.send({ type: 'error', code: 'unauthenticated', message: 'not yours', ref });
      return true;
    };
    let asked = 0;
    const weft = client(server, { token: () => `t${++asked}` });
    const states: State[] = [];
    weft.on('state', state => states.push(state));
    await until(
      () => weft.state === 'failed',
      () => weft.state,
    );
    expect(asked).toBe(5);
    expect(states).not.toContain('connected');
    expect(weft.error).toMatchObject({ code: 'unauthenticated', message: 'not yours' });
    const fixed = client(server, { token: 'fixed' });
    await until(() => fixed.state === 'failed', 'a fixed token is tried once');
    server.received.length = 0;
    const cached = client(server, { token: () => 'cached' });
    await until(() => cached.state === 'failed', 'one that does not change is tried less often');
    expect(shown(server)).toEqual(['cached', 'cached', 'cached']);
  });

  test('where nobody is signed in, being greeted before being refused is no success, and nothing is tried again', async () => {
    const server = await gateway();
    server.onConnect = connection => connection.socket.close(4401, 'who are you?');
    const weft = client(server, { token: () => '' });
    await until(() => weft.state === 'failed', 'failed');
    await sleep(50);
    expect(server.connections).toHaveLength(1);
    expect(weft.error).toMatchObject({ code: 'unauthenticated', message: 'who are you?' });
  });

  test('being refused does not mean that WebSockets do not get through', async () => {
    const server = await gateway();
    server.greets = false;
    server.onConnect = connection => connection.socket.close(4401);
    let count = 0;
    const weft = client(server, { token: () => `t${++count}` });
    await until(() => weft.state === 'failed', 'failed after five');
    expect(server.connections).toHaveLength(5);
    expect(server.requests).toEqual([]);
  });

  test('a source that fails is asked again', async () => {
    const server = await gateway();
    let asked = 0;
    const weft = client(server, {
      token: () => {
        asked += 1;
        if (asked < 3) throw new Error('the identity provider is away');
        return 't';
      },
    });
    await until(() => weft.state === 'connected', 'connected');
  });
});
