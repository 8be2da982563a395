/** What the page says of its connection, at gateways that do as a test says, or where WebSockets do not get through. */
import { afterAll, afterEach, expect, test } from 'vitest';
import { endAll, ends, log, until } from '../../../../clients/typescript/test/rig/index.js';
import { startGateway } from '../../../../clients/typescript/test/rig/processes.js';
import { Scripted } from '../../../../clients/typescript/test/rig/scripted.js';
import { endBrowser, front, live, open, startExecutor } from './rig.js';

afterEach(endAll);
afterAll(endBrowser);

const scripted = async () => ends(await Scripted.start(), it => it.stop());

test('a gateway that wants a token is given the one that the reader types', async () => {
  const gateway = await scripted();
  gateway.onRequest = (request, response) => {
    if (request.headers.authorization === 'Bearer right') return false;
    response.writeHead(401, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ error: { code: 'unauthenticated', message: 'no token' } }));
    return true;
  };
  gateway.onConnect = connection => {
    const wait = setTimeout(() => connection.socket.close(4401), 50);
    gateway.onMessage = (from, message) => {
      if (from !== connection || message.type !== 'auth') return false;
      if (message.token !== 'right') connection.socket.close(4401);
      clearTimeout(wait);
      return false;
    };
  };
  const { page, faults } = await open((await front([gateway.address])).url);
  const field = page.getByLabel(/This gateway asks for a token/);
  await field.waitFor({ timeout: 60_000 });
  await page.locator('.badge[data-state="failed"]').getByText('Refused').waitFor();
  await field.fill(' right ');
  await page.keyboard.press('Enter');
  await live(page);
  await field.waitFor({ state: 'detached' });
  // It is in no address, and goes with the tab.
  expect(page.url()).not.toContain('right');
  expect(await page.evaluate(() => [JSON.stringify(localStorage), document.cookie].join())).not.toContain('right');
  expect(faults).toEqual([]);
});

test('a gateway that refuses the page for good is not asked again, and the reader can try', async () => {
  const gateway = await scripted();
  gateway.onConnect = connection => connection.socket.close(4403);
  const { page } = await open((await front([gateway.address])).url);
  await page.locator('.badge[data-state="failed"]').waitFor();
  await page.getByRole('alert').getByText('does not let this page connect').waitFor();
  const before = gateway.connections.length;
  await page.waitForTimeout(1500);
  expect(gateway.connections).toHaveLength(before);
  gateway.onConnect = undefined;
  await page.getByRole('button', { name: 'Retry' }).click();
  await live(page);
});

test('where WebSockets do not get through, the page lives on, and says by what', { timeout: 120_000 }, async () => {
  const gateway = await startGateway();
  await startExecutor({ gateway: gateway.http });
  await gateway.publish(log('e', 'line 0'));
  const { page } = await open(`${(await front([gateway.address], { webSockets: false })).url}#/executions/e`);
  await page
    .locator('.badge')
    .getByText(/^Live by (sse|poll)$/)
    .waitFor({ timeout: 60_000 });
  await gateway.publish([log('e', 'line 1'), log('e', 'line 2')]);
  await page.getByRole('option', { name: /line 2/ }).waitFor();
  await page.getByRole('heading', { name: 'Log 3' }).waitFor();
  // A prompt is answered there too, and an execution cancelled.
  const begin = async (workflow: string, executionId: string) => {
    const headers = { 'content-type': 'application/json' };
    const body = JSON.stringify({ executionId, inputs: workflow === 'approval' ? { change: 'Paint it blue' } : {} });
    const path = `${gateway.http}/api/workflows/${workflow}/execute`;
    await until(async () => (await fetch(path, { method: 'POST', headers, body })).status === 202, workflow);
    await page.goto(`${page.url().split('#')[0]}#/executions/${executionId}`);
  };
  await begin('approval', 'ask');
  await page.getByRole('form', { name: 'A question of the execution' }).getByRole('button', { name: 'Yes' }).click();
  await page.locator('.head .status.completed').waitFor();
  await begin('story', 'long');
  await page.getByRole('button', { name: 'Cancel', exact: true }).click();
  await page.getByRole('button', { name: 'Cancel the execution' }).click();
  await page.locator('.head .status.cancelled').waitFor();
  await page
    .locator('.badge')
    .getByText(/^Live by (sse|poll)$/)
    .waitFor();
});

test('an address that leads nowhere, and an id that is none, are told', async () => {
  const gateway = await startGateway();
  const { url } = await front([gateway.address]);
  const { page } = await open(`${url}#/nowhere`);
  await page.getByRole('heading', { name: 'There is no such page' }).waitFor();
  await page.goto(`${url}#/executions/no%20id`);
  await page.getByRole('heading', { name: 'This is no id' }).waitFor();
  await page.getByRole('link', { name: 'Executions', exact: true }).click();
  await page.getByText('Nothing has run yet.').waitFor();
  // No executor offers anything here.
  await page.getByRole('button', { name: 'Start a workflow' }).first().click();
  await page.getByText('No executor offers a workflow at the moment.').waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
});

test('the colours are chosen, and remembered', async () => {
  const gateway = await startGateway();
  const { page } = await open((await front([gateway.address])).url, { colorScheme: 'light' });
  const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const bright = await paper();
  await page.getByRole('button', { name: 'Colours: as the system' }).click();
  await page.getByRole('button', { name: 'Colours: light' }).click();
  await page.getByRole('button', { name: 'Colours: dark' }).waitFor();
  const dark = await paper();
  expect(dark).not.toBe(bright);
  await page.reload();
  await page.getByRole('button', { name: 'Colours: dark' }).waitFor();
  expect(await paper()).toBe(dark);
});
