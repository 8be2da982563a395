/** The executions, newest first. */
import type { Status as StatusWord } from '@weft/client';
import { isTerminal } from '@weft/client';
import { type ListedExecution, useExecutions } from '@weft/client/react';
import { dateTime } from '@weft/client/view/format.js';
import { type ReactNode, type SubmitEvent, useEffect, useState } from 'react';
import { useAction, useNow } from '../hooks.js';
import { StartDialog } from '../parts/start.js';
import { Progress, Refused, Status } from '../parts/status.js';
import { isId, toExecution } from '../route.js';
import { tookFrom } from '../times.js';

const STATUSES: readonly StatusWord[] = ['running', 'pending', 'completed', 'failed', 'cancelled'];
/** As many at first, and each time that somebody wants more. */
const PAGE = 50;

export function ExecutionsPage(): ReactNode {
  const [status, setStatus] = useState<StatusWord | ''>('');
  const [text, setText] = useState('');
  const [isStarting, setStarting] = useState(false);
  const { executions, isLoading, hasMore, more, error } = useExecutions({
    limit: PAGE,
    ...(status ? { status } : undefined),
  });
  const older = useAction(more);
  useEffect(() => {
    document.title = 'Executions · Weft';
  }, []);
  const wanted = text.trim().toLowerCase();
  const shown = executions.filter(
    ({ executionId, workflowId }) =>
      executionId.toLowerCase().includes(wanted) || (workflowId ?? '').toLowerCase().includes(wanted),
  );
  const open = (event: SubmitEvent) => {
    event.preventDefault();
    const id = shown.length === 1 && shown[0] ? shown[0].executionId : text.trim();
    if (isId(id)) location.hash = toExecution(id);
  };
  return (
    <>
      <div className="spread">
        <h1 tabIndex={-1}>Executions</h1>
        <button type="button" className="main" onClick={() => setStarting(true)}>
          Start a workflow
        </button>
      </div>
      <form className="row filters" onSubmit={open} role="search" aria-label="Executions">
        <input
          type="search"
          aria-label="Search by id or workflow; Enter opens an id"
          placeholder="Id or workflow; Enter opens"
          value={text}
          onChange={event => setText(event.target.value)}
        />
        <select aria-label="Status" value={status} onChange={event => setStatus(event.target.value as StatusWord | '')}>
          <option value="">Any status</option>
          {STATUSES.map(word => (
            <option key={word}>{word}</option>
          ))}
        </select>
      </form>
      <Refused error={error} />
      <Table executions={shown} />
      {shown.length === 0 && !error && (
        <Empty isLoading={isLoading} isFiltered={wanted !== '' || status !== ''} start={() => setStarting(true)} />
      )}
      {hasMore && (
        <div className="row">
          <button type="button" disabled={older.isBusy} onClick={() => older.run()}>
            Show more
          </button>
          <span className="quiet">The newest {executions.length.toLocaleString('en')} are listed.</span>
        </div>
      )}
      {isStarting && <StartDialog close={() => setStarting(false)} />}
    </>
  );
}

function Empty({
  isLoading,
  isFiltered,
  start,
}: {
  isLoading: boolean;
  isFiltered: boolean;
  start: () => void;
}): ReactNode {
  if (isLoading) return <p className="quiet">Asking what there is…</p>;
  if (isFiltered) return <p className="quiet">None is like this.</p>;
  return (
    <div className="panel empty">
      <p>Nothing has run yet.</p>
      <p className="row">
        <button type="button" onClick={start}>
          Start a workflow
        </button>
        <span className="quiet">or publish an event with any client of the protocol; its execution appears here.</span>
      </p>
    </div>
  );
}

function Table({ executions }: { executions: readonly ListedExecution[] }): ReactNode {
  const now = useNow(
    executions.some(({ status }) => !isTerminal(status)),
    1000,
  );
  if (executions.length === 0) return null;
  return (
    <div className="panel flush">
      <table className="executions">
        <thead>
          <tr>
            <th scope="col">Status</th>
            <th scope="col">Execution</th>
            <th scope="col" className="wide">
              Workflow
            </th>
            <th scope="col">Progress</th>
            <th scope="col" className="wide">
              Started
            </th>
            <th scope="col" className="end wide">
              Took
            </th>
            <th scope="col" className="wider">
              Owner
            </th>
          </tr>
        </thead>
        <tbody>
          {executions.map(execution => (
            <ExecutionRow key={execution.executionId} execution={execution} now={now} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function ExecutionRow({ execution, now }: { execution: ListedExecution; now: number }): ReactNode {
  const { executionId, workflowId, status, progress, startedAt, endedAt, createdAt, userId } = execution;
  // One that has ended without telling when has no length to be shown.
  const span = isTerminal(status) && !endedAt ? '' : tookFrom(startedAt, endedAt, now);
  return (
    <tr>
      <td>
        <Status of={status} />
      </td>
      <th scope="row">
        <a className="whole-row" href={toExecution(executionId)}>
          {executionId}
        </a>
        <span className="narrow quiet">{workflowId}</span>
      </th>
      <td className="wide">{workflowId ?? <span className="quiet">–</span>}</td>
      <td>
        <Progress value={progress} status={status} label={`Progress of ${executionId}`} />
      </td>
      <td className="wide figure">{dateTime(startedAt ?? createdAt)}</td>
      <td className="end wide figure">{span || '–'}</td>
      <td className="wider">{userId ?? <span className="quiet">–</span>}</td>
    </tr>
  );
}
