/** A browser straight at a gateway, nothing in between: what it serves is the console that was built here. */
import { readFileSync } from 'node:fs';
import { afterAll, afterEach, expect, test } from 'vitest';
import { endAll, until } from '../../../../clients/typescript/test/rig/index.js';
import { startGateway } from '../../../../clients/typescript/test/rig/processes.js';
import { begin, dist, endBrowser, live, open, POLICY, startExecutor } from './rig.js';

afterEach(endAll);
afterAll(endBrowser);

test('the gateway has the console in it that was built last, file for file', async () => {
  const gateway = await startGateway('memory:', { WEFT_LOG: 'info' });
  await until(
    () => /console=(true|false)/.test(gateway.said()),
    () => gateway.said(),
  );
  const again = 'the gateway was built without this console: cargo build --package weft-gateway, after build.sh';
  expect(gateway.said(), again).toContain('console=true');
  const built = readFileSync(`${dist}index.html`, 'utf8');
  const index = await fetch(gateway.http);
  expect(await index.text(), again).toBe(built);
  expect(index.headers.get('cache-control')).toBe('no-cache');
  const assets = [...built.matchAll(/"\.\/(assets\/[^"]+)"/g)].map(([, path]) => path as string);
  expect(assets.length).toBeGreaterThanOrEqual(3);
  for (const path of assets) {
    const answer = await fetch(`${gateway.http}/${path}`);
    expect(Buffer.from(await answer.arrayBuffer()).equals(readFileSync(dist + path)), path).toBe(true);
    expect(answer.headers.get('cache-control')).toContain('immutable');
    expect(answer.headers.get('content-security-policy')).toBe(POLICY);
  }
  expect((await fetch(`${gateway.http}/assets/none-00000000.js`)).status).toBe(404);
});

test('at / a reader sees the list, opens an execution, starts another and answers it', async () => {
  const gateway = await startGateway();
  await startExecutor({ gateway: gateway.http });
  const of = (type: string, more: object = {}) => ({ type, executionId: 'exec-1', workflowId: 'import', ...more });
  await gateway.publish([
    of('execution:started'),
    of('node:started', { nodeId: 'load' }),
    of('log', { data: { level: 'info', message: 'twelve records', nodeId: 'load' } }),
  ]);
  const { page, faults } = await open(`${gateway.http}/`);
  await live(page);
  expect(await page.title()).toBe('Executions · Weft');
  await page.getByRole('link', { name: 'exec-1' }).click();
  await page.getByRole('option', { name: /twelve records/ }).waitFor();
  await page.getByRole('button', { name: 'load', exact: true }).waitFor();
  await gateway.publish(of('execution:completed', { data: { result: 12 } }));
  await page.locator('.head .status.completed').waitFor();

  await page.getByRole('link', { name: 'Executions', exact: true }).click();
  await page.getByRole('row', { name: /completed .*exec-1/ }).waitFor();
  await begin(page, 'approval');
  await page.getByRole('form', { name: 'A question of the execution' }).getByRole('button', { name: 'Yes' }).click();
  await page.locator('.head .status.completed').waitFor();
  // Nothing was refused by the policy that the gateway itself sends.
  expect(faults).toEqual([]);
});

test('the small page stays where it is, and says what it is', async () => {
  const gateway = await startGateway();
  const { page, faults } = await open(`${gateway.http}/page`);
  await page.getByText('This is the small page.').waitFor();
  expect(faults).toEqual([]);
});
