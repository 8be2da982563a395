/** Starts a workflow that some executor offers. */
import { useClient } from '@weft/client/react';
import { readable } from '@weft/client/view/format.js';
import { type ReactNode, type SubmitEvent, useEffect, useId, useRef, useState } from 'react';
import { useAction, useAsked } from '../hooks.js';
import { type Input, inputsOf, type Workflow } from '../inputs.js';
import { toExecution } from '../route.js';
import { Refused } from './status.js';

/** A dialog, open for as long as it is drawn. */
export function StartDialog({ close }: { close: () => void }): ReactNode {
  const dialog = useRef<HTMLDialogElement>(null);
  const title = useId();
  useEffect(() => {
    const element = dialog.current;
    element?.showModal();
    return () => element?.close();
  }, []);
  return (
    <dialog ref={dialog} aria-labelledby={title} onClose={close} onCancel={close}>
      <div className="spread">
        <h2 id={title}>Start a workflow</h2>
        <button type="button" className="plain" onClick={close} aria-label="Close">
          <span aria-hidden="true">✕</span>
        </button>
      </div>
      <Offers close={close} />
    </dialog>
  );
}

function Offers({ close }: { close: () => void }): ReactNode {
  const { value, error, again } = useAsked<{ workflows: Workflow[] }>('/api/workflows');
  const [chosen, setChosen] = useState<string>();
  if (error) return <Refused error={error} />;
  if (!value) return <p className="quiet">Asking what there is…</p>;
  if (value.workflows.length === 0)
    return (
      <>
        <p>No executor offers a workflow at the moment.</p>
        <button type="button" onClick={again}>
          Ask again
        </button>
      </>
    );
  const workflow = value.workflows.find(({ name }) => name === chosen);
  if (workflow) return <StartForm workflow={workflow} back={() => setChosen(undefined)} close={close} />;
  return (
    <ul className="offers">
      {value.workflows.map(({ name, description }) => (
        <li key={name}>
          <button type="button" onClick={() => setChosen(name)}>
            <strong>{name}</strong>
            <span>{description}</span>
          </button>
        </li>
      ))}
    </ul>
  );
}

function StartForm({ workflow, back, close }: { workflow: Workflow; back: () => void; close: () => void }): ReactNode {
  const client = useClient();
  const first = useRef<HTMLHeadingElement>(null);
  useEffect(() => first.current?.focus(), []);
  const start = useAction(async (form: FormData) => {
    const body = JSON.stringify({ inputs: inputsOf(workflow, name => form.get(name)) });
    const answer = await client.request<{ executionId: string }>(
      `/api/workflows/${encodeURIComponent(workflow.name)}/execute`,
      { method: 'POST', headers: { 'content-type': 'application/json' }, body },
    );
    close();
    location.hash = toExecution(answer.executionId);
  });
  const submit = (event: SubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    start.run(new FormData(event.currentTarget));
  };
  return (
    <form className="start" onSubmit={submit}>
      <h3 ref={first} tabIndex={-1}>
        {workflow.name}
      </h3>
      <p className="quiet">{workflow.description}</p>
      {Object.entries(workflow.inputs ?? {}).map(([name, input]) => (
        <Field key={name} name={name} input={input} />
      ))}
      <Refused error={start.error} />
      <p className="row">
        <button type="submit" className="main" disabled={start.isBusy}>
          {start.isBusy ? 'Starting…' : 'Start'}
        </button>
        <button type="button" onClick={back}>
          Another one
        </button>
      </p>
    </form>
  );
}

function Field({ name, input }: { name: string; input: Input }): ReactNode {
  const id = useId();
  const common = { id, name, required: input.required ?? false };
  const initial = input.default === undefined ? '' : readable(input.default);
  return (
    <p className="field">
      <label htmlFor={id}>
        {name} {input.required && <span className="quiet">(required)</span>}
      </label>
      {input.type === 'boolean' ? (
        <select {...common} defaultValue={initial}>
          {!input.required && <option value="">–</option>}
          <option value="true">true</option>
          <option value="false">false</option>
        </select>
      ) : (
        <input
          {...common}
          type={input.type === 'number' ? 'number' : 'text'}
          step={input.type === 'number' ? 'any' : undefined}
          defaultValue={initial}
          autoComplete="off"
        />
      )}
      {input.description && <small className="quiet">{input.description}</small>}
    </p>
  );
}
