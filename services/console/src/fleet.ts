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

/** Samples kept: at one each five seconds, ten minutes. */
const SAMPLES_MAX = 120;

export function totalsOf(gateways: readonly Gateway[]): Totals {
  const sum = (figure: Figure) => gateways.reduce((all, gateway) => all + (Number(gateway[figure]) || 0), 0);
  return Object.fromEntries(FIGURES.map(figure => [figure, sum(figure)])) as Totals;
}

/** Remembers the totals, the newest last. */
export const remember = (before: readonly Totals[], now: Totals): readonly Totals[] =>
  [...before, now].slice(-SAMPLES_MAX);

/** The points of a small curve in a box of 100 by 24, where the lowest value is 0. */
export function curve(values: readonly number[]): string {
  const top = Math.max(...values, 1);
  const step = 100 / Math.max(1, values.length - 1);
  return values.map((value, index) => `${(index * step).toFixed(1)},${(23 - (22 * value) / top).toFixed(1)}`).join(' ');
}

/** `12`, `12.3`, `1,234`, `12.3k`, `1.2M`: at most five characters. */
export function short(value: number): string {
  if (value >= 999_950) return `${(value / 1e6).toFixed(1)}M`;
  if (value >= 10_000) return `${(value / 1e3).toFixed(1)}k`;
  if (value >= 1000) return Math.round(value).toLocaleString('en');
  return `${Math.round(value * 10) / 10}`;
}
