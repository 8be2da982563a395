import { useState } from 'react';
import { createRoot } from 'react-dom/client';
import { execution, gateway, user } from '../given';
import { useAgentStreams, useCommands, useExecution } from './useExecution';
import { useSocket } from './useSocket';

const channels = [`execution:${execution}`, ...(user ? [`user:${user}`] : [])];

function Agents() {
  const { socket, connection, refused } = useSocket(gateway, channels);
  const { status, result, error, steps, logs } = useExecution(socket);
  const texts = useAgentStreams(socket);
  const { prompt, answered, answer, cancel } = useCommands(socket, execution);
  const [value, setValue] = useState('');
  return (
    <>
      <h1>{execution}</h1>
      <p>
        <output id="status">{status}</output> (<span id="connection">{connection}</span>){' '}
        <button type="button" id="cancel" onClick={() => cancel('not needed any more')}>
          Cancel
        </button>
      </p>
      {prompt && (
        <form
          id="prompt"
          onSubmit={event => {
            event.preventDefault();
            answer(JSON.parse(value));
          }}
        >
          <label>
            <span id="question">{prompt.prompt}</span>{' '}
            <input id="answer" value={value} onChange={event => setValue(event.target.value)} />
          </label>
          <button type="submit">Answer</button>
        </form>
      )}
      <p id="answered">{answered}</p>
      <ul id="nodes">
        {Object.entries(steps).map(([id, state]) => (
          <li key={id}>
            {id} {state}
          </li>
        ))}
      </ul>
      {Object.entries(texts).map(([agent, text]) => (
        <pre key={agent} className="agent" data-agent={agent}>
          {text}
        </pre>
      ))}
      <ol id="logs">
        {logs.map((line, at) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: lines are only ever added at the end
          <li key={at}>{line}</li>
        ))}
      </ol>
      {result !== undefined && <pre id="result">{JSON.stringify(result)}</pre>}
      {(error ?? refused) && <p id="error">{error ?? refused}</p>}
    </>
  );
}

const app = document.getElementById('app');
if (app) createRoot(app).render(<Agents />);
