/** The nodes of an execution over time. */
import { memo, type ReactNode, useId } from 'react';
import type { Chart, Row } from '../gantt.js';
import { took } from '../times.js';
import { Status } from './status.js';

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
        // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, and keys must reach it.
        <div className="gantt" tabIndex={0} role="group" aria-label="Nodes over time">
          <table>
            <thead>
              <tr>
                <th scope="col">Node</th>
                <th scope="col">Status</th>
                <th scope="col" className="time" aria-label="When">
                  <Axis chart={chart} />
                </th>
                <th scope="col" className="end">
                  Took
                </th>
              </tr>
            </thead>
            <tbody>
              {chart.rows.map(row => (
                <NodeRow key={row.id} row={row} isSelected={row.id === selected} select={select} />
              ))}
            </tbody>
          </table>
        </div>
      )}
      {omitted > 0 && <p className="quiet">{omitted} further nodes are not kept.</p>}
    </section>
  );
}

const Axis = memo(function Axis({ chart }: { chart: Chart }): ReactNode {
  return (
    <span className="axis" aria-hidden="true">
      {chart.ticks.map(({ left, label }) => (
        <span key={label} style={{ left: `${left}%` }} className={left > 92 ? 'last' : undefined}>
          {label}
        </span>
      ))}
    </span>
  );
});

function NodeRow({
  row,
  isSelected,
  select,
}: {
  row: Row;
  isSelected: boolean;
  select: GanttProps['select'];
}): ReactNode {
  const { id, node, bars, attempts, durationMs } = row;
  return (
    <tr className={isSelected ? 'selected' : undefined}>
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
        <Status of={node.status} />
        {attempts > 1 && (
          <span className="quiet figure" title={`${attempts} attempts`}>
            {' '}
            ×{attempts}
          </span>
        )}
      </td>
      <td className="time">
        <span className="track" aria-hidden="true">
          {bars.map(({ left, width, status }, index) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: attempts are numbered.
            <span key={index} className={`bar ${status}`} style={{ left: `${left}%`, width: `${width}%` }} />
          ))}
        </span>
      </td>
      <td className="end figure">
        {durationMs === undefined ? '–' : took(durationMs)}
        {node.status === 'running' && node.progress !== null && (
          <span className="quiet"> {Math.round(node.progress)} %</span>
        )}
      </td>
    </tr>
  );
}
