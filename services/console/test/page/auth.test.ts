/** The page at gateways that ask for tokens. */
import type { Page } from 'playwright-core';
import { afterAll, afterEach, expect, test } from 'vitest';
import { endAll, log } from '../../../../clients/typescript/test/rig/index.js';
import { freePort, type GatewayProcess, startGateway } from '../../../../clients/typescript/test/rig/processes.js';
import { asking, publisher, signed, tokenOf } from '../../../../clients/typescript/test/rig/tokens.js';
import { endBrowser, front, live, type Opened, open, startExecutor } from './rig.js';

afterEach(endAll);
afterAll(endBrowser);

/** A gateway that asks for tokens, with an executor, and the page before it. */
async function begin(): Promise<Opened & { gateway: GatewayProcess; url: string }> {
  const port = await freePort();
  const gateway = await startGateway('memory:', { ...asking(), WEFT_ORIGINS: `http://127.0.0.1:${port}` });
  const service = tokenOf('worker', 3600, { scope: 'events:publish executions:run' });
  await startExecutor({ gateway: gateway.http, token: service });
  const { url } = await front([gateway.address], { port });
  return { gateway, url, ...(await open(url)) };
}

async function give(page: Page, token: string, words = /This gateway asks for a token/): Promise<void> {
  const field = page.getByLabel(words);
  await field.fill(token);
  await page.keyboard.press('Enter');
}

test('who has a token starts a workflow and sees what is theirs; the token is nowhere but in the tab', async () => {
  const { gateway, page, faults } = await begin();
  const asked: string[] = [];
  page.on('request', request => asked.push(request.url()));
  page.on('websocket', socket => asked.push(socket.url()));
  await gateway.publish(
    [log('hers', 'one', { userId: 'ada' }), log('his', 'secret of bob', { userId: 'bob' })],
    publisher(),
  );
  const token = tokenOf('ada');
  await give(page, token);
  await live(page);
  await page.getByRole('row', { name: /hers/ }).waitFor();
  expect(await page.getByRole('row', { name: /his/ }).count()).toBe(0);
  await page.getByRole('button', { name: 'Start a workflow' }).first().click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('button', { name: 'approval' }).click();
  await dialog.getByLabel('change').fill('Paint it blue');
  await dialog.getByRole('button', { name: 'Start' }).click();
  await page.getByRole('form', { name: 'A question of the execution' }).getByRole('button', { name: 'Yes' }).click();
  await page.locator('.head .status.completed').waitFor();
  // What is another's is as if it were not.
  await page.goto(`${page.url().split('#')[0]}#/executions/his`);
  await page.reload();
  await live(page);
  expect(await page.getByText('secret of bob').count()).toBe(0);
  // The fleet is for who sees all.
  await page.getByRole('link', { name: 'Fleet' }).click();
  await page.getByRole('alert').getByText('You may not see this').waitFor();
  const [signature = ''] = token.split('.').slice(-1);
  expect(asked.join()).not.toContain(signature);
  expect(await page.evaluate(() => [JSON.stringify(localStorage), document.cookie].join())).not.toContain(signature);
  expect(faults).toEqual([]);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel(/This gateway asks for a token/).waitFor();
  expect(await page.evaluate(() => sessionStorage.length)).toBe(0);
});

test('a token that is refused, and one that expires, are asked for again, with the reason', async () => {
  const { gateway, page } = await begin();
  await gateway.publish(log('e', 'line 0', { userId: 'ada' }), publisher());
  await give(page, signed({ sub: 'ada', exp: 4_000_000_000 }, 'the secret of somebody else, just as long'));
  await page.locator('.badge[data-state="failed"]').waitFor();
  await give(page, tokenOf('ada', 6), /The gateway does not take this token/);
  await live(page);
  // It is about to expire from the beginning; what is given now takes its place without a line lost.
  await page.goto(`${page.url().split('#')[0]}#/executions/e`);
  await page.getByRole('option', { name: /line 0/ }).waitFor();
  await give(page, tokenOf('ada', 8), /expires within 30 seconds/);
  await live(page);
  await gateway.publish(log('e', 'line 1', { userId: 'ada' }), publisher());
  await page.getByRole('option', { name: /line 1/ }).waitFor();
  await page.locator('.badge[data-state="failed"]').waitFor();
  await gateway.publish(log('e', 'line 2', { userId: 'ada' }), publisher());
  await give(page, tokenOf('ada'), /The gateway does not take this token/);
  await live(page);
  await page.getByRole('option', { name: /line 2/ }).waitFor();
  await page.getByRole('heading', { name: 'Log 3' }).waitFor();
});

test('an operator sees all of the tenant, and the fleet', async () => {
  const { gateway, page } = await begin();
  await gateway.publish(log('hers', 'one', { userId: 'ada' }), publisher());
  await give(page, tokenOf('ops', 3600, { scope: 'admin' }));
  await live(page);
  await page.getByRole('row', { name: /hers/ }).waitFor();
  await page.getByRole('link', { name: 'Fleet' }).click();
  await page.getByText('● alive').waitFor();
});
