// Follows an execution with the messages of the event broadcaster: subscribe, unsubscribe, ping.
// `?snapshot` adds the field that asks for the state first.

const query = new URLSearchParams(location.search);
const address = (query.get('gateway') ?? 'http://127.0.0.1:3001').replace(/^http/, 'ws');
const at = id => document.getElementById(id);
const show = (id, text) => {
  at(id).textContent = text;
};

let socket;
let attempt = 0;
let executionId; // what is followed, also across connections
let requestId; // of the prompt that waits for an answer
const nodes = new Map();

const send = message => {
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
};

function connect() {
  socket = new WebSocket(`${address}/api/ws`);
  socket.onopen = () => {
    attempt = 0;
    show('connection', 'connected');
    if (executionId) subscribe();
  };
  socket.onmessage = ({ data }) => receive(JSON.parse(data));
  socket.onclose = () => {
    show('connection', 'lost');
    setTimeout(connect, Math.min(30_000, 1000 * 2 ** attempt++));
  };
}

function subscribe() {
  send({ type: 'subscribe', executionId, ...(query.has('snapshot') && { snapshot: true }) });
}

function receive(message) {
  const { type, data = {} } = message;
  if (type === 'subscribed') show('connection', 'subscribed');
  else if (type === 'unsubscribed') show('connection', 'connected');
  else if (type === 'pong') show('pong', `pong ${message.timestamp}`);
  else if (type === 'snapshot') present(message.snapshot);
  else if (type === 'ack') show('answered', 'accepted');
  else if (type === 'error') show('answered', `${message.code}: ${message.message}`);
  else if (type === 'log') line(data.message);
  else if (type.startsWith('execution:')) present(progressOf(type, data));
  else if (type.startsWith('node:'))
    present({ nodes: { [message.nodeId ?? data.nodeId]: { status: statusOf(type) } } });
  else if (type === 'user_input:required') ask(data);
  else if (type.startsWith('user_input:')) ask();
}

const statusOf = type => type.split(':')[1].replace(/^(started|progress)$/, 'running');

function progressOf(type, data) {
  return { ...data, status: type === 'execution:updated' ? data.status : statusOf(type) };
}

/** What is known now: the whole state of a snapshot, or the part that an event tells. */
function present({ status, progress, result, error, nodes: changed = {}, pendingInput }) {
  if (status) show('status', status);
  if (typeof progress === 'number') show('progress', `${progress}%`);
  if (result !== undefined && result !== null) show('result', JSON.stringify(result));
  if (error) show('error', error);
  for (const [id, node] of Object.entries(changed)) nodes.set(id, node.status);
  at('nodes').replaceChildren(...[...nodes].map(([id, state]) => item(`${id} ${state}`)));
  if (pendingInput) ask(pendingInput[0]);
  if (['completed', 'failed', 'cancelled'].includes(status)) ask();
}

function ask(prompt) {
  requestId = prompt?.requestId;
  at('prompt').hidden = !prompt;
  show('question', prompt?.prompt ?? '');
}

function item(text) {
  const element = document.createElement('li');
  element.textContent = text;
  return element;
}

const line = text => at('logs').append(item(text));

at('subscribe').onsubmit = event => {
  event.preventDefault();
  executionId = at('execution').value;
  subscribe();
};
at('unsubscribe').onclick = () => {
  send({ type: 'unsubscribe', executionId });
  executionId = undefined;
};
at('ping').onclick = () => send({ type: 'ping' });
at('cancel').onclick = () => send({ type: 'cancel', executionId, reason: 'not needed any more' });
at('prompt').onsubmit = event => {
  event.preventDefault();
  const value = at('answer').value;
  send({ type: 'user_input:provide', executionId, requestId, value: JSON.parse(value) });
};
setInterval(() => send({ type: 'ping' }), 30_000);

at('execution').value = query.get('execution') ?? 'hello';
connect();
