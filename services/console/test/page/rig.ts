/** What the browser tests have in common: the built page in front of real gateways, and a browser that looks at it. */
import { existsSync, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, createServer as createPlainServer, type Socket } from 'node:net';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { expect } from 'vitest';
import { ends, until } from '../../../../clients/typescript/test/rig/index.js';

export { startExecutor } from '../../../../clients/typescript/test/rig/processes.js';

/** What `build.sh` has made. */
export const dist = fileURLToPath(new URL('../../dist/', import.meta.url));

/** What a gateway sends with its page. */
export const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

/** Where the page is, and what stands between it and the gateways. */
export interface Front {
  /** The page's address, behind a prefix, so that everything in it must be relative. */
  url: string;
  /** Cuts every connection, and lets nobody in. */
  close(): void;
  /** Lets in again. */
  open(): void;
}

/** Serves the built page, and passes on what it asks to the first of the gateways that answers. */
export async function front(gateways: string[], { webSockets = true, port = 0 } = {}): Promise<Front> {
  if (!existsSync(join(dist, 'index.html'))) throw new Error(`nothing is built in ${dist}: ./build.sh`);
  const sockets = new Set<Socket>();
  let isOpen = true;
  const server = createServer((asked, answer) => {
    const path = new URL(asked.url ?? '/', 'http://front').pathname;
    if (path.startsWith('/console/api/')) pass(gateways, asked, answer);
    else file(path.replace(/^\/console\//, ''), answer);
  });
  server.on('connection', socket => {
    if (!isOpen) return socket.destroy();
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.on('upgrade', (asked, socket) => upgrade(webSockets ? gateways : [], asked, socket as Socket));
  await new Promise<void>(resolve => server.listen(port, '127.0.0.1', resolve));
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  ends(server, (it: Server) => {
    cut();
    it.close();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/console/`,
    close() {
      isOpen = false;
      cut();
    },
    open() {
      isOpen = true;
    },
  };
}

function file(name: string, answer: ServerResponse): void {
  const path = join(dist, name === '' ? 'index.html' : name);
  if (!path.startsWith(dist) || !existsSync(path)) {
    answer.statusCode = 404;
    answer.end();
    return;
  }
  answer.setHeader('content-type', TYPES[extname(path)] ?? 'application/octet-stream');
  answer.setHeader('content-security-policy', POLICY);
  answer.setHeader('x-content-type-options', 'nosniff');
  answer.end(readFileSync(path));
}

const inner = (url: string | undefined) => (url ?? '/').replace(/^\/console/, '');

function pass([first, ...others]: string[], asked: IncomingMessage, answer: ServerResponse, body?: Buffer): void {
  if (first === undefined) {
    answer.statusCode = 502;
    answer.end();
    return;
  }
  const chunks: Buffer[] = [];
  const go = (given: Buffer) => {
    const [host, port] = first.split(':');
    const on = request(
      { host, port, method: asked.method, path: inner(asked.url), headers: asked.headers },
      response => {
        answer.writeHead(response.statusCode ?? 502, response.headers);
        response.pipe(answer);
        response.on('error', () => answer.destroy());
      },
    );
    on.on('error', () => (answer.headersSent ? answer.destroy() : pass(others, asked, answer, given)));
    on.end(given);
  };
  if (body) go(body);
  else asked.on('data', chunk => chunks.push(chunk)).on('end', () => go(Buffer.concat(chunks)));
}

function upgrade([first, ...others]: string[], asked: IncomingMessage, socket: Socket): void {
  if (first === undefined) return void socket.destroy();
  const [host, port] = first.split(':');
  const on = connect(Number(port), host);
  on.on('connect', () => {
    const lines = asked.rawHeaders.flatMap((name, at, all) => (at % 2 === 0 ? [`${name}: ${all[at + 1]}`] : []));
    on.write(`GET ${inner(asked.url)} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`);
    on.pipe(socket).pipe(on);
  });
  // Before it was reached the next one is asked; afterwards the page is to notice.
  on.on('error', () => (on.bytesWritten === 0 ? upgrade(others, asked, socket) : socket.destroy()));
  on.on('close', () => on.bytesWritten > 0 && socket.destroy());
  socket.on('error', () => on.destroy());
  socket.on('close', () => on.destroy());
}

/** A way to a port of this machine that can be closed. */
export async function passage(to: number): Promise<{ address: string; close(): void; open(): void }> {
  const sockets = new Set<Socket>();
  let isOpen = true;
  const server = createPlainServer(socket => {
    if (!isOpen) return void socket.destroy();
    const on = connect(to, '127.0.0.1');
    for (const [one, other] of [
      [socket, on],
      [on, socket],
    ] as const) {
      sockets.add(one);
      one.pipe(other);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
    }
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  ends(server, it => {
    cut();
    it.close();
  });
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    close() {
      isOpen = false;
      cut();
    },
    open() {
      isOpen = true;
    },
  };
}

let browser: Promise<Browser> | undefined;

function launch(): Promise<Browser> {
  const places = [
    process.env.WEFT_TEST_CHROMIUM,
    '/usr/bin/chromium',
    '/usr/bin/chromium-browser',
    '/usr/bin/google-chrome',
  ];
  const executablePath = places.find(place => place && existsSync(place));
  if (!executablePath) throw new Error('no Chromium: set WEFT_TEST_CHROMIUM');
  // Its sandbox does not work for root.
  return chromium.launch({ executablePath, args: process.getuid?.() === 0 ? ['--no-sandbox'] : [] });
}

export async function endBrowser(): Promise<void> {
  await (await browser)?.close();
  browser = undefined;
}

/** A page, and what has gone wrong in it. */
export interface Opened {
  page: Page;
  /** Errors of scripts, and what the policy has refused. */
  faults: string[];
}

export async function open(url: string, options: BrowserContextOptions = {}): Promise<Opened> {
  browser ??= launch();
  const context = ends(
    await (await browser).newContext({ permissions: ['clipboard-read', 'clipboard-write'], ...options }),
    it => it.close(),
  );
  const page = await context.newPage();
  const faults: string[] = [];
  page.on('pageerror', error => faults.push(String(error)));
  page.on('console', message => {
    // That a connection is lost is what some tests are about.
    if (message.type() === 'error' && !/WebSocket|Failed to load resource/.test(message.text()))
      faults.push(message.text());
  });
  await page.goto(url);
  return { page, faults };
}

export const live = (page: Page, ms = 30_000): Promise<void> =>
  page.locator('.badge[data-state="connected"]').waitFor({ timeout: ms });

/** Starts a workflow by the dialog of the list; the page shows its execution then. */
export async function begin(page: Page, workflow: string, fill: Record<string, string> = {}): Promise<void> {
  await page.getByRole('button', { name: 'Start a workflow' }).first().click();
  const dialog = page.getByRole('dialog');
  // An executor tells of itself once it has connected.
  const offer = dialog.getByRole('button', { name: workflow });
  const again = dialog.getByRole('button', { name: 'Ask again' });
  while ((await offer.or(again).first().textContent()) === 'Ask again') await again.click();
  await offer.click();
  for (const [label, value] of Object.entries(fill)) await dialog.getByLabel(label).fill(value);
  await dialog.getByRole('button', { name: 'Start' }).click();
  await page.waitForURL(/#\/executions\//);
}

/** The messages of the log's lines that are shown, also of those that are not drawn, by way of the clipboard. */
export async function copied(page: Page): Promise<string[]> {
  await page.evaluate(() => navigator.clipboard.writeText(''));
  await page.getByRole('button', { name: 'Copy' }).click();
  await page.getByText(/[\d,]+ copied$/).waitFor();
  const text = await page.evaluate(() => navigator.clipboard.readText());
  return text === '' ? [] : text.split('\n').map(line => line.split('\t')[3] ?? '');
}

/** Waits until the log has exactly these lines, and then looks whether they are these. */
export async function hasLines(page: Page, wanted: string[], ms = 60_000): Promise<void> {
  const count = page.locator('.log h2 .figure');
  const shown = wanted.length.toLocaleString('en');
  const seen = async () => (await count.textContent())?.split(' ')[0];
  await until(async () => (await seen()) === shown, `${shown} lines`, ms).catch(async error => {
    throw new Error(`${await seen()} lines, and ${shown} were published`, { cause: error });
  });
  const lines = await copied(page);
  const wrong = lines.findIndex((line, index) => line !== wanted[index]);
  expect(wrong, `line ${wrong} is "${lines[wrong]}" where "${wanted[wrong]}" was published`).toBe(-1);
  expect(lines).toHaveLength(wanted.length);
}
