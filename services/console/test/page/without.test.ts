/** A gateway that was built where nobody had built the console: it works, and says so. `test.sh --full` builds one. */
import { afterAll, afterEach, expect, test } from 'vitest';
import { endAll, until } from '../../../../clients/typescript/test/rig/index.js';
import { startGateway } from '../../../../clients/typescript/test/rig/processes.js';
import { endBrowser, open } from './rig.js';

afterEach(endAll);
afterAll(endBrowser);

test('its log and its page say that the console is not in it, and the page follows an execution', async () => {
  const program = process.env.WEFT_TEST_GATEWAY_WITHOUT_CONSOLE;
  if (!program) throw new Error('WEFT_TEST_GATEWAY_WITHOUT_CONSOLE names no gateway: ./test.sh --full builds one');
  const gateway = await startGateway('memory:', { WEFT_LOG: 'info' }, program);
  await until(
    () => gateway.said().includes('console=false'),
    () => gateway.said(),
  );
  const { page, faults } = await open(`${gateway.http}/`);
  await page.getByText('This is the small page.').waitFor();
  await page.getByText('services/console/build.sh').waitFor();
  await page.getByRole('textbox', { name: /Execution id/ }).fill('exec-1');
  await page.getByRole('button', { name: 'Follow' }).click();
  await page.getByText(/^last subscribe: /).waitFor();
  await gateway.publish({ type: 'log', executionId: 'exec-1', data: { level: 'info', message: 'all the same' } });
  await page.getByText('all the same').first().waitFor();
  expect((await fetch(`${gateway.http}/assets/index.js`)).status).toBe(404);
  expect(faults).toEqual([]);
});
