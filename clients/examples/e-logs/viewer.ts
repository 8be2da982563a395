// History comes by REST, what happens now by a WebSocket; both have entries that the other has as well, and an entry is
// shown once, by its id.
import { execution, gateway, webSockets } from '../given';

const levels = ['info', 'warning', 'error'] as const;
interface Entry {
  id: string;
  step_name: string | null;
  duration_ms: number | null;
  error_message?: string;
  level: (typeof levels)[number];
  message?: string;
}
interface Stored {
  type: string;
  id: string;
  nodeId?: string;
  // biome-ignore lint/suspicious/noExplicitAny: every type of event has data of its own
  data: any;
}

const at = <T extends HTMLElement>(id: string) => document.getElementById(id) as T;
const entries = new Map<string, Entry>();
/** What came live before the history was there. */
let waiting: Entry[] | undefined = [];
const level = at<HTMLSelectElement>('level');

function add(entry: Entry) {
  if (waiting) {
    waiting.push(entry);
    return;
  }
  if (entries.has(entry.id)) return;
  entries.set(entry.id, entry);
  at('count').textContent = `${entries.size} entries`;
  if (levels.indexOf(entry.level) >= levels.indexOf(level.value as Entry['level'])) at('logs').append(line(entry));
}

function line(entry: Entry): HTMLElement {
  const item = document.createElement('li');
  item.className = entry.level;
  item.textContent = entry.error_message ?? entry.message ?? entry.step_name;
  return item;
}

/** The entry of a stored event, as the viewer's own service wrote them. */
function entryOf({ type, id, nodeId, data }: Stored): Entry | undefined {
  if (type === 'log') {
    const shown = data.level === 'debug' ? 'info' : data.level;
    return {
      id: data.id ?? id,
      step_name: data.stepName ?? null,
      duration_ms: data.durationMs ?? null,
      level: shown,
      message: data.message,
    };
  }
  if (type !== 'node:completed' && type !== 'node:failed') return undefined;
  const failed =
    type === 'node:failed' ? { level: 'error' as const, error_message: data.error } : { level: 'info' as const };
  return { id, step_name: nodeId ?? data.nodeId, duration_ms: data.durationMs ?? null, ...failed };
}

async function history() {
  const events: Stored[] = [];
  for (let after = '0', complete = false; !complete; ) {
    const response = await fetch(`${gateway}/api/executions/${execution}/events?limit=1000&after=${after}`);
    if (response.status === 404) break;
    if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
    const page = await response.json();
    events.push(...page.events);
    ({ next: after, complete } = page);
  }
  const live = waiting ?? [];
  waiting = undefined;
  for (const event of events) {
    const entry = entryOf(event);
    if (entry) add(entry);
  }
  for (const entry of live) add(entry);
}

function follow(attempt = 0) {
  const socket = new WebSocket(`${webSockets}/ws/executions/${execution}/logs`);
  let tries = attempt;
  socket.onopen = () => {
    tries = 0;
    at('connection').textContent = 'connected';
  };
  socket.onmessage = ({ data }) => add(JSON.parse(data));
  socket.onclose = () => {
    at('connection').textContent = 'lost';
    setTimeout(() => follow(tries + 1), Math.min(30_000, 1000 * 2 ** tries));
  };
}

at('start').onclick = async () => {
  const response = await fetch(`${gateway}/executions/${execution}/start-streaming`, { method: 'POST' });
  at('error').textContent = response.ok ? '' : `${response.status}`;
};
level.onchange = () => {
  const shown = [...entries.values()].filter(
    entry => levels.indexOf(entry.level) >= levels.indexOf(level.value as Entry['level']),
  );
  at('logs').replaceChildren(...shown.map(line));
};

follow();
history().catch(error => {
  at('error').textContent = String(error);
});
