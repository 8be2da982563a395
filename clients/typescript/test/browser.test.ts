/** The components in a real browser, against real gateways. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { build } from 'esbuild';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { endAll, ends, log, until } from './rig/index.js';
import { type GatewayProcess, publish, startBroker, startGateway } from './rig/processes.js';

let browser: Browser;
let origin: string;
let stop: () => unknown;
const files = new Map<string, string>();

beforeAll(async () => {
  for (const name of ['react.tsx', 'vue.ts']) {
    const { outputFiles } = await build({
      entryPoints: [new URL(`pages/${name}`, import.meta.url).pathname],
      bundle: true,
      write: false,
      format: 'esm',
      jsx: 'automatic',
      define: {
        'process.env.NODE_ENV': '"production"',
        __VUE_OPTIONS_API__: 'false',
        __VUE_PROD_DEVTOOLS__: 'false',
        __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: 'false',
      },
    });
    files.set(`/${name.split('.')[0]}.js`, outputFiles[0]?.text ?? '');
  }
  files.set('/style.css', await readFile(new URL('../src/style.css', import.meta.url), 'utf8'));
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? '/', 'http://page').pathname;
    const file = files.get(path);
    const type = path.endsWith('.js') ? 'text/javascript' : path.endsWith('.css') ? 'text/css' : 'text/html';
    response.setHeader('content-type', `${type}; charset=utf-8`);
    const script = path.slice(1);
    response.end(
      file ??
        `<!doctype html><html lang="en"><head><title>Executions</title><meta name="viewport" content="width=device-width">
         <link rel="icon" href="data:,"><link rel="stylesheet" href="/style.css"></head>
         <body><main id="app"></main><script type="module" src="/${script}.js"></script></body></html>`,
    );
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  stop = () => server.close();
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const places = [
    process.env.WEFT_TEST_CHROMIUM,
    '/usr/bin/chromium',
    '/usr/bin/chromium-browser',
    '/usr/bin/google-chrome',
  ];
  const executablePath = places.find(place => place && existsSync(place));
  if (!executablePath) throw new Error('no Chromium: name it in WEFT_TEST_CHROMIUM');
  // The sandbox does not start for root.
  browser = await chromium.launch({ executablePath, args: process.getuid?.() === 0 ? ['--no-sandbox'] : [] });
});

afterAll(async () => {
  await browser?.close();
  await stop?.();
});
afterEach(endAll);

interface Opened {
  page: Page;
  context: BrowserContext;
  lines(): Promise<string[]>;
}

async function open(
  framework: string,
  gateways: GatewayProcess[],
  executions: string[],
  look: object | BrowserContext = {},
  init = '',
): Promise<Opened> {
  const context = 'newPage' in look ? look : ends(await browser.newContext(look), it => it.close());
  const page = await context.newPage();
  const errors: string[] = [];
  page.on('pageerror', error => errors.push(error.message));
  ends(errors, them => expect(them).toEqual([]));
  if (init) await page.addInitScript(init);
  const query = new URLSearchParams([
    ...gateways.map(({ http }) => ['gateway', http]),
    ...executions.map(id => ['execution', id]),
  ]);
  await page.goto(`${origin}/${framework}?${query}`);
  return { page, context, lines: () => page.evaluate(() => (globalThis as { lines?: string[] }).lines ?? []) };
}

/** A WebSocket that never gets through. */
const NO_WEBSOCKET =
  'window.WebSocket = class { constructor() { setTimeout(() => this.onclose?.({ code: 1006 })); } send() {} close() {} };';

const numbered = (from: number, to: number) => Array.from({ length: to - from }, (_, n) => `line ${from + n}`);
const badge = (page: Page) => page.locator('.weft-logs .weft-connection').first();

async function seen(opened: Opened, count: number): Promise<void> {
  await until(async () => (await opened.lines()).length >= count, `${count} lines`, 30_000);
  expect(await opened.lines()).toEqual(numbered(0, count));
}

describe.each(['react', 'vue'])('%s', framework => {
  test('shows an execution from its past to its end, answers its prompt, and is accessible', {
    timeout: 60_000,
  }, async () => {
    const gateway = await startGateway();
    await gateway.publish([
      { type: 'execution:started', executionId: 'e', userId: 'u', workflowId: 'w' },
      { type: 'node:started', executionId: 'e', nodeId: 'build' },
      ...numbered(0, 50).map(text => log('e', text)),
    ]);
    const opened = await open(framework, [gateway], ['e', 'other']);
    const { page } = opened;
    await seen(opened, 50);
    await gateway.publish([
      { type: 'node:completed', executionId: 'e', nodeId: 'build', data: { output: 'ok' } },
      { type: 'execution:progress', executionId: 'e', data: { progress: 60, currentNode: 'test' } },
      { type: 'user_input:required', executionId: 'e', data: { requestId: 'r', prompt: 'Deploy?' } },
      { type: 'log', executionId: 'e', data: { level: 'error', message: 'line 50' } },
      { type: 'log', executionId: 'e', data: { level: 'warning', message: 'line 51' } },
    ]);
    await seen(opened, 52);
    await page.getByLabel('Deploy?').fill('yes');
    await page.getByRole('button', { name: 'Answer' }).click();
    // Nobody runs it, and that is said where it was asked.
    await page.getByText('Nobody runs this execution').first().waitFor();
    const colour = (level: string) =>
      page
        .locator(`.weft-level-${level} b`)
        .first()
        .evaluate(it => getComputedStyle(it).color);
    expect(await colour('error')).not.toBe(await colour('warning'));
    await page.getByRole('navigation').getByRole('button', { name: /e/ }).first().click();
    await page.locator('.weft-status').nth(1).waitFor();
    await gateway.publish({ type: 'execution:failed', executionId: 'e', data: { error: 'tests failed' } });
    await page.locator('.weft-failures').getByText('tests failed').waitFor();
    await page.locator('.weft-status').first().getByText('Failed', { exact: true }).waitFor();
    const shots = process.env.WEFT_TEST_SCREENSHOTS;
    for (const [name, scheme, width] of [
      ['light', 'light', 1100],
      ['dark', 'dark', 1100],
      ['phone', 'light', 390],
    ] as const) {
      await page.emulateMedia({ colorScheme: scheme });
      await page.setViewportSize({ width, height: 900 });
      if (shots) await page.screenshot({ path: `${shots}/${framework}-${name}.png`, fullPage: true });
      const faults = await scan(page);
      expect(faults, name).toEqual([]);
      expect(
        await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth),
        `${name} fits its width`,
      ).toBe(true);
    }
  });

  test('ten thousand lines come at once: all are there, in order, and only those that are seen are drawn', {
    timeout: 60_000,
  }, async () => {
    const gateway = await startGateway();
    const opened = await open(framework, [gateway], ['e']);
    const { page } = opened;
    await badge(page).getByText('Live').waitFor();
    await page.evaluate(() => {
      const kept = globalThis as { longest?: number };
      kept.longest = 0;
      new PerformanceObserver(list => {
        for (const { duration } of list.getEntries()) kept.longest = Math.max(kept.longest ?? 0, duration);
      }).observe({ type: 'longtask' });
    });
    for (let from = 0; from < 10_000; from += 1000)
      await gateway.publish(numbered(from, from + 1000).map(text => log('e', text)));
    await seen(opened, 10_000);
    await page.locator('.weft-logs').first().getByText('line 9999', { exact: true }).waitFor();
    expect(await page.locator('.weft-line').count()).toBeLessThan(200);
    const lines = page.locator('.weft-lines').first();
    await lines.evaluate(it => {
      it.scrollTop = 0;
    });
    await page.locator('.weft-logs').first().getByText('line 0', { exact: true }).waitFor();
    expect(await page.getByLabel('Follow').first().isChecked()).toBe(false);
    await gateway.publish(log('e', 'line 10000'));
    await seen(opened, 10_001);
    // The reader has scrolled up: the log stays where it is read.
    expect(await lines.evaluate(it => it.scrollTop)).toBe(0);
    await page.getByLabel('Follow').first().check();
    await page.locator('.weft-logs').first().getByText('line 10000', { exact: true }).waitFor();
    process.stdout.write(
      `${framework}: longest task ${await page.evaluate(() => (globalThis as { longest?: number }).longest)} ms\n`,
    );
  });

  test('goes offline and comes back', { timeout: 60_000 }, async () => {
    const gateway = await startGateway();
    const opened = await open(framework, [gateway], ['e']);
    await badge(opened.page).getByText('Live').waitFor();
    await opened.context.setOffline(true);
    await badge(opened.page).getByText('Disconnected').waitFor();
    await gateway.publish(numbered(0, 10).map(text => log('e', text)));
    await opened.context.setOffline(false);
    await badge(opened.page).getByText('Live').waitFor();
    await seen(opened, 10);
  });

  test('gets through where WebSockets do not', { timeout: 60_000 }, async () => {
    const gateway = await startGateway();
    await gateway.publish(log('e', 'line 0'));
    const opened = await open(framework, [gateway], ['e'], {}, NO_WEBSOCKET);
    await badge(opened.page).getByText('Live').waitFor();
    expect(await badge(opened.page).getAttribute('title')).toMatch(/sse|poll/);
    await gateway.publish(numbered(1, 100).map(text => log('e', text)));
    await seen(opened, 100);
  });
});

test('two pages without WebSockets follow more executions than a browser has connections for, and still get answers', {
  timeout: 120_000,
}, async () => {
  const gateway = await startGateway();
  const ids = Array.from({ length: 12 }, (_, n) => `many-${n}`);
  await gateway.publish(ids.map(executionId => ({ type: 'execution:started', executionId })));
  const first = await open('react', [gateway], ids, {}, NO_WEBSOCKET);
  const second = await open('react', [gateway], ids, first.context, NO_WEBSOCKET);
  const cards = (page: Page, status: string) =>
    page.locator('.weft-card .weft-badge').getByText(status, { exact: true });
  for (const { page } of [first, second]) {
    await badge(page).getByText('Live').waitFor();
    await until(async () => (await cards(page, 'Running').count()) === ids.length, 'all run');
  }
  for (let n = 0; n < 20; n++) {
    await gateway.publish(ids.map(id => log(id, `line ${n}`)));
    await gateway.publish(
      ids.map(executionId => ({ type: 'execution:progress', executionId, data: { progress: 5 * n } })),
    );
  }
  for (const { page, lines } of [first, second]) {
    await until(async () => (await page.locator('.weft-card progress[value="95"]').count()) === ids.length, 'progress');
    await until(async () => (await lines()).length === 20, 'the log');
    expect(await lines()).toEqual(numbered(0, 20));
    // A request of a person gets through beside all that.
    await page.getByRole('article').last().getByRole('button', { name: 'Cancel' }).click();
    await page.getByText('Nobody runs this execution').first().waitFor();
  }
  await gateway.publish(ids.map(executionId => ({ type: 'execution:completed', executionId })));
  for (const { page } of [first, second])
    await until(async () => (await cards(page, 'Completed').count()) === ids.length, 'all have ended');
});

test('the gateway under the page is killed, and the page goes on at another', { timeout: 90_000 }, async () => {
  const bus = await startBroker('redis');
  const [one, two] = [await startGateway(bus), await startGateway(bus)];
  const opened = await open('react', [one, two], ['e']);
  await badge(opened.page).getByText('Live').waitFor();
  let published = 0;
  const some = async (count: number) => {
    await publish(
      two.http,
      numbered(published, published + count).map(text => log('e', text)),
    );
    published += count;
  };
  await some(100);
  await seen(opened, 100);
  const killed = one.kill();
  for (let n = 0; n < 20; n++) await some(10);
  await killed;
  await seen(opened, 300);
  await badge(opened.page).getByText('Live').waitFor();
});

const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js');

/** Serious findings of an accessibility scan. */
async function scan(page: Page): Promise<string[]> {
  await page.addScriptTag({ path: axe });
  return page.evaluate(async () => {
    const { violations } = await (
      globalThis as unknown as { axe: { run(): Promise<{ violations: Violation[] }> } }
    ).axe.run();
    return violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
  });
}
interface Violation {
  id: string;
  impact: string;
  nodes: { html: string }[];
}
