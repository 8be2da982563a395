/** How the pages look, populated, and what a scan finds that would keep people out. Pictures go to docs/images where wished. */
import { mkdirSync, readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { endAll, sleep, until } from '../../../../clients/typescript/test/rig/index.js';
import { freePort, publish, startBroker, startGateway } from '../../../../clients/typescript/test/rig/processes.js';
import { asking } from '../../../../clients/typescript/test/rig/tokens.js';
import { endBrowser, front, live, open, startExecutor } from './rig.js';

const images = fileURLToPath(
  new URL(process.env.WEFT_TEST_IMAGES ? '../../../../docs/images/' : '../../.cache/images/', import.meta.url),
);
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const IMAGE_BYTES_MAX = 180_000;

const DESKTOP = { viewport: { width: 1200, height: 700 } };
/** Of the pages that have more to show; the first one is the README's. */
const TALL: Record<string, number> = { execution: 850, node: 850 };
const LOOKS: Record<string, BrowserContextOptions> = {
  light: { ...DESKTOP, colorScheme: 'light' },
  dark: { ...DESKTOP, colorScheme: 'dark' },
  phone: { viewport: { width: 390, height: 844 }, colorScheme: 'light', hasTouch: true, isMobile: true },
};

let url: string;
/** Of a gateway that asks for tokens. */
let guarded: string;
let stopTraffic: () => Promise<void>;

/** A fleet of two with a day's mixture of executions: ended, failed, cancelled, waiting for an answer, speaking. */
beforeAll(async () => {
  mkdirSync(images, { recursive: true });
  const bus = await startBroker('nats');
  const [one, two] = [
    await startGateway(bus, { WEFT_INSTANCE: 'gateway-a' }),
    await startGateway(bus, { WEFT_INSTANCE: 'gateway-b' }),
  ];
  await startExecutor({ bus });
  url = (await front([one.address, two.address])).url;
  const port = await freePort();
  const guard = await startGateway('memory:', { ...asking(), WEFT_ORIGINS: `http://127.0.0.1:${port}` });
  guarded = (await front([guard.address], { port })).url;
  const ask = async (path: string, body: object) => {
    const headers = { 'content-type': 'application/json' };
    const answer = await fetch(`${one.http}${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
    return answer.status === 202;
  };
  const run = (workflow: string, executionId: string, userId: string, inputs: object = {}) =>
    until(() => ask(`/api/workflows/${workflow}/execute`, { executionId, userId, inputs }), `${workflow} is begun`);
  await run('build-and-test', 'build-4711', 'ada');
  await run('demo', 'demo-17', 'grace');
  await run('http-check', 'check-staging', 'ops', { url: 'http://127.0.0.1:9/health' });
  await run('story', 'story-ferry', 'ada');
  await sleep(1500);
  await until(() => ask('/api/executions/story-ferry/cancel', { reason: 'one story is enough' }), 'cancelled');
  await run('approval', 'rollout-v2', 'grace');
  const status = async (id: string) => (await (await fetch(`${one.http}/api/executions/${id}`)).json()).status;
  for (const id of ['build-4711', 'demo-17', 'check-staging'])
    await until(async () => /completed|failed/.test(await status(id)), `${id} has ended`, 60_000);
  await run('story', 'story-lighthouse', 'ada');
  await sleep(2500);
  // The fleet's curves need some traffic.
  let isOver = false;
  const traffic = (async () => {
    for (let n = 0; !isOver; n++) {
      const events = Array.from({ length: 20 + (n % 30) }, (_, m) => ({
        type: 'log',
        executionId: 'nightly-import',
        workflowId: 'import',
        userId: 'ops',
        data: { level: m === 7 ? 'warning' : 'info', message: `imported record ${n * 50 + m}`, nodeId: 'load' },
      }));
      await publish(one.http, events);
      await sleep(300);
    }
  })();
  await publish(one.http, {
    type: 'execution:started',
    executionId: 'nightly-import',
    workflowId: 'import',
    userId: 'ops',
  });
  // Somebody who follows it, for the deliveries.
  await open(`${url}#/executions/nightly-import`);
  stopTraffic = () => {
    isOver = true;
    return traffic;
  };
});
afterAll(async () => {
  await stopTraffic?.();
  await endAll();
  await endBrowser();
});

/** The pages, and when each is complete. */
const PAGES: Record<string, { path: string; ready: (page: Page) => Promise<unknown>; isRefused?: true }> = {
  executions: { path: '#/', ready: page => page.getByRole('row', { name: /demo-17/ }).waitFor() },
  execution: {
    path: '#/executions/demo-17',
    ready: page => page.getByRole('option', { name: /words in all/ }).waitFor(),
  },
  node: {
    path: '#/executions/demo-17',
    ready: async page => {
      await page.getByRole('button', { name: 'collect', exact: true }).click();
      await page.getByRole('option', { name: /collected part 4/ }).waitFor();
    },
  },
  prompt: {
    path: '#/executions/rollout-v2',
    ready: page => page.getByRole('form', { name: 'A question of the execution' }).waitFor(),
  },
  failed: {
    path: '#/executions/check-staging',
    ready: async page => {
      await page.getByRole('option').first().waitFor();
      await page.getByRole('option', { name: /execution failed/ }).click();
      await page.locator('aside.details').waitFor();
    },
  },
  fleet: {
    path: '#/fleet',
    ready: async page => {
      await page.getByRole('row', { name: /gateway-b/ }).waitFor();
      await page.getByText('build-and-test').waitFor();
    },
  },
  start: {
    path: '#/',
    ready: async page => {
      await page.getByRole('button', { name: 'Start a workflow' }).first().click();
      await page.getByRole('dialog').getByRole('button', { name: 'approval' }).click();
      await page.getByRole('dialog').getByLabel('change').waitFor();
    },
  },
  'sign-in': {
    path: '#/',
    isRefused: true,
    ready: async page => {
      await page.getByLabel(/This gateway asks for a token/).fill('a token of somebody else');
      await page.keyboard.press('Enter');
      await page.getByLabel(/The gateway does not take this token/).waitFor();
    },
  },
};

interface Found {
  id: string;
  impact: string;
  nodes: { html: string; failureSummary: string }[];
}

/** Serious findings of an accessibility scan. */
async function scan(page: Page): Promise<string[]> {
  await page.evaluate(axe);
  const { violations: found, passes } = (await page.evaluate('axe.run()')) as { violations: Found[]; passes: Found[] };
  // A scan that has looked at nothing finds nothing.
  expect(passes.length).toBeGreaterThan(20);
  return found
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(
      ({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join('\n')}`,
    );
}

/** What is not, or not all of it, within the screen's width. */
async function unseen(page: Page, selector: string): Promise<string[]> {
  const places = await page.locator(selector).evaluateAll(found =>
    found.map(element => {
      const { left, right, width } = element.getBoundingClientRect();
      return { name: element.getAttribute('data-name') ?? '', isSeen: width > 0 && left >= 0 && right <= innerWidth };
    }),
  );
  expect(places.length).toBeGreaterThan(0);
  return places.filter(({ isSeen }) => !isSeen).map(({ name }) => name);
}

describe.each(Object.keys(LOOKS))('%s', look => {
  test.each(Object.keys(PAGES))('%s: nothing serious is found, and it is as wide as the screen', async name => {
    const { path, ready, isRefused } = PAGES[name] as (typeof PAGES)[string];
    const { page, faults } = await open((isRefused ? guarded : url) + path, {
      ...LOOKS[look],
      ...(look !== 'phone' && TALL[name] && { viewport: { ...DESKTOP.viewport, height: TALL[name] } }),
      reducedMotion: 'reduce',
    });
    if (!isRefused) await live(page);
    await ready(page);
    // Curves of the fleet need a few samples.
    if (name === 'fleet') await sleep(look === 'light' ? 26_000 : 11_000);
    expect(await scan(page)).toEqual([]);
    const width = page.viewportSize()?.width ?? 0;
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
    if (name === 'fleet' && look === 'phone') expect(await unseen(page, '.gateways [data-name]')).toEqual([]);
    const file = `${images}console-${name}-${look}.png`;
    await page.mouse.move(0, 0);
    await page.screenshot({ path: file, animations: 'disabled' });
    expect(statSync(file).size).toBeLessThan(IMAGE_BYTES_MAX);
    expect(faults).toEqual([]);
    await page.context().close();
  });
});
