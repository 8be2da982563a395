import { afterEach, describe, expect, test } from 'vitest';
import { client, endAll, gateway, sleep, until } from '../rig/index.js';

afterEach(endAll);

describe('commands', () => {
  test('wait while there is no connection, are sent again after a loss, and have one answer', async () => {
    const server = await gateway();
    server.onMessage = (_connection, { type }) => type === 'cancel' && server.connections.length === 1;
    const weft = client(server);
    let answers = 0;
    const cancelled = weft
      .execution('e')
      .cancel('enough')
      .then(() => answers++);
    await until(() => server.received.some(({ type }) => type === 'cancel'), 'sent');
    server.last.cut();
    await cancelled;
    const sent = server.received.filter(({ type }) => type === 'cancel');
    expect(sent).toHaveLength(2);
    expect(sent[0]).toEqual(sent[1]);
    server.last.send({ type: 'ack', ref: sent[0]?.ref });
    await sleep(20);
    expect(answers).toBe(1);
  });

  test('are due from when they were sent: being offline for longer does not end them', async () => {
    const server = await gateway();
    server.greets = false;
    const weft = client(server, { transport: 'websocket', times: { commandMs: 300, openMs: 50 } });
    let answers = 0;
    const cancelled = weft
      .execution('e')
      .cancel()
      .then(() => answers++);
    await sleep(700);
    expect(server.received.filter(({ type }) => type === 'cancel')).toEqual([]);
    // Sent, and not answered by the first; the next one comes late.
    server.onMessage = (_connection, { type }) => type === 'cancel';
    server.greets = true;
    await until(() => server.received.some(({ type }) => type === 'cancel'), 'sent');
    server.greets = false;
    server.last.cut();
    await sleep(700);
    server.onMessage = undefined;
    server.greets = true;
    await cancelled;
    expect(answers).toBe(1);
  });

  test('are refused by what the gateway says, by a full queue, a timeout, a signal, and the end', async () => {
    const server = await gateway();
    server.onMessage = (connection, { type, ref, executionId }) => {
      if (type === 'user_input:provide') connection.send({ type: 'error', code: 'rejected', message: 'not that', ref });
      return type === 'user_input:provide' || executionId === 'slow';
    };
    const weft = client(server, { commandsMax: 2, times: { commandMs: 80 } });
    await expect(weft.execution('e').provideInput('r', undefined)).rejects.toMatchObject({ code: 'rejected' });
    expect(server.received.find(({ type }) => type === 'user_input:provide')).toMatchObject({ value: null });
    const slow = weft.execution('slow');
    const over = new AbortController();
    const outcomes = Promise.allSettled([slow.cancel(), slow.cancel('x', { signal: over.signal }), slow.cancel()]);
    over.abort();
    const codes = (await outcomes).map(outcome =>
      outcome.status === 'rejected' ? (outcome.reason.code ?? outcome.reason.name) : 'ok',
    );
    expect(codes).toEqual(['timeout', 20, 'queue_full']);
    const last = slow.cancel();
    weft.close();
    await expect(last).rejects.toMatchObject({ code: 'closed' });
  });
});
