/** A question of an execution, answered in place. */
import type { Prompt as Question } from '@weft/client';
import { askedBy, fieldOf, typed } from '@weft/client/view/prompt.js';
import { type ReactNode, type SubmitEvent, useId } from 'react';
import { useAction } from '../hooks.js';
import type { Run } from '../run.js';
import { Refused } from './status.js';

export function Prompt({ run, question }: { run: Run; question: Question }): ReactNode {
  const id = useId();
  const asked = askedBy(question);
  const answer = useAction((value: unknown) => run.answer(question.requestId, value));
  const isOver = answer.isBusy || answer.isDone;
  const submit = (event: SubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    const text = new FormData(event.currentTarget).get('answer');
    if (typeof text === 'string') answer.run(typed(asked.type, text));
  };
  return (
    <form className="prompt" onSubmit={submit} aria-label="A question of the execution">
      <label htmlFor={asked.type === 'boolean' ? undefined : id} id={`${id}-label`}>
        {question.prompt}
      </label>
      <div className="row" role="group" aria-labelledby={`${id}-label`}>
        {asked.type === 'boolean' ? (
          <>
            <button type="button" className="main" disabled={isOver} onClick={() => answer.run(true)}>
              Yes
            </button>
            <button type="button" disabled={isOver} onClick={() => answer.run(false)}>
              No
            </button>
          </>
        ) : (
          <>
            {asked.type === 'choice' ? (
              <select id={id} name="answer" disabled={isOver}>
                {asked.choices.map(choice => (
                  <option key={choice}>{choice}</option>
                ))}
              </select>
            ) : (
              <input id={id} name="answer" {...fieldOf(asked)} disabled={isOver} />
            )}
            <button type="submit" className="main" disabled={isOver}>
              Answer
            </button>
          </>
        )}
        <span role="status" className="quiet">
          {answer.isBusy && 'Sent…'}
          {answer.isDone && 'Accepted'}
        </span>
      </div>
      <Refused error={answer.error} />
    </form>
  );
}
