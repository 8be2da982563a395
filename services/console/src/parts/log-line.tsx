/** A line of a log, and all that is known of it. */
import { clock, dateTime, oneLine } from '@weft/client/view/format.js';
import { Fragment, memo, type ReactNode, useId } from 'react';
import { highlighted, type Kind, type Line } from '../lines.js';

/** Characters of a line that are drawn; its details have all of it. */
const SHOWN_MAX = 2000;

/** A narrow screen shows these alone. */
const SIGNS: Readonly<Record<Kind, string>> = { error: '✕', warning: '!', info: 'i', debug: '·', event: '○' };

export interface LogLineProps {
  id: string;
  line: Line;
  place: number;
  of: number;
  wanted: string;
  isActive: boolean;
  open: (key: number) => void;
}

// How many there are is told by the attribute alone: all lines would be drawn anew for each that comes.
export const LogLine = memo(
  function LogLine({ id, line, place, of, wanted, isActive, open }: LogLineProps): ReactNode {
    const { key, kind, nodeId, timestamp } = line;
    const message = oneLine(line.message.slice(0, SHOWN_MAX));
    return (
      // biome-ignore lint/a11y/useKeyWithClickEvents: keys go to the list.
      <div
        id={id}
        role="option"
        tabIndex={-1}
        aria-selected={isActive}
        aria-posinset={place}
        aria-setsize={of}
        className={`line ${kind}`}
        onClick={() => open(key)}
      >
        <span className="at">{clock(timestamp)}</span>
        <span className="kind">
          <span aria-hidden="true">{SIGNS[kind]}</span> {kind}
        </span>
        <span className="of-node">{nodeId}</span>
        <span className="message">
          <Highlighted text={message} wanted={wanted} />
        </span>
      </div>
    );
  },
  (before, now) =>
    before.line === now.line &&
    before.wanted === now.wanted &&
    before.isActive === now.isActive &&
    before.place === now.place &&
    before.id === now.id,
);

function Highlighted({ text, wanted }: { text: string; wanted: string }): ReactNode {
  const parts = highlighted(text, wanted);
  if (parts.length === 1) return text;
  return parts.map((part, index) =>
    // biome-ignore lint/suspicious/noArrayIndexKey: pieces of one text.
    index % 2 === 1 ? <mark key={index}>{part}</mark> : <Fragment key={index}>{part}</Fragment>,
  );
}

/** Not drawn anew for each line that comes; `close` does the same whenever it was made. */
export const LineDetails = memo(
  function LineDetails({ line, close }: { line: Line; close: () => void }): ReactNode {
    const title = useId();
    return (
      <aside className="details" aria-labelledby={title}>
        <div className="spread">
          <h3 id={title}>
            Line {(line.key + 1).toLocaleString('en')}{' '}
            <time className="quiet figure" dateTime={line.timestamp}>
              {dateTime(line.timestamp)}
            </time>
          </h3>
          <button type="button" className="plain" onClick={close} aria-label="Close the details">
            <span aria-hidden="true">✕</span>
          </button>
        </div>
        {/* biome-ignore-start lint/a11y/noNoninteractiveTabindex: they scroll, and keys must reach them. */}
        <pre tabIndex={0}>{line.message}</pre>
        {line.event && (
          <details>
            <summary>The event as it came</summary>
            <pre tabIndex={0}>{JSON.stringify(line.event, null, 2)}</pre>
          </details>
        )}
        {/* biome-ignore-end lint/a11y/noNoninteractiveTabindex: they scroll, and keys must reach them. */}
      </aside>
    );
  },
  (before, now) => before.line === now.line,
);
