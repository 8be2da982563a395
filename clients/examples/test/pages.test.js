/**
 * The example front ends over real gateways: opened late, opened after the end, answering and cancelling, with requests
 * of one session at both gateways, and with their gateway killed under them; and what a browser does with a cookie. Once on
 * each broker.
 *
 * `WEFT_TEST_BUS` names one broker alone, or says `turns`: then every test runs once, by turns on one broker and the other.
 * `WEFT_TEST_PART` is what the names of the tests contain; with `WEFT_TEST_FULL=1` gateways are also killed again and again,
 * and leave as in a deployment.
 */
import { after, before, describe, it } from 'node:test';
import { withoutAffinity } from './parts/apart.js';
import { commands } from './parts/commands.js';
import { cookies } from './parts/cookies.js';
import { killed, killedMore } from './parts/killed.js';
import { late } from './parts/late.js';
import { openBrowser } from './rig/browser.js';
import { startFleet } from './rig/fleet.js';
import { endAll } from './rig/processes.js';

const { WEFT_TEST_BUS: only, WEFT_TEST_PART: part = '', WEFT_TEST_FULL: full } = process.env;
const inTurns = only === 'turns';
const buses = only && !inTurns ? [only] : ['nats', 'redis'];
const all = [...late, ...commands, ...cookies, ...withoutAffinity, ...killed, ...(full ? killedMore : [])];
const chosen = all.filter(([name]) => name.includes(part));
if (chosen.length === 0) throw new Error(`no test has ${part} in its name`);

after(endAll);

/** The chosen tests on one broker; by turns, those that are its. */
function on(bus) {
  // Most of the time of a test is spent waiting for clients to come back.
  describe(bus, { timeout: 580_000, concurrency: inTurns ? 2 : 3 }, () => {
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
    const place = buses.indexOf(bus);
    for (const [name, run] of chosen.filter((_, index) => !inTurns || index % buses.length === place)) {
      it(name, { timeout: 90_000 }, async () => {
        const opened = [];
        /** Ends it with the test. */
        const ends = (thing, end) => {
          opened.push(() => end(thing));
          return thing;
        };
        const open = async (...what) => ends(await rig.browser.open(...what), shown => shown.close());
        try {
          await run({ ...rig, open, ends });
        } finally {
          for (const end of opened.reverse()) await end();
        }
      });
    }
  });
}

if (inTurns) {
  describe('by turns', { concurrency: buses.length }, () => buses.forEach(on));
} else {
  buses.forEach(on);
}
