import { afterEach, describe, expect, test } from 'vitest';
import type { WeftError } from '../../src/index.js';
import { client, endAll, gateway, sleep, until } from '../rig/index.js';

afterEach(endAll);

describe('refused rooms', () => {
  test('are told to who follows them; the others begin all the same', async () => {
    const server = await gateway();
    server.onMessage = (connection, { type, rooms, ref }) => {
      const names = ((rooms ?? []) as { room: string }[]).map(({ room }) => room);
      if (type !== 'subscribe' || !names.includes('execution:bad')) return false;
      connection.send({
        type: 'error',
        code: 'invalid',
        message: 'no',
        ref,
        ...(names.length === 1 ? { room: names[0] } : {}),
      });
      return true;
    };
    const weft = client(server);
    const errors: WeftError[] = [];
    weft.execution('bad').on('error', error => errors.push(error));
    weft.execution('good');
    await until(() => errors.length === 1 && server.connections[0]?.rooms.has('execution:good'), 'told');
    expect(errors[0]).toMatchObject({ code: 'invalid', room: 'execution:bad' });
    await expect(weft.execution('bad').events().next()).rejects.toMatchObject({ code: 'invalid' });
  });

  test('are asked for again when somebody wants to try again', async () => {
    const server = await gateway();
    server.onMessage = (connection, { type, ref }) => {
      if (type !== 'subscribe' || server.connections.length > 2) return false;
      connection.send({ type: 'error', code: 'forbidden', message: 'no', ref, room: 'execution:e' });
      return true;
    };
    const weft = client(server);
    let refusals = 0;
    const run = weft.execution('e');
    run.on('error', () => refusals++);
    await until(() => refusals === 1, 'refused');
    server.last.cut();
    await until(() => server.connections.length === 2 && weft.state === 'connected', 'connected again');
    await sleep(20);
    expect(refusals).toBe(1);
    weft.reconnect();
    await until(() => server.connections[2]?.rooms.has('execution:e'), 'let in');
  });

  test('are asked for again where it was for the moment only', async () => {
    const server = await gateway();
    let times = 0;
    server.onMessage = (connection, { type, ref }) => {
      if (type !== 'subscribe' || ++times > 2) return false;
      connection.send({ type: 'error', code: 'overloaded', message: 'later', ref, room: 'execution:e' });
      return true;
    };
    client(server).execution('e');
    await until(() => server.connections[0]?.rooms.has('execution:e'), 'it was let in the third time');
  });
});
