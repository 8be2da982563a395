/**
 * The example front ends over real gateways: opened late, opened after the end, answering and cancelling, and with their
 * gateway killed under them. Once on each broker; `WEFT_TEST_BUS` names one alone.
 */
import { after, before, describe, it } from 'node:test';
import { commands } from './parts/commands.js';
import { killed } from './parts/killed.js';
import { late } from './parts/late.js';
import { openBrowser } from './rig/browser.js';
import { startFleet } from './rig/fleet.js';

const buses = process.env.WEFT_TEST_BUS ? [process.env.WEFT_TEST_BUS] : ['nats', 'redis'];

for (const bus of buses) {
  describe(bus, { timeout: 300_000 }, () => {
    const rig = {};
    before(async () => {
      rig.browser = await openBrowser();
      rig.fleet = await startFleet(bus);
      rig.pair = await rig.fleet.pair();
    });
    after(async () => {
      await rig.pair?.stop();
      await rig.fleet?.stop();
      await rig.browser?.close();
    });
    for (const [name, run] of [...late, ...commands, ...killed]) {
      it(name, { timeout: 90_000 }, async () => {
        const opened = [];
        /** Ends it with the test. */
        const ends = (thing, end) => {
          opened.push(() => end(thing));
          return thing;
        };
        const open = async (page, query) => ends(await rig.browser.open(page, query), shown => shown.close());
        try {
          await run({ ...rig, open, ends });
        } finally {
          for (const end of opened.reverse()) await end();
        }
      });
    }
  });
}
