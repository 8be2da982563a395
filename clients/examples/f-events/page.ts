// An EventSource comes back by itself, with the id of the last event that it has seen.
import { execution, gateway } from '../given';

const show = (id: string, text: string) => {
  const element = document.getElementById(id);
  if (element) element.textContent = text;
};
const item = (text: string) => Object.assign(document.createElement('li'), { textContent: text });
const nodes = new Map<string, string>();

function node(id: string, status: string) {
  nodes.set(id, status);
  document.getElementById('nodes')?.replaceChildren(...[...nodes].map(([id, status]) => item(`${id} ${status}`)));
}

// biome-ignore lint/suspicious/noExplicitAny: every type of event has data of its own
function ended(status: string, { result, error }: any) {
  show('status', status);
  if (result !== undefined && result !== null) show('result', JSON.stringify(result));
  if (error) show('error', error);
  if (!['completed', 'failed', 'cancelled'].includes(status)) return;
  source.close();
  show('connection', 'closed');
}

const source = new EventSource(`${gateway}/api/executions/${execution}/events?snapshot=true`);
source.onopen = () => show('connection', 'connected');
source.onerror = () => show('connection', source.readyState === EventSource.CLOSED ? 'refused' : 'lost');
// biome-ignore lint/suspicious/noExplicitAny: every type of event has data of its own
const on = (type: string, run: (message: any) => void) =>
  source.addEventListener(type, event => run(JSON.parse(event.data)));

on('snapshot', ({ snapshot }) => {
  for (const [id, { status }] of Object.entries<{ status: string }>(snapshot.nodes)) node(id, status);
  ended(snapshot.status, snapshot);
});
on('log', ({ data }) => document.getElementById('logs')?.append(item(data.message)));
on('execution:started', () => show('status', 'running'));
on('execution:progress', ({ data }) => show('progress', `${data.progress}%`));
for (const status of ['completed', 'failed', 'cancelled']) on(`execution:${status}`, ({ data }) => ended(status, data));
on('node:started', ({ nodeId }) => node(nodeId, 'running'));
for (const status of ['completed', 'failed']) on(`node:${status}`, ({ nodeId }) => node(nodeId, status));
