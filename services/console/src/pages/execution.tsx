/** One execution: its state, its nodes over time, what its agents say, its log. */
import type { Snapshot } from '@weft/client';
import { isTerminal } from '@weft/client';
import { useClient } from '@weft/client/react';
import { useView } from '@weft/client/react/client.js';
import { dateTime, readable } from '@weft/client/view/format.js';
import { type ReactNode, useEffect, useId, useMemo, useState } from 'react';
import { chartOf } from '../gantt.js';
import { useAction, useNow } from '../hooks.js';
import type { Filter } from '../lines.js';
import { AgentsPanel } from '../parts/agents.js';
import { Gantt } from '../parts/gantt.js';
import { Log } from '../parts/log.js';
import { Prompt } from '../parts/prompt.js';
import { Progress, Refused, Status } from '../parts/status.js';
import { isId } from '../route.js';
import { Run, type RunState } from '../run.js';
import { took, tookFrom } from '../times.js';

export function ExecutionPage({ id }: { id: string }): ReactNode {
  if (isId(id)) return <Shown id={id} />;
  return (
    <>
      <h1 tabIndex={-1}>This is no id</h1>
      <p className="quiet">Ids have 1 to 128 letters, digits and _ - . : ~ @</p>
    </>
  );
}

function Shown({ id }: { id: string }): ReactNode {
  const weft = useClient();
  const run = useMemo(() => new Run(weft, id), [weft, id]);
  const state = useView(run);
  const [node, setNode] = useState<string>();
  const { snapshot } = state;
  const status = snapshot?.status ?? 'pending';
  const asks = (snapshot?.pendingInput.length ?? 0) > 0;
  useEffect(() => {
    document.title = `${id} · ${asks ? 'asks' : status} · Weft`;
  }, [id, status, asks]);
  // The chosen node and the node whose lines alone are shown are one and the same, whoever changes it.
  const filter = (wanted: Filter) => {
    setNode(wanted.nodeId);
    run.log.filter(wanted);
  };
  const select = (nodeId: string | undefined) => filter({ ...run.log.getState().filter, nodeId });
  return (
    <div className="execution">
      <Head run={run} state={state} />
      <div className="prompts" aria-live="polite">
        {snapshot?.pendingInput.map(question => (
          <Prompt key={question.requestId} run={run} question={question} />
        ))}
      </div>
      <div className="halves">
        <div className="half">
          <Nodes state={state} selected={node} select={select} />
          {node !== undefined && snapshot && (
            <NodeDetails
              id={node}
              snapshot={snapshot}
              needs={state.needs.get(node) ?? []}
              close={() => select(undefined)}
            />
          )}
          <AgentsPanel agents={state.agents} />
          <Outcome snapshot={snapshot} />
        </div>
        <div className="half">
          <Log log={run.log} filter={filter} />
        </div>
      </div>
    </div>
  );
}

function Head({ run, state }: { run: Run; state: RunState }): ReactNode {
  const { snapshot, refusal, isLoading, gaps } = state;
  const status = snapshot?.status ?? 'pending';
  const now = useNow(!isTerminal(status), 500);
  const hasBegun = snapshot?.startedAt != null;
  return (
    <header className="head">
      <div className="spread">
        <h1 tabIndex={-1}>
          <a href="#/" className="back">
            <span aria-hidden="true">←</span>
            <span className="unseen">All executions</span>
          </a>{' '}
          {run.id}
        </h1>
        {hasBegun && !isTerminal(status) && <Cancel run={run} />}
      </div>
      <div className="facts">
        <span role="status">{isLoading ? <span className="quiet">Asking…</span> : <Status of={status} />}</span>
        {snapshot?.workflowId && <Fact name="Workflow">{snapshot.workflowId}</Fact>}
        {snapshot?.currentNode && <Fact name="At">{snapshot.currentNode}</Fact>}
        {snapshot?.startedAt && <Fact name="Started">{dateTime(snapshot.startedAt)}</Fact>}
        {hasBegun && (
          <Fact name={isTerminal(status) ? 'Took' : 'Running for'}>
            {tookFrom(snapshot.startedAt, snapshot.endedAt, Math.max(now, state.latest))}
          </Fact>
        )}
        {snapshot?.userId && <Fact name="Owner">{snapshot.userId}</Fact>}
      </div>
      {(snapshot?.progress != null || status === 'completed') && (
        <Progress value={snapshot?.progress ?? null} status={status} label="Progress" />
      )}
      <Refused error={refusal} />
      {!isLoading && !hasBegun && !refusal && (
        <p className="quiet">Nothing is known of its beginning. What happens from now on appears here.</p>
      )}
      {gaps > 0 && <p className="warn">Some of its events are no longer held; the log says where.</p>}
    </header>
  );
}

function Fact({ name, children }: { name: string; children: ReactNode }): ReactNode {
  return (
    <span className="fact">
      <span className="quiet">{name}</span> <span className="figure">{children}</span>
    </span>
  );
}

/** Asks twice: it cannot be undone. */
function Cancel({ run }: { run: Run }): ReactNode {
  const [isAsking, setAsking] = useState(false);
  const cancel = useAction(() => run.cancel('cancelled from the console'));
  if (!isAsking)
    return (
      <button type="button" onClick={() => setAsking(true)}>
        Cancel
      </button>
    );
  return (
    <div className="row" role="group" aria-label="Cancel this execution?">
      {cancel.error && <Refused error={cancel.error} />}
      <button
        type="button"
        className="danger"
        // biome-ignore lint/a11y/noAutofocus: it takes the place of the button that was just pressed.
        autoFocus
        disabled={cancel.isBusy || cancel.isDone}
        onClick={() => cancel.run()}
      >
        {cancel.isBusy || cancel.isDone ? 'Cancelling…' : 'Cancel the execution'}
      </button>
      <button type="button" onClick={() => setAsking(false)}>
        Let it run
      </button>
    </div>
  );
}

interface NodesProps {
  state: RunState;
  selected: string | undefined;
  select: (nodeId: string | undefined) => void;
}

function Nodes({ state, selected, select }: NodesProps): ReactNode {
  const { snapshot, attempts, needs, latest } = state;
  const isOver = snapshot !== undefined && isTerminal(snapshot.status);
  const now = useNow(!isOver, 250);
  const nodes = snapshot?.nodes;
  const ended = isOver ? Date.parse(snapshot.endedAt ?? '') : undefined;
  const chart = useMemo(
    () => chartOf(nodes ?? {}, attempts, ended, Math.max(now, latest), needs),
    [nodes, attempts, ended, now, latest, needs],
  );
  return <Gantt chart={chart} omitted={snapshot?.nodesOmitted ?? 0} selected={selected} select={select} />;
}

interface NodeDetailsProps {
  id: string;
  snapshot: Snapshot;
  needs: readonly string[];
  close: () => void;
}

function NodeDetails({ id, snapshot, needs, close }: NodeDetailsProps): ReactNode {
  const title = useId();
  const node = snapshot.nodes[id];
  if (!node) return null;
  const isUnfinished = isTerminal(snapshot.status) && !isTerminal(node.status);
  const until = isUnfinished ? snapshot.endedAt : node.completedAt;
  const span = Date.parse(until ?? '') - Date.parse(node.startedAt ?? '');
  return (
    <section className="panel details" aria-labelledby={title}>
      <div className="spread">
        <h2 id={title}>{id}</h2>
        <button type="button" className="plain" onClick={close} aria-label="Close the node">
          <span aria-hidden="true">✕</span>
        </button>
      </div>
      <div className="facts">
        <Status of={isUnfinished ? 'unfinished' : node.status} />
        {node.startedAt && <Fact name="Started">{dateTime(node.startedAt)}</Fact>}
        {span >= 0 && <Fact name="Took">{took(span)}</Fact>}
        {needs.length > 0 && <Fact name="After">{needs.join(', ')}</Fact>}
      </div>
      <Value name="Error" value={node.error} />
      <Value name="Output" value={node.output} />
    </section>
  );
}

function Outcome({ snapshot }: { snapshot: Snapshot | undefined }): ReactNode {
  const title = useId();
  if (!snapshot || (snapshot.error == null && snapshot.result == null)) return null;
  return (
    <section className="panel" aria-labelledby={title}>
      <h2 id={title}>Outcome</h2>
      <Value name={snapshot.status === 'cancelled' ? 'Reason' : 'Error'} value={snapshot.error} />
      <Value name="Result" value={snapshot.result} />
    </section>
  );
}

function Value({ name, value }: { name: string; value: unknown }): ReactNode {
  if (value === null || value === undefined) return null;
  return (
    <figure>
      <figcaption className="quiet">{name}</figcaption>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, and keys must reach it. */}
      <pre tabIndex={0} className={name === 'Error' ? 'bad' : undefined}>
        {readable(value)}
      </pre>
    </figure>
  );
}
