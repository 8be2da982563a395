/** The log of an execution: only the lines on the screen are drawn, however many there are. */
import { useView } from '@weft/client/react/client.js';
import { type ReactNode, type RefObject, useId, useRef, useState } from 'react';
import { type Filter, KINDS, type Kind, type Lines, NO_FILTER } from '../lines.js';
import type { Log as LogView } from '../run.js';
import { type Scrolling, useScroll } from '../scroll.js';
import { LINE_PX, linesAt } from '../window.js';
import { LineDetails, LogLine } from './log-line.js';

export interface LogProps {
  log: LogView;
  /** Has other lines shown. */
  filter: (wanted: Filter) => void;
}

export function Log({ log, filter: change }: LogProps): ReactNode {
  const { lines, length, filter } = useView(log);
  const title = useId();
  const scroll = useScroll(lines, length);
  const [active, setActive] = useState<number>();
  const [isOpen, setOpen] = useState(false);
  const line = active === undefined || active < lines.omitted ? undefined : lines.at(lines.indexOf(active));
  const open = (key: number) => {
    setActive(key);
    setOpen(!(isOpen && key === active));
    scroll.hold();
  };
  const keys = useKeys(lines, length, scroll, active, setActive, open, () => setOpen(false));
  return (
    <section className="panel log" aria-labelledby={title}>
      <div className="spread">
        <h2 id={title}>
          Log <span className="figure quiet">{countOf(length, lines)}</span>
        </h2>
        <div className="row">
          <button
            type="button"
            className="toggle"
            aria-pressed={scroll.isFollowing}
            title="Keeps to the newest line. Scrolling up pauses it."
            onClick={() => (scroll.isFollowing ? scroll.hold() : scroll.follow())}
          >
            Follow
          </button>
          <CopyButton lines={lines} />
        </div>
      </div>
      <Filters lines={lines} filter={filter} change={change} />
      {lines.omitted > 0 && <p className="quiet">{lines.omitted.toLocaleString('en')} older lines are not kept.</p>}
      <div className="lines-frame">
        <Window
          lines={lines}
          length={length}
          wanted={filter.text}
          scroll={scroll}
          active={active}
          open={open}
          keys={keys}
        />
        {!scroll.isFollowing && scroll.news > 0 && (
          <button type="button" className="main jump" onClick={scroll.follow}>
            {scroll.news.toLocaleString('en')} new {scroll.news === 1 ? 'line' : 'lines'} ↓
          </button>
        )}
      </div>
      {isOpen && line && <LineDetails line={line} close={() => setOpen(false)} />}
    </section>
  );
}

const countOf = (length: number, lines: Lines): string =>
  length === lines.kept
    ? length.toLocaleString('en')
    : `${length.toLocaleString('en')} of ${lines.kept.toLocaleString('en')}`;

interface WindowProps {
  lines: Lines;
  length: number;
  wanted: string;
  scroll: Scrolling;
  active: number | undefined;
  open: (key: number) => void;
  keys: (event: React.KeyboardEvent) => void;
}

function Window({ lines, length, wanted, scroll, active, open, keys }: WindowProps): ReactNode {
  const id = useId();
  const { from, to } = linesAt(scroll.top, scroll.height, length);
  const drawn = Array.from({ length: to - from }, (_, index) => lines.at(from + index)).filter(
    line => line !== undefined,
  );
  const isDrawn = drawn.some(({ key }) => key === active);
  const ref = scroll.ref as RefObject<HTMLDivElement>;
  if (length === 0)
    return (
      <div ref={ref} className="lines empty" onScroll={scroll.scrolled}>
        <p className="quiet">{lines.kept === 0 ? 'Nothing has been told yet.' : 'No line is like this.'}</p>
      </div>
    );
  return (
    <div
      ref={ref}
      className="lines"
      role="listbox"
      aria-label="Lines of the log"
      aria-activedescendant={isDrawn ? `${id}-${active}` : undefined}
      tabIndex={0}
      onScroll={scroll.scrolled}
      // Before the list has moved: it would be pulled back to its end by the lines that come meanwhile.
      onWheel={event => event.deltaY < 0 && scroll.hold()}
      onTouchMove={scroll.hold}
      onPointerDown={event => event.target === event.currentTarget && scroll.hold()}
      onKeyDown={keys}
    >
      <div className="all-lines" role="presentation" style={{ height: length * LINE_PX }}>
        <div role="presentation" style={{ transform: `translateY(${from * LINE_PX}px)` }}>
          {drawn.map((line, index) => (
            <LogLine
              key={line.key}
              id={`${id}-${line.key}`}
              line={line}
              place={from + index + 1}
              of={length}
              wanted={wanted}
              isActive={line.key === active}
              open={open}
            />
          ))}
        </div>
      </div>
    </div>
  );
}

/** Arrows move from line to line, as in any list. */
function useKeys(
  lines: Lines,
  length: number,
  scroll: Scrolling,
  active: number | undefined,
  setActive: (key: number | undefined) => void,
  open: (key: number) => void,
  close: () => void,
): (event: React.KeyboardEvent) => void {
  return event => {
    const page = Math.max(1, Math.floor(scroll.height / LINE_PX) - 1);
    const steps: Record<string, number> = {
      ArrowUp: -1,
      ArrowDown: 1,
      PageUp: -page,
      PageDown: page,
      Home: -length,
      End: length,
    };
    const step = steps[event.key];
    if (event.key === 'Escape') close();
    else if ((event.key === 'Enter' || event.key === ' ') && active !== undefined) open(active);
    else if (step !== undefined && length > 0) {
      const seen = Math.min(length - 1, Math.floor((scroll.top + scroll.height) / LINE_PX) - 1);
      const at = active === undefined ? seen : lines.indexOf(active);
      const next = Math.max(0, Math.min(length - 1, at + step));
      setActive(lines.at(next)?.key);
      if (event.key === 'End') scroll.follow();
      else scroll.show(next);
    } else return;
    event.preventDefault();
  };
}

const NAMES: Readonly<Record<Kind, string>> = {
  error: 'Errors',
  warning: 'Warnings',
  info: 'Info',
  debug: 'Debug',
  event: 'Events',
};

function Filters({
  lines,
  filter,
  change,
}: {
  lines: Lines;
  filter: Filter;
  change: (filter: Filter) => void;
}): ReactNode {
  const turn = (kind: Kind) => {
    const kinds = new Set(filter.kinds);
    if (!kinds.delete(kind)) kinds.add(kind);
    change({ ...filter, kinds });
  };
  const isAll = filter.text === '' && filter.nodeId === undefined && filter.kinds.size === KINDS.length;
  return (
    <div className="row filters" role="search" aria-label="Lines of the log">
      <input
        type="search"
        aria-label="Search in the log"
        placeholder="Search"
        value={filter.text}
        onChange={event => change({ ...filter, text: event.target.value })}
      />
      <div className="row" role="group" aria-label="Levels">
        {KINDS.map(kind => (
          <button
            key={kind}
            type="button"
            className={`toggle kind-${kind}`}
            aria-pressed={filter.kinds.has(kind)}
            onClick={() => turn(kind)}
          >
            {NAMES[kind]} <span className="figure">{lines.counts[kind].toLocaleString('en')}</span>
          </button>
        ))}
      </div>
      {filter.nodeId !== undefined && (
        <button
          type="button"
          className="chip"
          aria-label={`Not only node ${filter.nodeId}`}
          title="Shows the lines of the other nodes again"
          onClick={() => change({ ...filter, nodeId: undefined })}
        >
          Node <code>{filter.nodeId}</code> <span aria-hidden="true">✕</span>
        </button>
      )}
      {!isAll && (
        <button type="button" className="plain" onClick={() => change(NO_FILTER)}>
          Show all
        </button>
      )}
    </div>
  );
}

function CopyButton({ lines }: { lines: Lines }): ReactNode {
  const [said, setSaid] = useState('');
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const copy = async () => {
    const count = lines.length;
    try {
      await navigator.clipboard.writeText(lines.text());
      setSaid(`${count.toLocaleString('en')} copied`);
    } catch {
      setSaid('The browser does not allow it');
    }
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setSaid(''), 3000);
  };
  return (
    <>
      <span role="status" className="quiet">
        {said}
      </span>
      <button type="button" onClick={copy} title="Copies the lines that are shown">
        Copy
      </button>
    </>
  );
}
