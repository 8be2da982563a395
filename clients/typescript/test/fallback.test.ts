/** Where no WebSocket gets through. The streams are served as `docs/PROTOCOL.md` and the contract say. */
import type { ServerResponse } from 'node:http';
import { afterEach, describe, expect, test } from 'vitest';
import { connect, type Gap } from '../src/index.js';
import { client, endAll, ends, log, sleep, texts, until } from './rig/index.js';
import { Log, Scripted, seqOf } from './rig/scripted.js';

afterEach(endAll);

/** A gateway that serves server-sent events. */
async function streaming(shared = new Log()) {
  const server = ends(await Scripted.start(shared), it => it.stop());
  const streams = new Set<ServerResponse>();
  const asked: { room: string; query: string; accept: string | undefined }[] = [];
  let retryMs = 5;
  server.webSockets = false;
  server.onRequest = (request, response, url) => {
    const [, family, id = ''] = /^\/api\/(executions|rooms)\/([^/]+)\/events$/.exec(url.pathname) ?? [];
    if (!family || url.searchParams.has('after')) return false;
    const room = family === 'executions' ? `execution:${decodeURIComponent(id)}` : decodeURIComponent(id);
    asked.push({ room, query: url.search, accept: request.headers.accept });
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(`retry: ${retryMs}\n\n: hello\r\n\r\n`);
    const send = (seq: number, event: { type: string }) =>
      response.write(`id: ${shared.offset(seq)}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
    const offset = url.searchParams.get('offset');
    if (offset !== null && !shared.given.has(offset)) throw new Error(`never gave out ${offset}`);
    if (url.searchParams.get('snapshot') === 'true') {
      const snapshot = { executionId: room.slice(10), status: 'running', nodes: {}, pendingInput: [] };
      const offsetNow = shared.offset(shared.end(room));
      response.write(
        `id: ${offsetNow}\nevent: snapshot\ndata: ${JSON.stringify({ type: 'snapshot', room, snapshot })}\n\n`,
      );
    } else if (offset !== null) for (const { seq, event } of shared.after(room, seqOf(offset))) send(seq, event);
    const listen = (to: string, stored: { seq: number; event: { type: string } }) =>
      to === room && send(stored.seq, stored.event);
    shared.listeners.add(listen);
    streams.add(response);
    response.on('close', () => {
      shared.listeners.delete(listen);
      streams.delete(response);
    });
    return true;
  };
  const cut = () => {
    for (const stream of [...streams]) stream.destroy();
  };
  return {
    server,
    streams,
    asked,
    cut,
    retry(ms: number) {
      retryMs = ms;
    },
  };
}

describe('server-sent events', () => {
  test('take over after two failed WebSockets, resume by offset, lose and double nothing', async () => {
    const { server, asked, cut } = await streaming();
    const weft = client(server, { token: 'secret' });
    const run = weft.execution('e');
    const seen: unknown[] = [];
    run.on('log', event => seen.push(event));
    await until(() => run.snapshot?.status === 'running', 'the snapshot');
    expect(weft.transport).toBe('sse');
    expect(asked).toEqual([{ room: 'execution:e', query: '?snapshot=true', accept: 'text/event-stream' }]);
    expect(server.requests.every(({ authorization }) => authorization === 'Bearer secret')).toBe(true);
    for (let n = 0; n < 60; n++) {
      server.log.publish('execution:e', log('e', `${n}`));
      if (n % 15 === 14) {
        await until(() => seen.length === n + 1, `${n + 1} events`);
        cut();
        await until(() => asked.length === 2 + (n - 14) / 15, 'it came back');
      }
    }
    await until(
      () => seen.length === 60,
      () => `${seen.length}`,
    );
    expect(texts(seen)).toEqual(Array.from({ length: 60 }, (_, n) => `${n}`));
    expect(asked.at(-1)?.query).toMatch(/^\?offset=a\.\d+/);
  });

  test('of two rooms with the same event tell it once', async () => {
    const { server, streams } = await streaming();
    const weft = client(server, { transport: 'sse' });
    const all: unknown[] = [];
    const users: unknown[] = [];
    weft.on('event', event => all.push(event));
    weft.room('user:u').on('*', event => users.push(event));
    weft.execution('e');
    await until(() => streams.size === 2, 'two streams');
    server.log.publish('execution:e', { ...log('e', 'one'), userId: 'u', id: '1' });
    server.log.publish('user:u', { ...log('e', 'one'), userId: 'u', id: '1' });
    server.log.publish('user:u', { ...log('f', 'two'), userId: 'u', id: '2' });
    await until(
      () => all.length === 2,
      () => JSON.stringify(all),
    );
    await sleep(30);
    expect(texts(all)).toEqual(['one', 'two']);
    expect(texts(users)).toEqual(['one', 'two']);
  });

  test('are a few, whatever is followed: every room gets all of its events, and streams go to where something happens', async () => {
    const { server, streams, asked } = await streaming();
    const weft = client(server, { transport: 'sse', streamsMax: 2, times: { pollMs: 100 } });
    const seen = new Map<string, string[]>();
    const ids = Array.from({ length: 12 }, (_, n) => `e${n}`);
    for (const id of ids) {
      const own: string[] = [];
      seen.set(id, own);
      weft.execution(id).on('log', event => own.push(event.data?.message ?? ''));
    }
    let most = 0;
    const publish = async (id: string, text: string) => {
      server.log.publish(`execution:${id}`, log(id, text));
      await sleep(2);
      most = Math.max(most, streams.size);
    };
    await until(() => streams.size === 2, 'two streams');
    const wanted = Array.from({ length: 30 }, (_, n) => `${n}`);
    for (const text of wanted) for (const id of ids) await publish(id, text);
    for (const id of ids)
      await until(
        () => seen.get(id)?.length === wanted.length,
        () => `${id}: ${seen.get(id)}`,
      );
    // Then all is quiet but one, which had no stream so far; then it has.
    const last = ids.find(id => !asked.some(({ room }) => room === `execution:${id}`));
    expect(last, 'one that was only asked for').toBeDefined();
    const more: string[] = [];
    for (let n = 0; !asked.some(({ room }) => room === `execution:${last}`) && n < 500; n++) {
      more.push(`more ${n}`);
      await publish(last ?? '', `more ${n}`);
    }
    await until(() => seen.get(last ?? '')?.length === wanted.length + more.length, 'the rest');
    expect(asked.at(-1)).toMatchObject({ room: `execution:${last}` });
    expect(asked.at(-1)?.query).toMatch(/^\?offset=/);
    for (const id of ids) expect(seen.get(id)).toEqual(id === last ? [...wanted, ...more] : wanted);
    expect(most).toBe(2);
  });

  test('go to the room that was opened last, and what was in its place goes on', async () => {
    const { server, streams, asked } = await streaming();
    const weft = client(server, { transport: 'sse', streamsMax: 1, times: { pollMs: 10 } });
    const texts_: Record<string, string[]> = { first: [], second: [] };
    const open = (id: string) => weft.execution(id).on('log', event => texts_[id]?.push(event.data?.message ?? ''));
    open('first');
    await until(() => streams.size === 1, 'the first');
    server.log.publish('execution:first', log('first', 'one'));
    await until(() => texts_.first?.length === 1, 'its event');
    open('second');
    await until(() => asked.length === 2 && streams.size === 1, 'the second');
    expect(asked.map(({ room }) => room)).toEqual(['execution:first', 'execution:second']);
    server.log.publish('execution:first', log('first', 'two'));
    server.log.publish('execution:second', log('second', 'three'));
    await until(() => texts_.first?.length === 2 && texts_.second?.length === 1, 'both');
    expect(texts_).toEqual({ first: ['one', 'two'], second: ['three'] });
  });

  test('the round trip is one: without an answer of the gateway there is none', async () => {
    const { server } = await streaming();
    const inner = server.onRequest;
    let answer = false;
    server.onRequest = (request, response, url) => {
      // The first question opens the link, the next ones are the pings.
      const isPing = url.pathname === '/api/ws/health' && server.requests.length > 1;
      if (!isPing) return inner?.(request, response, url) ?? false;
      if (answer) setTimeout(() => server.json(response, 200, {}), 50);
      return true;
    };
    const weft = client(server, { transport: 'sse', times: { heartbeatMs: 40 } });
    await until(() => weft.state === 'connected', 'connected');
    await sleep(100);
    expect(weft.latencyMs).toBeUndefined();
    answer = true;
    await until(() => weft.latencyMs !== undefined, 'measured');
    expect(weft.latencyMs).toBeGreaterThan(5);
  });

  test('tell gaps, and end when left', async () => {
    const { server, streams } = await streaming();
    const run = client(server, { transport: 'sse' }).execution('e');
    const gaps: Gap[] = [];
    run.on('gap', gap => gaps.push(gap));
    await until(() => streams.size === 1, 'the stream');
    for (const stream of streams)
      stream.write('event: gap\ndata: {"missedFrom":"x","missedTo":null,"reason":"retention"}\n\n');
    await until(() => gaps.length === 1, 'the gap');
    expect(gaps[0]).toMatchObject({ room: 'execution:e', missedFrom: 'x', reason: 'retention' });
    run.close();
    await until(() => streams.size === 0, 'the stream has ended');
  });

  test('are left for a WebSocket as soon as one gets through', async () => {
    const { server, streams } = await streaming();
    const weft = client(server, { times: { upgradeMs: 20 } });
    const seen: unknown[] = [];
    weft.execution('e').on('log', event => seen.push(event));
    await until(() => streams.size === 1, 'the stream');
    server.log.publish('execution:e', log('e', 'one'));
    await until(() => seen.length === 1, 'by the stream');
    server.webSockets = true;
    await until(() => weft.transport === 'websocket' && server.last.rooms.size === 1, 'by WebSocket');
    server.log.publish('execution:e', log('e', 'two'));
    await until(() => seen.length === 2, 'by WebSocket');
    expect(texts(seen)).toEqual(['one', 'two']);
    expect(streams.size).toBe(0);
  });

  test('are all there is where there is no WebSocket class', async () => {
    const { server, streams } = await streaming();
    const bare = ends(connect(`http://${server.address}`, { times: { upgradeMs: 5 } }), it => it.close());
    bare.execution('e');
    await until(() => streams.size === 1, 'the stream');
    await sleep(50);
    expect(bare.transport).toBe('sse');
  });

  test('ending at once with a pause are come back to after it', async () => {
    const { server, asked, streams, retry, cut } = await streaming();
    const weft = client(server, { transport: 'sse', random: () => 1, times: { baseMs: 60_000, capMs: 60_000 } });
    weft.execution('e');
    await until(() => streams.size === 1, 'the stream');
    retry(7);
    cut();
    await until(() => asked.length === 2, 'it came back after the hint', 5_000);
  });

  test('commands go over HTTP, and have one answer', async () => {
    const { server } = await streaming();
    const inner = server.onRequest;
    server.onRequest = (request, response, url) => {
      if (!/\/(cancel|input)$/.test(url.pathname)) return inner?.(request, response, url) ?? false;
      const isGone = url.pathname.includes('/gone/');
      server.json(response, isGone ? 503 : 202, { error: { code: 'no_executor', message: 'nobody' } });
      return true;
    };
    const weft = client(server, { transport: 'sse' });
    await weft.execution('e').cancel('enough');
    await weft.execution('e').provideInput('r', { yes: true });
    expect(server.requests.filter(({ method }) => method === 'POST')).toMatchObject([
      { url: '/api/executions/e/cancel', body: '{"reason":"enough"}' },
      { url: '/api/executions/e/input', body: '{"requestId":"r","value":{"yes":true}}' },
    ]);
    await expect(weft.execution('gone').cancel()).rejects.toMatchObject({ code: 'no_executor' });
    await expect(weft.execution('gone').provideInput('r', 'x')).rejects.toMatchObject({ code: 'no_executor' });
  });

  test('a command whose answer was lost is asked again by the next connection', async () => {
    const { server } = await streaming();
    const inner = server.onRequest;
    let times = 0;
    server.onRequest = (request, response, url) => {
      if (!url.pathname.endsWith('/cancel')) return inner?.(request, response, url) ?? false;
      times += 1;
      if (times === 1) response.destroy();
      else if (times === 2) server.json(response, 503, { error: { code: 'draining', message: 'leaving' } });
      else server.json(response, 202, {});
      return true;
    };
    await client(server, { transport: 'sse' }).execution('e').cancel();
    expect(times).toBe(3);
  });

  test('a refused token is told as such, with its reason; so is one while nothing is followed', async () => {
    const { server } = await streaming();
    const inner = server.onRequest;
    server.onRequest = (request, response, url) => {
      const isPublic = url.pathname === '/api/ws/health';
      if (isPublic || request.headers.authorization === 'Bearer right') return inner?.(request, response, url) ?? false;
      server.json(response, 401, { error: { code: 'unauthenticated', message: 'not this one' } });
      return true;
    };
    for (const transport of ['sse', 'poll'] as const) {
      let token = 'wrong';
      const weft = client(server, { transport, token: () => token });
      const states: string[] = [];
      weft.on('state', state => states.push(state));
      await until(() => weft.state === 'failed', transport);
      expect(weft.error).toMatchObject({ code: 'unauthenticated', message: 'not this one' });
      expect(states).not.toContain('connected');
      token = 'right';
      weft.execution('e');
      weft.reconnect();
      await until(() => weft.state === 'connected', transport);
    }
  });
});

describe('polling', () => {
  test('takes over where the gateway has no streams, and loses and doubles nothing', async () => {
    const server = ends(await Scripted.start(), it => it.stop());
    server.webSockets = false;
    server.onRequest = (_request, response, url) => {
      if (url.pathname === '/api/executions/e') {
        const offset = server.log.offset(server.log.end('execution:e'));
        server.json(response, 200, { executionId: 'e', status: 'running', nodes: {}, pendingInput: [], offset });
      } else if (url.pathname === '/api/executions/e/events')
        server.json(response, 200, { events: [], next: '0', complete: true });
      else return false;
      return true;
    };
    server.log.publish('execution:e', log('e', 'before'));
    const serve = server.onRequest;
    let failures = 0;
    server.onRequest = (request, response, url) => {
      if (url.pathname.includes('/rooms/') && server.requests.length % 7 === 6) {
        failures += 1;
        server.json(response, 500, {});
        return true;
      }
      return serve(request, response, url);
    };
    const weft = client(server, { transport: 'poll', times: { pollMs: 5 } });
    const run = weft.execution('e');
    const seen: unknown[] = [];
    run.on('log', event => seen.push(event));
    await until(() => run.snapshot?.status === 'running', 'the state');
    for (let n = 0; n < 130; n++) server.log.publish('execution:e', log('e', `${n}`));
    await until(
      () => seen.length >= 130,
      () => `${seen.length}`,
    );
    await sleep(30);
    expect(texts(seen)).toEqual(Array.from({ length: 130 }, (_, n) => `${n}`));
    // Every seventh request fails on purpose, and the client is between two tries just then.
    await until(() => weft.transport === 'poll', 'polling again');
    expect(failures).toBeGreaterThan(0);
  });
});
