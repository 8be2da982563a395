/** A person starts workflows from the page, watches, answers and cancels. A real gateway, a real executor, a real browser. */
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import { endAll, until } from '../../../../clients/typescript/test/rig/index.js';
import { type GatewayProcess, startGateway } from '../../../../clients/typescript/test/rig/processes.js';
import { begin, endBrowser, front, live, type Opened, open, startExecutor } from './rig.js';

let gateway: GatewayProcess;
let opened: Opened;

beforeEach(async () => {
  gateway = await startGateway();
  await startExecutor({ gateway: gateway.http });
  opened = await open((await front([gateway.address])).url);
  await live(opened.page);
});
afterEach(async () => {
  expect(opened.faults).toEqual([]);
  await endAll();
});
afterAll(endBrowser);

test('a workflow is started, watched, and its prompt answered in place', async () => {
  const { page } = opened;
  await begin(page, 'approval', { change: 'Paint it blue' });
  const prompt = page.getByRole('form', { name: 'A question of the execution' });
  await prompt.getByText('Paint it blue?').waitFor();
  const row = (name: string) => page.getByRole('row').filter({ has: page.getByRole('button', { name, exact: true }) });
  await row('prepare').getByText('completed').waitFor();
  await row('approve').getByText('running').waitFor();
  await prompt.getByRole('button', { name: 'Yes' }).click();
  await prompt.waitFor({ state: 'detached' });
  await page.locator('.head .status.completed').waitFor();
  await row('apply').getByText('completed').waitFor();
  const lines = page.getByRole('listbox', { name: 'Lines of the log' });
  await lines.getByText('applied: Paint it blue').waitFor();

  // What waited for what is drawn, and told of the node that is chosen.
  expect(await page.locator('.edges path').count()).toBe(2);
  await page.getByRole('button', { name: 'approve', exact: true }).click();
  await page.getByRole('region', { name: 'approve' }).getByText('After prepare').waitFor();
  expect(await page.locator('.edges path.selected').count()).toBe(2);

  // A node's lines alone: the chosen node and the filter go together, wherever they are ended.
  const prepare = page.getByRole('button', { name: 'prepare', exact: true });
  const isAlone = async () => {
    await lines.getByText('checking: Paint it blue').waitFor();
    await lines.getByText('applied:').waitFor({ state: 'detached' });
    await page.getByRole('region', { name: 'prepare' }).waitFor();
    expect(await prepare.getAttribute('aria-pressed')).toBe('true');
  };
  for (const end of ['Show all', 'Not only node prepare', 'Close the node', 'prepare']) {
    await prepare.click();
    await isAlone();
    await page.getByRole('button', { name: end, exact: true }).click();
    await lines.getByText('applied: Paint it blue').waitFor();
    await page.getByRole('region', { name: 'prepare' }).waitFor({ state: 'detached' });
    expect(await prepare.getAttribute('aria-pressed')).toBe('false');
    expect(await page.getByRole('button', { name: 'Show all' }).count()).toBe(0);
  }

  // What is searched for.
  await page.getByRole('searchbox', { name: 'Search in the log' }).fill('APPLIED');
  expect(await lines.getByRole('option').count()).toBe(1);
  expect(await lines.locator('mark').textContent()).toBe('applied');

  // A line's details by keyboard.
  await lines.focus();
  await page.keyboard.press('ArrowUp');
  await page.keyboard.press('Enter');
  await page.locator('aside.details').getByText('applied: Paint it blue', { exact: true }).waitFor();
  await page.keyboard.press('Escape');
  await page.locator('aside.details').waitFor({ state: 'detached' });

  // The list has it too, as it ended.
  await page.getByRole('link', { name: 'Executions', exact: true }).click();
  await page.getByRole('row', { name: /completed .* approval/ }).waitFor();
  expect(await page.locator('.badge .figure').textContent()).toMatch(/^[\d.]+ ms$/);
});

test('agents are read as they speak, and an execution is cancelled', async () => {
  const { page } = opened;
  await begin(page, 'story', { hero: 'a patient ferry' });
  await page
    .getByRole('article', { name: /Narrator/ })
    .getByText('There was once a patient')
    .waitFor();
  await page.getByRole('button', { name: 'Cancel', exact: true }).click();
  await page.getByRole('button', { name: 'Let it run' }).click();
  await page.getByRole('button', { name: 'Cancel', exact: true }).click();
  await page.getByRole('button', { name: 'Cancel the execution' }).click();
  await page.locator('.head .status.cancelled').waitFor();
  await page.getByText('cancelled from the console').first().waitFor();
  expect(await page.getByRole('button', { name: 'Cancel', exact: true }).count()).toBe(0);
  expect(await page.getByText('is speaking').count()).toBe(0);
});

test('a reader who scrolls up stays there, is told what is new, and goes back to the end', async () => {
  const { page } = opened;
  const numbered = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, n) => ({
      type: 'log',
      executionId: 'many',
      data: { level: n % 10 === 0 ? 'warning' : 'info', message: `line ${from + n}` },
    }));
  await gateway.publish(numbered(0, 500));
  await page.goto(`${page.url().split('#')[0]}#/executions/many`);
  const lines = page.getByRole('listbox', { name: 'Lines of the log' });
  await lines.getByText('line 499', { exact: true }).waitFor();
  // Only what is seen is drawn.
  expect(await lines.getByRole('option').count()).toBeLessThan(150);
  await lines.hover();
  await page.mouse.wheel(0, -2000);
  const follow = page.getByRole('button', { name: 'Follow' });
  await page.locator('button[aria-pressed="false"]', { hasText: 'Follow' }).waitFor();
  const top = await lines.evaluate(element => element.scrollTop);
  await gateway.publish(numbered(500, 700));
  await page.getByRole('button', { name: '200 new lines' }).waitFor();
  expect(await lines.evaluate(element => element.scrollTop)).toBe(top);
  await page.getByRole('button', { name: '200 new lines' }).click();
  await lines.getByText('line 699', { exact: true }).waitFor();
  expect(await follow.getAttribute('aria-pressed')).toBe('true');
  await gateway.publish(numbered(700, 720));
  await lines.getByText('line 719', { exact: true }).waitFor();
  // Levels.
  await page.getByRole('button', { name: /^Info/ }).click();
  await page.getByRole('heading', { name: /Log 72 of 720/ }).waitFor();
});

test('older executions are listed as somebody asks for more, past what a gateway lists at once', async () => {
  const { page } = opened;
  const begin = (n: number) => ({ type: 'execution:started', executionId: `run-${n}`, data: {} });
  for (let n = 0; n < 230; n += 10) await gateway.publish(Array.from({ length: 10 }, (_, m) => begin(n + m)));
  // A gateway lists them a moment after it has stored the event.
  const isListed = async (n: number) => (await fetch(`${gateway.http}/api/executions/run-${n}`)).ok;
  for (let n = 0; n < 230; n += 1) await until(() => isListed(n), `run-${n} is listed`);
  await page.reload();
  await page.getByRole('link', { name: 'run-229' }).waitFor();
  const rows = page.locator('table.executions tbody tr');
  const more = page.getByRole('button', { name: 'Show more' });
  for (const count of [50, 100, 150, 200]) {
    await page.getByText(`The newest ${count} are listed.`).waitFor();
    expect(await rows.count()).toBe(count);
    await more.click();
  }
  await page.getByRole('link', { name: 'run-0', exact: true }).waitFor();
  expect(await rows.count()).toBe(230);
  expect(await more.count()).toBe(0);
});
