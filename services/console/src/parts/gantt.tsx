/** The nodes of an execution over time. */
import { memo, type ReactNode, useId, useLayoutEffect, useRef, useState } from 'react';
import { type Chart, type Edge, edgePath, type Row } from '../gantt.js';
import { took } from '../times.js';
import { linesAt } from '../window.js';
import { Status } from './status.js';

/** Height of a row, and half of that of a bar in it; the style sheet has the same. */
const ROW_PX = 34;
const BAR_HALF_PX = 6;
/** How far the head of an arrow reaches to its sides, and back. */
const HEAD_PX = 3.5;

export interface GanttProps {
  chart: Chart;
  omitted: number;
  selected: string | undefined;
  select: (nodeId: string | undefined) => void;
}

export function Gantt({ chart, omitted, selected, select }: GanttProps): ReactNode {
  const title = useId();
  return (
    <section className="panel" aria-labelledby={title}>
      <h2 id={title}>
        Nodes <span className="figure quiet">{chart.rows.length || ''}</span>
      </h2>
      {chart.rows.length === 0 ? (
        <p className="quiet">None has begun.</p>
      ) : (
        <Rows chart={chart} selected={selected} select={select} />
      )}
      {omitted > 0 && <p className="quiet">{omitted} further nodes are not kept.</p>}
    </section>
  );
}

/** The table; of a thousand rows only those are drawn that are seen. */
function Rows({ chart, selected, select }: Omit<GanttProps, 'omitted'>): ReactNode {
  const scroller = useRef<HTMLDivElement>(null);
  const axis = useRef<HTMLTableCellElement>(null);
  const [seen, setSeen] = useState({ top: 0, height: 600 });
  const [place, setPlace] = useState({ left: 0, top: 0, width: 0 });
  const look = () => {
    const element = scroller.current;
    if (element) setSeen({ top: element.scrollTop, height: element.clientHeight });
  };
  useLayoutEffect(() => {
    const [element, cell] = [scroller.current, axis.current];
    if (!element || !cell) return;
    const sizes = new ResizeObserver(() => {
      setSeen({ top: element.scrollTop, height: element.clientHeight });
      setPlace({ left: cell.offsetLeft, top: cell.offsetHeight, width: cell.clientWidth });
    });
    sizes.observe(element);
    sizes.observe(cell);
    return () => sizes.disconnect();
  }, []);
  const count = chart.rows.length;
  const { from, to } = linesAt(seen.top, seen.height, count, ROW_PX);
  const selectedRow = selected === undefined ? -1 : chart.rows.findIndex(({ id }) => id === selected);
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, and keys must reach it.
    <div ref={scroller} className="gantt" tabIndex={0} role="group" aria-label="Nodes over time" onScroll={look}>
      <table aria-rowcount={count + 1}>
        <thead>
          <tr>
            <th scope="col">Node</th>
            <th scope="col">Status</th>
            <th ref={axis} scope="col" className="time" aria-label="When">
              <Axis chart={chart} />
            </th>
            <th scope="col" className="end">
              Took
            </th>
          </tr>
        </thead>
        <tbody>
          {from > 0 && <Blank rows={from} />}
          {chart.rows.slice(from, to).map((row, index) => (
            <NodeRow key={row.id} row={row} place={from + index + 2} isSelected={row.id === selected} select={select} />
          ))}
          {to < count && <Blank rows={count - to} />}
        </tbody>
      </table>
      <Edges edges={chart.edges} rows={{ from, to }} place={place} count={count} selected={selectedRow} />
    </div>
  );
}

/** Lines drawn at once: of a wide graph those of the nodes on the screen alone, and not all where they would make a black surface. */
const EDGES_MAX = 400;

interface EdgesProps {
  edges: readonly Edge[];
  rows: { from: number; to: number };
  /** Of the axis, in the scrolling element. */
  place: { left: number; top: number; width: number };
  count: number;
  selected: number;
}

/** What waited for what: from the end of a node to the beginning of the next, behind the bars, so that none is crossed out. */
function Edges({ edges, rows, place, count, selected }: EdgesProps): ReactNode {
  const seen = edges.filter(({ from, to }) => Math.max(from, to) >= rows.from && Math.min(from, to) < rows.to);
  if (seen.length === 0 || place.width === 0) return null;
  const isOf = ({ from, to }: Edge) => from === selected || to === selected;
  // Those of the chosen node are drawn last, above the others.
  const drawn = seen.slice(0, EDGES_MAX).sort((one, other) => Number(isOf(one)) - Number(isOf(other)));
  return (
    <svg className="edges" aria-hidden="true" style={{ ...place, height: count * ROW_PX }}>
      {drawn.map(edge => (
        <path
          key={`${edge.from} ${edge.to}`}
          className={isOf(edge) ? 'selected' : undefined}
          d={edgePath(edge, place.width, ROW_PX, BAR_HALF_PX, HEAD_PX)}
        />
      ))}
    </svg>
  );
}

function Blank({ rows }: { rows: number }): ReactNode {
  return (
    // biome-ignore lint/a11y/noAriaHiddenOnFocusable: nothing in it can have the focus.
    <tr aria-hidden="true" style={{ height: rows * ROW_PX }}>
      <td colSpan={4} />
    </tr>
  );
}

/** Of the axis, in percent: behind marks further on there is no room for a label, and a mark without one says nothing. */
const TICK_MAX = 82;

const Axis = memo(function Axis({ chart }: { chart: Chart }): ReactNode {
  return (
    <span className="axis" aria-hidden="true">
      {chart.ticks
        .filter(({ left }) => left < TICK_MAX)
        .map(({ left, label }) => (
          <span key={label} style={{ left: `${left}%` }}>
            {label}
          </span>
        ))}
    </span>
  );
});

interface NodeRowProps {
  row: Row;
  place: number;
  isSelected: boolean;
  select: GanttProps['select'];
}

function NodeRow({ row, place, isSelected, select }: NodeRowProps): ReactNode {
  const { id, node, status, bars, attempts, durationMs } = row;
  return (
    <tr className={isSelected ? 'selected' : undefined} aria-rowindex={place}>
      <th scope="row">
        <button
          type="button"
          className="plain"
          aria-pressed={isSelected}
          title="Shows this node, and its lines only"
          onClick={() => select(isSelected ? undefined : id)}
        >
          {id}
        </button>
      </th>
      <td>
        <Status of={status} />
        {status === 'running' && node.progress !== null && (
          <span className="quiet figure bare"> {Math.round(node.progress)} %</span>
        )}
        {attempts > 1 && (
          <span className="quiet figure" title={`${attempts} attempts`}>
            {' '}
            ×{attempts}
          </span>
        )}
      </td>
      <td className="time">
        <span className="track" aria-hidden="true">
          {bars.map(({ left, width, status: of }, index) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: attempts are numbered.
            <span key={index} className={`bar ${of}`} style={{ left: `${left}%`, width: `${width}%` }} />
          ))}
        </span>
      </td>
      <td className="end figure">{durationMs === undefined ? '–' : took(durationMs)}</td>
    </tr>
  );
}
