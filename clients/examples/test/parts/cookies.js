/**
 * A token in a cookie, which a page of another origin than the gateway's has sent along: `withCredentials` of an EventSource
 * and of socket.io-client, `credentials` of fetch, and a WebSocket, which sends cookies always. It counts for pages of a
 * listed origin and for nobody else.
 */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { serve } from '../rig/browser.js';
import { newId } from '../rig/fleet.js';
import { secretFile } from '../rig/processes.js';
import { line } from './events.js';

const secret = 'a secret of the tests that is long enough for HS256';

function token(claims) {
  const now = Math.floor(Date.now() / 1000);
  const part = object => Buffer.from(JSON.stringify(object)).toString('base64url');
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ iat: now - 5, exp: now + 600, ...claims })}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

/** Runs in the page: what each way to ask comes to, in a word. */
async function answers({ gateway, execution, credentials }) {
  const room = `execution:${execution}`;
  const events = `${gateway}/api/executions/${execution}/events`;
  const first = (promise, ms = 20_000) =>
    Promise.race([promise, new Promise(resolve => setTimeout(() => resolve('nothing'), ms))]);

  const history = async () => {
    const response = await fetch(events, { credentials: credentials ? 'include' : 'omit' });
    const body = await response.json();
    return response.ok ? body.events.map(({ data }) => data.message).join() : `${response.status} ${body.error.code}`;
  };
  // The type of its body makes the browser ask first (a preflight).
  const changing = async () => {
    const options = { method: 'POST', credentials: credentials ? 'include' : 'omit', body: '{"reason":"enough"}' };
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(`${gateway}/api/executions/${execution}/cancel`, { ...options, headers });
    return `${response.status} ${(await response.json()).error.code}`;
  };
  const stream = () =>
    new Promise(resolve => {
      const source = new EventSource(`${events}?offset=0`, { withCredentials: credentials });
      const ends = word => {
        source.close();
        resolve(word);
      };
      source.addEventListener('log', event => ends(JSON.parse(event.data).data.message));
      source.onerror = () => source.readyState === EventSource.CLOSED && ends('refused');
    });
  const socketio = transport =>
    new Promise(resolve => {
      const socket = globalThis.io(gateway, {
        withCredentials: credentials,
        transports: [transport],
        reconnection: false,
        forceNew: true,
      });
      const ends = word => {
        socket.disconnect();
        resolve(word);
      };
      socket.on('connect', () => socket.emit('subscribe', room, ({ ok, code }) => ends(ok ? 'follows' : code)));
      socket.on('connect_error', ({ message, data }) => ends(data?.code ?? message));
    });
  const webSocket = () =>
    new Promise(resolve => {
      const socket = new WebSocket(`${gateway.replace('http', 'ws')}/api/ws/executions/${execution}?offset=0`);
      const ends = word => {
        socket.close();
        resolve(word);
      };
      socket.onmessage = ({ data }) => ends(JSON.parse(data).log.message);
      socket.onclose = ({ code }) => resolve(`closed ${code}`);
    });

  const asked = {
    history: history(),
    changing: changing(),
    stream: stream(),
    polling: socketio('polling'),
    websocket: socketio('websocket'),
    plain: webSocket(),
  };
  const told = Object.entries(asked).map(async ([name, answer]) => [
    name,
    await first(answer.catch(({ name }) => name)),
  ]);
  return Object.fromEntries(await Promise.all(told));
}

/** A gateway that takes tokens from a cookie, and pages of one origin. */
const guarded = (fleet, origin, more) =>
  fleet.gateway({
    WEFT_AUTH: 'jwt',
    WEFT_JWT_SECRET_FILE: secretFile(secret),
    WEFT_AUTH_COOKIE: 'weft',
    WEFT_AUTH_QUERY: 'off',
    WEFT_ORIGINS: origin,
    ...more,
  });

/** An execution of Ada's with an event. */
async function published(gateway) {
  const execution = newId();
  const answer = await fetch(`${gateway.http}/api/events`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token({ sub: 'service', scope: 'events:publish' })}` },
    body: JSON.stringify(line(execution, 'for ada', { userId: 'ada' })),
  });
  assert.equal(answer.status, 202, await answer.text());
  return execution;
}

const cookieOf = gateway => ({
  name: 'weft',
  value: token({ sub: 'ada' }),
  url: gateway.http,
  httpOnly: true,
  sameSite: 'Strict',
});

async function acrossOrigins({ browser, fleet, ends }) {
  const other = ends(await serve(), server => new Promise(resolve => server.close(resolve)));
  const gateway = ends(await guarded(fleet, browser.origin), it => it.kill());
  const execution = await published(gateway);
  const cookie = cookieOf(gateway);
  const ask = async (origin, cookies, credentials) => {
    const bare = ends(await browser.bare(origin, cookies), it => it.close());
    return bare.page.evaluate(answers, { gateway: gateway.http, execution, credentials });
  };

  assert.deepEqual(
    await ask(browser.origin, [cookie], true),
    {
      history: 'for ada',
      changing: '401 unauthenticated',
      stream: 'for ada',
      polling: 'follows',
      websocket: 'follows',
      plain: 'for ada',
    },
    'a listed origin, with credentials',
  );
  const nameless = {
    history: '401 unauthenticated',
    changing: '401 unauthenticated',
    stream: 'refused',
    polling: 'unauthenticated',
  };
  assert.deepEqual(
    await ask(browser.origin, [cookie], false),
    { ...nameless, websocket: 'follows', plain: 'for ada' },
    'without credentials a WebSocket alone sends the cookie',
  );
  assert.deepEqual(
    await ask(browser.origin, [], true),
    { ...nameless, websocket: 'unauthenticated', plain: 'closed 4401' },
    'no cookie',
  );
  assert.deepEqual(
    await ask(`http://127.0.0.1:${other.address().port}`, [cookie], true),
    {
      history: 'TypeError',
      changing: 'TypeError',
      stream: 'refused',
      polling: 'xhr poll error',
      websocket: 'websocket error',
      plain: 'closed 1006',
    },
    'an origin that is not listed, with the cookie of its visitor',
  );
}

/** A browser names no origin where a page asks its own host; that it does counts as if it had. */
async function ofItsOwnHost({ browser, fleet, ends }) {
  const place = await serve();
  const { port } = place.address();
  await new Promise(resolve => place.close(resolve));
  const own = `http://127.0.0.1:${port}`;
  const gateway = ends(await guarded(fleet, own, { WEFT_LISTEN: `127.0.0.1:${port}` }), it => it.kill());
  gateway.http = own;
  const execution = await published(gateway);
  const ask = async cookies => {
    const bare = ends(await browser.bare(`${own}/api/ws/health`, cookies), it => it.close());
    return bare.page.evaluate(answers, { gateway: own, execution, credentials: true });
  };
  const { changing, ...reading } = await ask([cookieOf(gateway)]);
  assert.equal(changing, '401 unauthenticated');
  assert.deepEqual(reading, {
    history: 'for ada',
    stream: 'for ada',
    polling: 'follows',
    websocket: 'follows',
    plain: 'for ada',
  });
  assert.equal((await ask([])).history, '401 unauthenticated', 'no cookie');
}

export const cookies = [
  ['a token in a cookie: across origins', acrossOrigins],
  ['a token in a cookie: of its own host', ofItsOwnHost],
];
