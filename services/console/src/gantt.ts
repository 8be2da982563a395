/** When nodes ran, as bars on an axis of time. */
import { isTerminal, type NodeState, type Status } from '@weft/client';

/** One try of a node. */
export interface Attempt {
  status: Status;
  startedAt: string | null;
  completedAt: string | null;
}

/** What is shown of a status: also that a node never told its end, though its execution has ended. */
export type Shown = Status | 'unfinished';

export interface Bar {
  /** Of the whole axis, 0 to 100. */
  left: number;
  width: number;
  status: Shown;
}

export interface Row {
  id: string;
  node: NodeState;
  status: Shown;
  attempts: number;
  bars: Bar[];
  /** Of the last attempt; none where its times are not known. */
  durationMs: number | undefined;
}

/** From the end of a node to the beginning of one that waited for it. */
export interface Edge {
  /** Rows, from 0. */
  from: number;
  to: number;
  /** Of the whole axis, 0 to 100. */
  ends: number;
  begins: number;
}

export interface Chart {
  rows: Row[];
  edges: Edge[];
  /** Length of the axis. */
  spanMs: number;
  ticks: { left: number; label: string }[];
}

/** Bars stay visible however short. */
const WIDTH_MIN = 0.4;
const STEPS_MS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 18e5, 36e5];

const timeOf = (text: string | null | undefined): number => Date.parse(text ?? '');

/**
 * Draws nodes over time, those that began first at the top. Of retried nodes earlier attempts are drawn too, as far as
 * their events are still held. `ended` is when the execution has, in milliseconds: not a number where no clock has told it.
 */
export function chartOf(
  nodes: Readonly<Record<string, NodeState>>,
  attempts: ReadonlyMap<string, readonly Attempt[]>,
  ended: number | undefined,
  now: number,
  needs: ReadonlyMap<string, readonly string[]> = new Map(),
): Chart {
  const tries = Object.entries(nodes).map(([id, node]) => {
    const known = attempts.get(id);
    return { id, node, of: known && known.length > 0 ? known : [node] };
  });
  const times = tries.flatMap(({ of }) =>
    of.flatMap(({ startedAt, completedAt }) => [timeOf(startedAt), timeOf(completedAt)]),
  );
  // Thousands of them: too many for the arguments of one call.
  let [start, last] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const time of times) {
    if (time < start) start = time;
    if (time > last) last = time;
  }
  if (start > last) [start, last] = [now, now];
  const isOver = ended !== undefined;
  const shown = (status: Status): Shown => (isOver && !isTerminal(status) ? 'unfinished' : status);
  const isUnfinished = tries.some(({ of }) => of.some(({ status }) => shown(status) === 'unfinished'));
  // What told no end went on until the execution's, as far as that is known.
  const until = isOver ? (isUnfinished ? ended : Number.NaN) : now;
  const end = Number.isNaN(until) ? last : Math.max(last, until);
  const spanMs = Math.max(1, end - start);
  const percent = (at: number) => (100 * (at - start)) / spanMs;
  const rows = tries.map(({ id, node, of }) => {
    const spans = of
      .map(attempt => spanOf(attempt, Number.isNaN(until) ? end : until))
      .filter(span => span !== undefined);
    const bars = spans.map(({ from, to, status }) => {
      const width = Math.max(WIDTH_MIN, percent(to) - percent(from));
      return { left: Math.min(percent(from), 100 - width), width, status: shown(status) };
    });
    const final = spans.at(-1);
    const status = shown(node.status);
    const durationMs = final && !(status === 'unfinished' && Number.isNaN(until)) ? final.to - final.from : undefined;
    return { id, node, status, attempts: of.length, bars, durationMs, from: spans[0]?.from };
  });
  // Sorting is stable: nodes that never began keep their order, below.
  rows.sort((one, other) => (one.from ?? Number.MAX_SAFE_INTEGER) - (other.from ?? Number.MAX_SAFE_INTEGER));
  const drawn = rows.map(({ from: _, ...row }) => row);
  return { rows: drawn, edges: edgesOf(drawn, needs), spanMs, ticks: ticksOf(spanMs) };
}

/** Between nodes that have both begun: others have no place on the axis. */
function edgesOf(rows: readonly Row[], needs: ReadonlyMap<string, readonly string[]>): Edge[] {
  if (needs.size === 0) return [];
  const places = new Map(rows.map(({ id }, place) => [id, place]));
  return rows.flatMap(({ id, bars }, to) =>
    (needs.get(id) ?? []).flatMap(needed => {
      const from = places.get(needed);
      const last = from === undefined ? undefined : rows[from]?.bars.at(-1);
      if (from === undefined || !last || !bars[0]) return [];
      return { from, to, ends: Math.min(last.left + last.width, bars[0].left), begins: bars[0].left };
    }),
  );
}

/**
 * The way of an edge in pixels: down from the end of the bar, along the upper side of the row that waited, and to the top of its
 * bar, with the head of an arrow. Up and from below where the waiting row stands higher.
 */
export function edgePath(edge: Edge, width: number, row: number, barHalf: number, head: number): string {
  const middle = (place: number) => (place + 0.5) * row;
  const down = edge.to > edge.from ? 1 : -1;
  const x = (percent: number) => +((percent * width) / 100).toFixed(1);
  // Within the bar, however short it is; and straight where nobody could see a bend.
  const to = x(edge.begins) + 1;
  const from = Math.abs(to - x(edge.ends)) < 3 ? to : x(edge.ends);
  const along = middle(edge.to) - (down * row) / 2;
  const end = middle(edge.to) - down * (barHalf + 1);
  const back = end - down * head;
  return `M${from} ${middle(edge.from)}V${along}H${to}V${end}M${to - head} ${back}L${to} ${end}L${to + head} ${back}`;
}

function spanOf({ status, startedAt, completedAt }: Attempt, end: number) {
  const [from, done] = [timeOf(startedAt), timeOf(completedAt)];
  if (Number.isNaN(from)) return undefined;
  return { from, to: Math.max(from, Number.isNaN(done) ? end : done), status };
}

function ticksOf(spanMs: number): Chart['ticks'] {
  const step = STEPS_MS.find(ms => spanMs / ms <= 4) ?? Math.ceil(spanMs / 4 / 36e5) * 36e5;
  const count = Math.floor(spanMs / step);
  return Array.from({ length: count + 1 }, (_, n) => ({ left: (100 * n * step) / spanMs, label: tickLabel(n * step) }));
}

function tickLabel(ms: number): string {
  if (ms === 0) return '0';
  if (ms < 1000) return `${ms} ms`;
  if (ms < 60_000) return `${ms / 1000} s`;
  const minutes = ms / 60_000;
  return minutes < 60 ? `${+minutes.toFixed(1)} min` : `${+(minutes / 60).toFixed(1)} h`;
}
