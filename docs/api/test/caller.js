/** Calls operations by their names and holds every answer against the document; keeps account of what was seen. */
import { expect } from 'vitest';
import WebSocket from 'ws';
import { escaped, flaws, operations, read, resolved } from './specs.js';

// What any answer may carry: HTTP's own, those of a WebSocket's handshake, and CORS, which a test of its own looks at.
const COMMON = [
  ...['connection', 'content-length', 'content-type', 'date', 'keep-alive', 'transfer-encoding', 'upgrade', 'vary'],
  ...['sec-websocket-accept', 'sec-websocket-extensions', 'sec-websocket-protocol', 'content-encoding'],
];

/** Who is refused before its body was read may still be writing when the connection ends, and then not get to read why. */
async function patiently(ask) {
  for (let tries = 1; ; tries++) {
    try {
      return await ask();
    } catch (error) {
      if (tries === 10 || !['EPIPE', 'ECONNRESET'].includes(error.cause?.code)) throw error;
    }
  }
}

export class Caller {
  constructor(document) {
    this.name = document;
    this.document = read(document);
    this.operations = new Map(operations(this.document).map(operation => [operation.operationId, operation]));
    this.seen = new Set();
  }

  address(base, { path }, { params = {}, query = {} }) {
    const filled = path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(params[name]));
    const search = new URLSearchParams(query).toString();
    return `${base}${filled}${search && `?${search}`}`;
  }

  operation(id) {
    const operation = this.operations.get(id);
    if (!operation) throw new Error(`${this.name} has no operation ${id}`);
    return operation;
  }

  /** Calls, and gives back the body. `until` reads a stream as far as it holds. */
  async call(base, id, status, options = {}) {
    const operation = this.operation(id);
    const { body, headers, until } = options;
    const stop = new AbortController();
    const ask = () =>
      fetch(this.address(base, operation, options), {
        method: operation.method.toUpperCase(),
        headers,
        body: body === undefined || typeof body === 'string' ? body : JSON.stringify(body),
        signal: stop.signal,
      });
    const response = await (status === 413 ? patiently(ask) : ask());
    const text = until ? await readUntil(response, until) : await response.text();
    stop.abort();
    this.check(id, status, response.status, Object.fromEntries(response.headers), text);
    return (response.headers.get('content-type') ?? '').startsWith('application/json') ? JSON.parse(text) : text;
  }

  /** Asks for a WebSocket; gives it back where it opens. */
  async upgrade(base, id, status, options = {}) {
    const address = this.address(base, this.operation(id), options).replace('http:', 'ws:');
    const socket = new WebSocket(address, [], { protocolVersion: options.version ?? 13, perMessageDeflate: false });
    const answer = await new Promise((resolve, reject) => {
      socket.on('upgrade', response => resolve({ response, text: '' }));
      socket.on('unexpected-response', async (_, response) => {
        let text = '';
        for await (const piece of response) text += piece;
        resolve({ response, text });
      });
      socket.on('error', reject);
    });
    this.check(id, status, answer.response.statusCode, answer.response.headers, answer.text);
    return socket;
  }

  check(id, expected, status, headers, text) {
    const { path, method } = this.operation(id);
    const what = `${id}: ${status} ${text.slice(0, 500)}`;
    expect(status, what).toBe(expected);
    const [at, response] = resolved(this.document, `/paths/${escaped(path)}/${method}/responses/${status}`);
    expect(response, `${what} is not documented`).toBeTruthy();
    this.checkHeaders(what, at, response.headers ?? {}, headers);
    const type = (headers['content-type'] ?? '').split(';')[0];
    this.seen.add(`${id} ${status}`);
    if (type) this.seen.add(`${id} ${status} ${type}`);
    if (!response.content) return expect(text, `${what} has no body in the document`).toBe('');
    expect(Object.keys(response.content), what).toContain(type);
    const value = type === 'application/json' ? JSON.parse(text) : text;
    expect(flaws(this.name, `${at}/content/${escaped(type)}/schema`, value), what).toBe('');
  }

  checkHeaders(what, at, documented, headers) {
    const names = new Map(Object.keys(documented).map(name => [name.toLowerCase(), name]));
    const undocumented = Object.keys(headers).filter(name => !names.has(name) && !COMMON.includes(name));
    expect(undocumented, `${what}: headers`).toEqual([]);
    for (const [lower, name] of names) {
      const [where, header] = resolved(this.document, `${at}/headers/${escaped(name)}`);
      if (header.required) expect(headers, `${what}: headers`).toHaveProperty(lower);
      if (lower in headers) expect(flaws(this.name, `${where}/schema`, headers[lower]), what).toBe('');
    }
  }

  /** `operation status` for all that is documented; with the kind of the body where there are several. */
  documented() {
    return [...this.operations.values()].flatMap(({ operationId, path, method, responses }) =>
      Object.keys(responses).flatMap(status => {
        const [, response] = resolved(this.document, `/paths/${escaped(path)}/${method}/responses/${status}`);
        const types = Object.keys(response.content ?? {});
        return types.length > 1 ? types.map(type => `${operationId} ${status} ${type}`) : [`${operationId} ${status}`];
      }),
    );
  }
}

async function readUntil(response, holds) {
  let text = '';
  const deadline = setTimeout(() => response.body.cancel().catch(() => {}), 20_000);
  for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
    text += piece;
    if (holds(text)) break;
  }
  clearTimeout(deadline);
  if (!holds(text)) throw new Error(`a stream ended early: ${text}`);
  return text;
}
