/** The built pages in a real browser. */
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { chromium } from 'playwright-core';
import { examples } from './processes.js';
import { until } from './until.js';

const types = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css' };

/** Serves dist/ as any web server would, from another origin than the gateway's. */
export async function serve() {
  const server = createServer(async (request, response) => {
    const path = normalize(new URL(request.url, 'http://pages').pathname);
    try {
      const body = await readFile(join(examples, 'dist', path));
      response.writeHead(200, { 'content-type': types[extname(path)] ?? 'application/octet-stream' }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
  return server;
}

export async function openBrowser() {
  const browser = await chromium.launch({
    executablePath: process.env.WEFT_TEST_CHROMIUM ?? '/usr/bin/chromium',
    args: ['--disable-dev-shm-usage', ...(process.getuid?.() === 0 ? ['--no-sandbox'] : [])],
  });
  const server = await serve();
  const origin = `http://127.0.0.1:${server.address().port}`;
  return {
    origin,
    /** A page of this origin, with `io` of socket.io-client, in a browser of its own that holds these cookies. */
    async bare(of, cookies) {
      const context = await browser.newContext();
      await context.addCookies(cookies);
      const page = await context.newPage();
      await page.goto(`${of}/index.html`);
      await page.addScriptTag({ path: join(examples, 'node_modules/socket.io-client/dist/socket.io.min.js') });
      return { page, close: () => context.close() };
    },
    /** Opens one of the example pages; what goes wrong in it fails the test that looks at it next. `before` runs in it first. */
    async open(name, query, before) {
      const page = await browser.newPage();
      if (before) await page.addInitScript(before);
      const errors = [];
      page.on('pageerror', error => errors.push(error.stack));
      await page.goto(`${origin}/${name}/index.html?${new URLSearchParams(query)}`);
      return new Shown(page, errors);
    },
    async close() {
      await browser.close();
      await new Promise(resolve => server.close(resolve));
    },
  };
}

/** For `before`: as where something on the way lets no WebSocket pass. */
export const withoutWebSocket = () => {
  delete globalThis.WebSocket;
};

/** What a person sees of a page. */
class Shown {
  constructor(page, errors) {
    this.page = page;
    this.errors = errors;
  }

  async now() {
    if (this.errors.length) throw new Error(`the page has failed: ${this.errors.join('\n')}`);
    return this.page.evaluate(() => {
      const text = id => document.getElementById(id)?.textContent ?? '';
      const items = selector => [...document.querySelectorAll(selector)].map(element => element.textContent);
      const agents = [...document.querySelectorAll('.agent')].map(({ dataset, textContent }) => [
        dataset.agent,
        textContent,
      ]);
      const single = ['status', 'progress', 'connection', 'result', 'error', 'answered', 'question', 'pong'];
      return {
        ...Object.fromEntries(single.map(id => [id, text(id)])),
        nodes: items('#nodes li'),
        logs: items('#logs li'),
        agents: Object.fromEntries(agents),
      };
    });
  }

  /** Waits until the page shows it; answers what it shows then. */
  until(holds, what) {
    const told = async () => `${what}; the page shows ${JSON.stringify(await this.now())}`;
    const look = async () => {
      const now = await this.now();
      return holds(now) && now;
    };
    return until(look, told);
  }

  close() {
    return this.page.close();
  }
}
