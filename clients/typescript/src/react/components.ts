/** Ready-made components. Their looks are in `@weft/client/style.css`. */
import { createElement, type ReactElement, type ReactNode, useEffect, useLayoutEffect, useMemo, useState } from 'react';
import type { Level, Status } from '../core/event.js';
import { isTerminal } from '../core/snapshot.js';
import { clientView } from '../view/client-view.js';
import type { ExecutionState, ExecutionViewOptions } from '../view/execution-view.js';
import * as parts from '../view/parts.js';
import { ScrollView } from '../view/scroll-view.js';
import { useClient, useView } from './client.js';
import { useExecution, useExecutions, useFailures } from './hooks.js';

const make: parts.Make<ReactElement> = (tag, { class: className, ...props }, ...children) =>
  createElement(tag, className === undefined ? props : { ...props, className }, ...(children as ReactNode[]));

/** The time, once a second while something runs. */
function useNow(isRunning: boolean): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    if (!isRunning) return;
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [isRunning]);
  return now;
}

/** How the connection is. */
export function ConnectionBadge(): ReactNode {
  return parts.connectionBadge(make, useView(clientView(useClient())));
}

/** State, id, times, nodes, error and output of an execution. */
export function ExecutionStatus({ executionId }: { executionId: string }): ReactNode {
  const state = useExecution(executionId, { history: false });
  return parts.executionStatus(make, state, useNow(!isTerminal(state.status)));
}

interface LogsProps extends ExecutionViewOptions {
  executionId: string;
}

/** The log of an execution: history and live, levels in colour, keeps to the end until the reader scrolls up. */
export function ExecutionLogs({ executionId, ...options }: LogsProps): ReactNode {
  const state = useExecution(executionId, options);
  return createElement(Log, { state, onClear: state.clearLogs });
}

/** The same under its other name. */
export const ExecutionLogViewer = ExecutionLogs;

function Log({ state, onClear }: { state: ExecutionState; onClear: () => void }): ReactNode {
  const weft = useClient();
  const connection = useView(clientView(weft));
  const view = useMemo(() => new ScrollView(), []);
  const scroll = useView(view);
  const [least, onLevel] = useState<Level>('debug');
  // After each drawing, before it is seen.
  useLayoutEffect(() => view.settle());
  return parts.logViewer(make, state, connection, {
    scroll,
    least,
    attach: view.attach,
    onScroll: view.scrolled,
    onFollow: view.follow,
    onLevel,
    onClear,
    onReconnect: () => weft.reconnect(),
  });
}

export interface MonitorProps extends ExecutionViewOptions {
  /** One, or several at once. */
  executionId?: string | null;
  executionIds?: readonly string[];
  /** Shows the log panels from the start. */
  showLogs?: boolean;
}

/** Executions as they run: progress, duration, prompts, and a log panel to show and hide. */
export function WorkflowExecutionMonitor({
  executionId,
  executionIds,
  showLogs = false,
  ...options
}: MonitorProps): ReactNode {
  const ids = [...new Set([...(executionIds ?? []), ...(executionId ? [executionId] : [])])];
  if (ids.length === 0) return parts.emptyMonitor(make);
  return createElement(
    'div',
    { className: 'weft-monitor' },
    ids.map(id => createElement(Card, { key: id, executionId: id, showLogs, ...options })),
  );
}

function Card({ executionId, showLogs, ...options }: LogsProps & { showLogs: boolean }): ReactNode {
  const state = useExecution(executionId, options);
  const [isOpen, setOpen] = useState(showLogs);
  const [problem, setProblem] = useState('');
  const now = useNow(!isTerminal(state.status));
  const tell = (doing: Promise<void>) => {
    setProblem('');
    doing.catch((error: Error) => setProblem(error.message));
  };
  return parts.monitorCard(make, state, now, {
    isOpen,
    toggle: () => setOpen(!isOpen),
    cancel: () => tell(state.cancel()),
    prompts: [
      ...state.pendingInput.map(prompt =>
        parts.promptForm(make, prompt, value => tell(state.provideInput(prompt.requestId, value))),
      ),
      problem !== '' && make('p', { key: 'problem', class: 'weft-error', role: 'alert' }, problem),
    ],
    log: isOpen && createElement(Log, { state, onClear: state.clearLogs }),
  });
}

/** The caller's executions, older ones on request (`limit` at a time), and of the chosen one its state and its log. */
export function ExecutionsView({ status, limit }: { status?: Status; limit?: number }): ReactNode {
  const list = useExecutions({ ...(status ? { status } : {}), ...(limit ? { limit } : {}) });
  const [selected, select] = useState<string | null>(null);
  const now = useNow(list.executions.some(entry => !isTerminal(entry.status)));
  return createElement(
    'div',
    { className: 'weft-executions' },
    parts.executionList(make, list, now, { selected, select, more: () => void list.more() }),
    selected !== null && createElement(ExecutionStatus, { key: `status ${selected}`, executionId: selected }),
    selected !== null && createElement(ExecutionLogs, { key: `logs ${selected}`, executionId: selected }),
  );
}

/** Failures of executions and of the connection, each until it is dismissed. */
export function FailureNotices(): ReactNode {
  const { failures, dismiss } = useFailures();
  return parts.failureList(make, failures, dismiss);
}
