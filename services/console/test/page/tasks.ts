/** How long pages keep a processor, as the browser traces it. */
import type { Page } from 'playwright-core';
import { expect } from 'vitest';

/** What the tasks of pages took, in milliseconds of a processor: others that use the machine do not make them longer. */
export interface Tasks {
  longestMs: number;
  totalMs: number;
}

/** An event of a trace; times in microseconds. */
interface Traced {
  name?: string;
  ts: number;
  /** By the clock, and of a processor. */
  dur?: number;
  tdur?: number;
}

/** Notes the tasks of all pages, as the browser traces them; the answer ends that. */
export async function watchTasks(page: Page): Promise<() => Promise<Tasks>> {
  const browser = page.context().browser();
  if (!browser) throw new Error('the page has no browser');
  const session = await browser.newBrowserCDPSession();
  const events: Traced[] = [];
  session.on('Tracing.dataCollected', ({ value }) => events.push(...(value as unknown as Traced[])));
  const traceConfig = {
    includedCategories: ['disabled-by-default-devtools.timeline'],
    excludedCategories: ['*'],
    traceBufferSizeInKb: 400_000,
  };
  await session.send('Tracing.start', { traceConfig, transferMode: 'ReportEvents' });
  const began = performance.now();
  return async () => {
    const watchedMs = performance.now() - began;
    const complete = new Promise<{ dataLossOccurred: boolean }>(resolve =>
      session.once('Tracing.tracingComplete', resolve),
    );
    await session.send('Tracing.end');
    const { dataLossOccurred } = await complete;
    await session.detach();
    expect(dataLossOccurred, 'the trace has lost something').toBe(false);
    const tasks = events.filter(({ name }) => name === 'RunTask');
    expect(tasks.length, 'tasks were traced').toBeGreaterThan(10);
    const ms = tasks.map(({ tdur = 0 }) => tdur / 1000);
    const longestMs = ms.reduce((longest, one) => Math.max(longest, one), 0);
    expect(longestMs, 'a processor was used').toBeGreaterThan(0);
    const wallMs = tasks.reduce((longest, { dur = 0 }) => Math.max(longest, dur / 1000), 0);
    const [first, last] = tasks.reduce(
      ([from, to], { ts, dur = 0 }) => [Math.min(from, ts), Math.max(to, ts + dur)],
      [Number.POSITIVE_INFINITY, 0],
    );
    // Its buffer may have been full before the end.
    expect((last - first) / 1000, 'what happened is in the trace').toBeGreaterThan(0.8 * watchedMs);
    const long = ms.filter(one => one > 50).length;
    process.stdout.write(
      `longest task ${longestMs.toFixed(0)} ms of a processor (${wallMs.toFixed(0)} ms with what others took), ${long} over 50 ms\n`,
    );
    return { longestMs, totalMs: ms.reduce((sum, one) => sum + one, 0) };
  };
}
