/**
 * The ready-made components, drawn once for both frameworks: functions from state to elements. What makes an element is
 * an argument, so that React and Vue show the same.
 */
import type { State } from '../core/connection.js';
import type { Level, Prompt, Status } from '../core/event.js';
import { isTerminal, type NodeState } from '../core/snapshot.js';
import type { Connection } from './client-view.js';
import type { ExecutionState, LogEntry } from './execution-view.js';
import type { Failure } from './failures-view.js';
import { between, clock, dateTime, oneLine, plain, readable } from './format.js';
import type { ListState } from './list-view.js';
import { askedBy, fieldOf, typed } from './prompt.js';
import { LINE_PX, type Scroll, visibleLines } from './scroll-view.js';

/** Makes an element. Properties have the names of the DOM; `class` is a class. */
export type Make<N> = (
  tag: string,
  props: Record<string, unknown>,
  ...children: (N | string | false | null | (N | false)[])[]
) => N;

/** What is shown of a status: also that a node never told its end, though its execution has ended. */
type Shown = Status | 'unfinished';

const STATUS_WORDS: Record<Shown, string> = {
  pending: 'Pending',
  running: 'Running',
  completed: 'Completed',
  failed: 'Failed',
  cancelled: 'Cancelled',
  unfinished: 'Unfinished',
};
const STATE_WORDS: Record<State, string> = {
  connecting: 'Connecting',
  connected: 'Live',
  reconnecting: 'Reconnecting',
  disconnected: 'Disconnected',
  failed: 'Failed',
};
/** From the least grave on. */
export const LEVELS: readonly Level[] = ['debug', 'info', 'warning', 'error'];

export const statusBadge = <N>(make: Make<N>, status: Shown): N =>
  make('span', { class: `weft-badge weft-status-${status}` }, STATUS_WORDS[status]);

/** How the connection is. */
export function connectionBadge<N>(make: Make<N>, { state, latencyMs, degraded, transport }: Connection): N {
  const words = degraded && state === 'connected' ? 'Live, broker away' : STATE_WORDS[state];
  const title = [transport, latencyMs === undefined ? '' : `${Math.round(latencyMs)} ms`].filter(Boolean).join(', ');
  const look = degraded && state === 'connected' ? 'degraded' : state;
  return make(
    'span',
    { class: `weft-connection weft-connection-${look}`, role: 'status', title },
    make('i', { 'aria-hidden': 'true' }),
    words,
  );
}

export function progressBar<N>(make: Make<N>, label: string, progress: number | null, status: Status): N | false {
  const value = status === 'completed' ? 100 : progress;
  if (value === null) return false;
  return make('progress', {
    class: `weft-progress weft-status-${status}`,
    max: 100,
    value,
    'aria-label': `${label}: ${Math.round(value)} %`,
  });
}

function nodeRow<N>(make: Make<N>, id: string, node: NodeState, execution: ExecutionState, now: number): N {
  const { progress, error } = node;
  const isUnfinished = isTerminal(execution.status) && !isTerminal(node.status);
  const status = isUnfinished ? 'unfinished' : node.status;
  const until = isUnfinished ? execution.endedAt : node.completedAt;
  const took = until || status === 'running' ? between(node.startedAt, until, now) : '';
  return make(
    'tr',
    { key: id },
    make('th', { scope: 'row' }, id),
    make('td', {}, statusBadge(make, status)),
    make('td', {}, status === 'running' && progress !== null ? `${Math.round(progress)} %` : ''),
    make('td', { class: 'weft-time' }, took),
    make('td', { class: 'weft-error-text' }, error === null ? '' : readable(error)),
  );
}

/** Nothing of one that ended without a clock: it does not go on all the same. */
function tookOf(of: Pick<ExecutionState, 'status' | 'startedAt' | 'endedAt'>, now: number): string {
  return isTerminal(of.status) && !of.endedAt ? '' : between(of.startedAt, of.endedAt, now);
}

/** State, id, times, nodes, error and output of an execution. */
export function executionStatus<N>(make: Make<N>, state: ExecutionState, now: number): N {
  const { executionId, status, nodes, startedAt, endedAt, error, result, refusal } = state;
  const rows = Object.entries(nodes);
  const took = tookOf(state, now);
  const fact = (name: string, value: string, extra = {}) =>
    value !== '' && make('div', { key: name, ...extra }, make('dt', {}, name), make('dd', {}, value));
  return make(
    'section',
    {
      class: 'weft weft-status',
      'aria-label': `Execution ${executionId}`,
      'aria-busy': state.isLoading ? 'true' : 'false',
    },
    make('header', {}, statusBadge(make, status), make('code', { class: 'weft-id' }, executionId)),
    progressBar(make, `Progress of ${executionId}`, state.progress, status) || null,
    make('dl', {}, [
      fact('Started', dateTime(startedAt)),
      fact('Ended', dateTime(endedAt)),
      fact(isTerminal(status) ? 'Took' : 'Running for', took),
      fact('At', state.currentNode ?? ''),
    ]),
    refusal ? make('p', { class: 'weft-error', role: 'alert' }, refusal.message) : null,
    error !== null && make('pre', { class: 'weft-error', role: 'alert' }, readable(error)),
    rows.length > 0 && nodeTable(make, rows, state, now),
    result !== null &&
      make('details', { class: 'weft-output' }, make('summary', {}, 'Output'), make('pre', {}, readable(result))),
  );
}

function nodeTable<N>(make: Make<N>, rows: [string, NodeState][], execution: ExecutionState, now: number): N {
  const heads = ['Node', 'State', 'Progress', 'Took', 'Error'];
  return make(
    'table',
    { class: 'weft-nodes' },
    make(
      'thead',
      {},
      make(
        'tr',
        {},
        heads.map(name => make('th', { key: name, scope: 'col' }, name)),
      ),
    ),
    make(
      'tbody',
      {},
      rows.map(([id, node]) => nodeRow(make, id, node, execution, now)),
    ),
  );
}

/** What a log viewer needs besides its lines. */
export interface LogControls {
  scroll: Scroll;
  least: Level;
  attach: (element: unknown) => void;
  onScroll: () => void;
  onFollow: (isFollowing: boolean) => void;
  onLevel: (least: Level) => void;
  onClear: () => void;
  onReconnect: () => void;
}

/** The lines of at least this level. */
export function linesFrom(logs: readonly LogEntry[], least: Level): readonly LogEntry[] {
  const from = LEVELS.indexOf(least);
  return from <= 0 ? logs : logs.filter(({ level }) => LEVELS.indexOf(level) >= from);
}

/** A log: levels in colour, scrolling with the end until the reader scrolls up. Only the lines that are seen are drawn. */
export function logViewer<N>(
  make: Make<N>,
  state: Pick<ExecutionState, 'executionId' | 'logs' | 'logsOmitted' | 'isLoading'>,
  connection: Connection,
  controls: LogControls,
): N {
  const lines = linesFrom(state.logs, controls.least);
  const { from, to } = visibleLines(controls.scroll, lines.length);
  const spacer = (key: string, count: number) =>
    make('div', { key, style: { height: `${count * LINE_PX}px` }, 'aria-hidden': 'true' });
  const omitted = state.logsOmitted > 0 ? `, ${state.logsOmitted} older left out` : '';
  return make(
    'section',
    { class: 'weft weft-logs', 'aria-label': `Log of ${state.executionId}` },
    make(
      'header',
      {},
      connectionBadge(make, connection),
      make('span', { class: 'weft-count' }, `${lines.length} lines${omitted}`),
      levelChoice(make, controls),
      followChoice(make, controls),
      make('button', { type: 'button', onClick: controls.onClear }, 'Clear'),
      !connection.isConnected && make('button', { type: 'button', onClick: controls.onReconnect }, 'Reconnect'),
    ),
    make(
      'div',
      {
        class: 'weft-lines',
        role: 'log',
        tabIndex: 0,
        'aria-label': 'Log lines',
        ref: controls.attach,
        onScroll: controls.onScroll,
      },
      lines.length === 0 && make('p', { class: 'weft-empty' }, state.isLoading ? 'Loading…' : 'No log entries yet.'),
      spacer('before', from),
      lines.slice(from, to).map(line => logLine(make, line)),
      spacer('after', lines.length - to),
    ),
  );
}

const levelChoice = <N>(make: Make<N>, { least, onLevel }: LogControls): N =>
  make(
    'label',
    {},
    'From ',
    make(
      'select',
      {
        value: least,
        onChange: (event: { target: unknown }) => onLevel((event.target as HTMLSelectElement).value as Level),
      },
      LEVELS.map(level => make('option', { key: level, value: level }, level)),
    ),
  );

const followChoice = <N>(make: Make<N>, { scroll, onFollow }: LogControls): N =>
  make(
    'label',
    {},
    make('input', {
      type: 'checkbox',
      checked: scroll.isFollowing,
      onChange: (event: { target: unknown }) => onFollow((event.target as HTMLInputElement).checked),
    }),
    ' Follow',
  );

function logLine<N>(make: Make<N>, { key, level, message, nodeId, timestamp }: LogEntry): N {
  return make(
    'div',
    { key, class: `weft-line weft-level-${level}`, title: plain(message) },
    make('time', {}, clock(timestamp)),
    make('b', {}, level),
    nodeId !== undefined && make('i', {}, nodeId),
    make('span', {}, oneLine(message)),
  );
}

/** One card of the monitor. `log` is the drawn log panel, or nothing where it is hidden. */
export function monitorCard<N>(
  make: Make<N>,
  state: ExecutionState,
  now: number,
  panel: { isOpen: boolean; toggle: () => void; log: N | false; prompts: (N | false)[]; cancel: () => void },
): N {
  const { executionId, status, progress, error, refusal } = state;
  const problem = refusal?.message ?? (error === null ? '' : readable(error));
  return make(
    'article',
    { class: 'weft weft-card', key: executionId, 'aria-label': `Execution ${executionId}` },
    make(
      'header',
      {},
      statusBadge(make, status),
      make('code', { class: 'weft-id' }, executionId),
      make('span', { class: 'weft-time' }, tookOf(state, now)),
      !isTerminal(status) && make('button', { type: 'button', onClick: panel.cancel }, 'Cancel'),
      make(
        'button',
        { type: 'button', 'aria-expanded': panel.isOpen ? 'true' : 'false', onClick: panel.toggle },
        panel.isOpen ? 'Hide log' : 'Show log',
      ),
    ),
    progressBar(make, `Progress of ${executionId}`, progress, status) || null,
    state.currentNode === null ? null : make('p', { class: 'weft-at' }, `At ${state.currentNode}`),
    problem !== '' && make('pre', { class: 'weft-error', role: 'alert' }, problem),
    panel.prompts,
    panel.log,
  );
}

/** A prompt with a place to answer it, by what it asks for: two buttons, a list or a field. */
export function promptForm<N>(make: Make<N>, prompt: Prompt, answer: (value: unknown) => void): N {
  const asked = askedBy(prompt);
  if (asked.type === 'boolean') return yesOrNo(make, prompt, answer);
  const submit = (event: { preventDefault(): void; target: unknown }) => {
    event.preventDefault();
    const field = (event.target as HTMLFormElement).elements.namedItem('answer') as HTMLInputElement;
    answer(typed(asked.type, field.value));
  };
  const field =
    asked.type === 'choice'
      ? make(
          'select',
          { name: 'answer' },
          asked.choices.map(choice => make('option', { key: choice, value: choice }, choice)),
        )
      : make('input', { name: 'answer', ...fieldOf(asked) });
  return make(
    'form',
    { class: 'weft-prompt', key: prompt.requestId, onSubmit: submit },
    make('label', {}, `${prompt.prompt} `, field),
    make('button', { type: 'submit' }, 'Answer'),
  );
}

/** Two buttons, so that neither answer is given by not looking. */
const yesOrNo = <N>(make: Make<N>, { requestId, prompt }: Prompt, answer: (value: boolean) => void): N =>
  make(
    'div',
    { class: 'weft-prompt', key: requestId, role: 'group', 'aria-label': prompt },
    make('span', {}, prompt),
    make('button', { type: 'button', onClick: () => answer(true) }, 'Yes'),
    make('button', { type: 'button', onClick: () => answer(false) }, 'No'),
  );

/** What stands where there is nothing to monitor. */
export const emptyMonitor = <N>(make: Make<N>): N =>
  make(
    'p',
    { class: 'weft weft-empty' },
    'No executions to show yet. Start a workflow, and it appears here with its progress and its log.',
  );

/** What a list of executions needs besides its entries. */
export interface ListControls {
  selected: string | null;
  select: (executionId: string) => void;
  /** Asks for older ones. */
  more: () => void;
}

/** The list of executions, and where there are older ones a way to them. */
export function executionList<N>(
  make: Make<N>,
  { executions, isLoading, hasMore, isLoadingMore, error }: ListState,
  now: number,
  { selected, select, more }: ListControls,
): N {
  const empty = isLoading
    ? 'Loading…'
    : 'No executions yet. Start a workflow, or publish an event with an executionId.';
  return make(
    'nav',
    { class: 'weft weft-list', 'aria-label': 'Executions', 'aria-busy': isLoading ? 'true' : 'false' },
    error ? make('p', { class: 'weft-error', role: 'alert' }, `The list cannot be had: ${error.message}`) : null,
    executions.length === 0 && !error && make('p', { class: 'weft-empty' }, empty),
    make(
      'ul',
      {},
      executions.map(entry =>
        make(
          'li',
          { key: entry.executionId },
          make(
            'button',
            {
              type: 'button',
              'aria-current': entry.executionId === selected ? 'true' : 'false',
              onClick: () => select(entry.executionId),
            },
            statusBadge(make, entry.status),
            make('code', { class: 'weft-id' }, entry.executionId),
            make('span', { class: 'weft-time' }, tookOf(entry, now)),
            progressBar(make, `Progress of ${entry.executionId}`, entry.progress, entry.status) || null,
          ),
        ),
      ),
    ),
    hasMore &&
      make(
        'p',
        { class: 'weft-more' },
        make('button', { type: 'button', disabled: isLoadingMore, onClick: more }, 'Load more'),
        make('span', { class: 'weft-count', role: 'status' }, `The newest ${executions.length} are listed.`),
      ),
  );
}

/** Failures, each until it is dismissed. */
export const failureList = <N>(make: Make<N>, failures: readonly Failure[], dismiss: (key: number) => void): N =>
  make(
    'div',
    { class: 'weft weft-failures', role: 'alert' },
    failures.map(({ key, executionId, message }) =>
      make(
        'p',
        { key, class: 'weft-error' },
        executionId === undefined ? message : `${executionId}: ${message}`,
        make('button', { type: 'button', onClick: () => dismiss(key), 'aria-label': 'Dismiss' }, '×'),
      ),
    ),
  );
