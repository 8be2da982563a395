import { createRoot } from 'react-dom/client';
import { execution } from '../given';
import { useExecution } from './useExecution';

function Execution({ id }: { id: string }) {
  const { status, progress, nodes, logs, output, error, connection } = useExecution(id);
  return (
    <>
      <h1>{id}</h1>
      <p>
        <output id="status">{status}</output> <span id="progress">{Math.round(progress * 100)}%</span> (
        <span id="connection">{connection}</span>)
      </p>
      <ul id="nodes">
        {Object.entries(nodes).map(([node, state]) => (
          <li key={node}>
            {node} {state.status}
          </li>
        ))}
      </ul>
      <ol id="logs">
        {logs.map((line, at) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: lines are only ever added at the end
          <li key={at}>{line}</li>
        ))}
      </ol>
      {output !== undefined && <pre id="result">{JSON.stringify(output)}</pre>}
      {error && <p id="error">{error}</p>}
    </>
  );
}

const app = document.getElementById('app');
if (app) createRoot(app).render(<Execution id={execution} />);
