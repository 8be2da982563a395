/** The lines of a log: bounded, and those that a filter admits, kept up to date as lines come. */
import type { Level, OtherEvent, WeftEvent } from '@weft/client';

/** A line's kind: a level, or `event` for what happened to the execution and its nodes. */
export type Kind = Level | 'event';
export const KINDS: readonly Kind[] = ['error', 'warning', 'info', 'debug', 'event'];

export interface Line {
  /** Numbers the lines from 0, also those no longer kept. */
  key: number;
  kind: Kind;
  message: string;
  nodeId: string | undefined;
  timestamp: string | undefined;
  /** What it was made of; none for what the page itself says. */
  event: WeftEvent | OtherEvent | undefined;
}

export interface Filter {
  kinds: ReadonlySet<Kind>;
  /** Contained in the message or the node's id, in whatever case; empty admits all. */
  text: string;
  /** Only of this node. */
  nodeId: string | undefined;
}

export const NO_FILTER: Filter = { kinds: new Set(KINDS), text: '', nodeId: undefined };

/** Lines kept. The oldest are left out, and their number is told. */
export const LINES_MAX = 200_000;
/** Characters of their messages, so that few and long ones have a bound as well. */
const CHARS_MAX = 100_000_000;

export class Lines {
  readonly #max: number;
  #all: Line[] = [];
  #count = 0;
  #chars = 0;
  #filter = NO_FILTER;
  #wanted = '';
  /** Keys of the lines that the filter admits; none while it admits all. */
  #admitted: number[] | undefined;
  #counts: Record<Kind, number> = { error: 0, warning: 0, info: 0, debug: 0, event: 0 };

  constructor(max = LINES_MAX) {
    this.#max = max;
  }

  /** Lines that the filter admits. */
  get length(): number {
    return this.#admitted?.length ?? this.#all.length;
  }

  /** Lines kept. */
  get kept(): number {
    return this.#all.length;
  }

  /** Older lines that are no longer kept. */
  get omitted(): number {
    return this.#count - this.#all.length;
  }

  /** The key of the next line. */
  get end(): number {
    return this.#count;
  }

  /** How many of each kind are kept. */
  get counts(): Readonly<Record<Kind, number>> {
    return this.#counts;
  }

  /** The nth line that the filter admits. */
  at(index: number): Line | undefined {
    if (!this.#admitted) return this.#all[index];
    const key = this.#admitted[index];
    return key === undefined ? undefined : this.#all[key - this.omitted];
  }

  /** Where the line of this key stands among those admitted, or where it would. */
  indexOf(key: number): number {
    return this.#admitted ? lowerBound(this.#admitted, key) : Math.max(0, key - this.omitted);
  }

  add(line: Omit<Line, 'key'>): void {
    const key = this.#count++;
    const kept = { ...line, key };
    this.#all.push(kept);
    this.#counts[line.kind] += 1;
    this.#chars += line.message.length;
    if (this.#admitted && this.#admits(kept)) this.#admitted.push(key);
    // Rarely and many at once: taking one line off a long list for each one added would be slow.
    if (this.#all.length > this.#max * 1.1 + 10 || this.#chars > CHARS_MAX) this.#trim();
  }

  set filter(filter: Filter) {
    this.#filter = filter;
    this.#wanted = filter.text.trim().toLowerCase();
    const all = this.#wanted === '' && filter.nodeId === undefined && filter.kinds.size === KINDS.length;
    this.#admitted = all ? undefined : this.#all.filter(line => this.#admits(line)).map(({ key }) => key);
  }

  clear(): void {
    this.#all = [];
    this.#count = 0;
    this.#chars = 0;
    this.#counts = { error: 0, warning: 0, info: 0, debug: 0, event: 0 };
    this.#admitted = this.#admitted && [];
  }

  /** All lines that the filter admits, as text. */
  text(): string {
    const of = (index: number) => {
      const { timestamp, kind, nodeId, message } = this.at(index) as Line;
      return [timestamp ?? '', kind, nodeId ?? '', message].join('\t');
    };
    return Array.from({ length: this.length }, (_, index) => of(index)).join('\n');
  }

  #admits({ kind, nodeId, message }: Line): boolean {
    const { kinds, nodeId: only } = this.#filter;
    if (!kinds.has(kind) || (only !== undefined && nodeId !== only)) return false;
    const wanted = this.#wanted;
    return wanted === '' || message.toLowerCase().includes(wanted) || (nodeId?.toLowerCase().includes(wanted) ?? false);
  }

  #trim(): void {
    const kept = this.#all.length;
    let [from, chars] = [0, this.#chars];
    // A tenth less than is allowed, or the next line would have it done again.
    while (from < kept && (kept - from > this.#max || chars > CHARS_MAX * 0.9)) {
      chars -= (this.#all[from++] as Line).message.length;
    }
    for (const { kind } of this.#all.splice(0, from)) this.#counts[kind] -= 1;
    this.#chars = chars;
    if (this.#admitted) this.#admitted.splice(0, lowerBound(this.#admitted, this.omitted));
  }
}

/** The first index whose number is not below `least`. */
function lowerBound(sorted: readonly number[], least: number): number {
  let [from, to] = [0, sorted.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if ((sorted[middle] as number) < least) from = middle + 1;
    else to = middle;
  }
  return from;
}

/** A text cut where it contains what is searched for, in turns: outside, inside, outside, … */
export function highlighted(text: string, wanted: string): string[] {
  const needle = wanted.trim().toLowerCase();
  const hay = text.toLowerCase();
  // In some scripts the lower case is longer; then positions would not fit.
  if (needle === '' || hay.length !== text.length) return [text];
  const parts: string[] = [];
  let from = 0;
  for (let at = hay.indexOf(needle); at >= 0 && parts.length < 100; at = hay.indexOf(needle, from)) {
    parts.push(text.slice(from, at), text.slice(at, at + needle.length));
    from = at + needle.length;
  }
  return [...parts, text.slice(from)];
}
