/** The gateways, as the fleet tells of them. */

export interface Gateway {
  id: string;
  address: string;
  version: string;
  startedAt: string;
  connections: number;
  rooms: number;
  eventsPerSecond: number;
  deliveriesPerSecond: number;
  draining: boolean;
}

export const FIGURES = ['connections', 'rooms', 'eventsPerSecond', 'deliveriesPerSecond'] as const;
export type Figure = (typeof FIGURES)[number];
export type Totals = Record<Figure, number>;

/** The totals at a time, in milliseconds. */
export interface Sample {
  at: number;
  totals: Totals;
}

/** Samples kept: at one each five seconds, ten minutes. */
const SAMPLES_MAX = 120;

export function totalsOf(gateways: readonly Gateway[]): Totals {
  const sum = (figure: Figure) => gateways.reduce((all, gateway) => all + (Number(gateway[figure]) || 0), 0);
  return Object.fromEntries(FIGURES.map(figure => [figure, sum(figure)])) as Totals;
}

/** Remembers a sample, the newest last. */
export const remember = (before: readonly Sample[], now: Sample): readonly Sample[] =>
  [...before, now].slice(-SAMPLES_MAX);

/** The upper end of a scale from 0 that has room for all of these: 1, 2 or 5, times a power of ten. */
export function topOf(values: readonly number[]): number {
  const most = Math.max(...values, 1);
  const unit = 10 ** Math.floor(Math.log10(most));
  return ([1, 2, 5].find(step => step * unit >= most) ?? 10) * unit;
}

/** A figure over time, drawn in a box of 100 by 40 from 0 to `top`: a sample stands where its time is. */
export function curve(samples: readonly Sample[], figure: Figure, top: number): string {
  const [first, last] = [samples[0]?.at ?? 0, samples.at(-1)?.at ?? 0];
  const x = (at: number) => (100 * (at - first)) / Math.max(1, last - first);
  const y = (value: number) => 39 - (38 * value) / top;
  return samples.map(({ at, totals }) => `${x(at).toFixed(1)},${y(totals[figure]).toFixed(1)}`).join(' ');
}

/** `12`, `12.3`, `1,234`, `12.3k`, `1.2M`: at most five characters. */
export function short(value: number): string {
  if (value >= 999_950) return `${(value / 1e6).toFixed(1)}M`;
  if (value >= 10_000) return `${(value / 1e3).toFixed(1)}k`;
  if (value >= 1000) return Math.round(value).toLocaleString('en');
  return `${Math.round(value * 10) / 10}`;
}
