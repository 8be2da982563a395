/** How values are written for people. */
import type { Gap } from '../core/event.js';

/** `0:07`, `12:34`, `1:02:03`; of a second or less the milliseconds. */
export function duration(ms: number): string {
  if (!Number.isFinite(ms) || ms < 0) return '';
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = Math.floor(ms / 1000);
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const two = (value: number) => String(value).padStart(2, '0');
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** From one RFC 3339 time to another, or to now; nothing where the first is not known. */
export function between(from: string | null | undefined, to: string | null | undefined, now: number): string {
  const start = Date.parse(from ?? '');
  const end = to ? Date.parse(to) : now;
  return Number.isNaN(start) || Number.isNaN(end) ? '' : duration(Math.max(0, end - start));
}

/** The time of day, to the millisecond. */
export function clock(timestamp: string | undefined): string {
  const at = new Date(timestamp ?? Number.NaN);
  if (Number.isNaN(at.getTime())) return '';
  const two = (value: number, digits = 2) => String(value).padStart(digits, '0');
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${two(at.getMilliseconds(), 3)}`;
}

/** Date and time as the reader's locale writes them, by the clock of 24 hours that a log has as well. */
export function dateTime(timestamp: string | null | undefined): string {
  const at = new Date(timestamp ?? Number.NaN);
  const shape = { dateStyle: 'medium', timeStyle: 'medium', hourCycle: 'h23' } as const;
  return Number.isNaN(at.getTime()) ? '' : at.toLocaleString(undefined, shape);
}

/** Any value as text; of an object its JSON. */
export function readable(value: unknown): string {
  if (typeof value === 'string') return value;
  return value === undefined ? '' : (JSON.stringify(value, null, 2) ?? '');
}

/** What terminals take for colours. */
const COLOURS = new RegExp(`${String.fromCharCode(27)}\\[[0-9;?]*[A-Za-z]`, 'g');

/** A message of a log without what is meant for a terminal. */
export const plain = (text: string): string => text.replace(COLOURS, '');

/** A message on the one line that a log has for it: each break is a sign, and the last one says nothing. */
export const oneLine = (text: string): string =>
  plain(text)
    .trimEnd()
    .replace(/\r\n?|\n/g, ' ⏎ ');

/** What stands in a log where events are gone for good. */
export const missing = ({ reason }: Gap): string => `Events are missing here (${reason}).`;
