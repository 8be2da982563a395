// The page at `/`: one native-protocol connection, one followed room, its state and its events.
// What comes from the network is only ever set as text, never as markup.
'use strict';

const EVENT_LINES_MAX = 500;
const OFFSETS_REMEMBERED_MAX = 2000;
const JSON_SHOWN_CHARS_MAX = 16 * 1024;
const TOKENS_SHOWN_CHARS_MAX = 4000;
const NODES_SHOWN_MAX = 200;
const NODES_KEPT_MAX = 1000;
const PROMPTS_MAX = 64;
const ANSWERS_AWAITED_MAX = 32;
const ANSWER_TIMEOUT_MS = 15_000;
const PING_INTERVAL_MS = 10_000;
const PONG_TIMEOUT_MS = 25_000;
const BACKOFF_FIRST_MS = 500;
const BACKOFF_MAX_MS = 30_000;
// A connection that held this long was a good one: the next loss begins again with a short pause.
const STEADY_MS = 10_000;
const TERMINAL = new Set(['completed', 'failed', 'cancelled']);
const STATUS_COLOUR = { pending: 'grey', running: 'yellow', completed: 'green', failed: 'red', cancelled: 'grey' };
// After these a client changes something before it comes back; a new attempt would end the same way.
const CLOSED_FOR_GOOD = new Set([1002, 1003, 1007, 1009, 4400, 4401, 4403]);

const $ = (id) => document.getElementById(id);

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);
const clipped = (text, max) => (text.length > max ? `${text.slice(0, max)}… (${text.length} characters)` : text);
const shown = (value) => (typeof value === 'string' ? value : JSON.stringify(value));

// ---------------------------------------------------------------- the connection

const connection = {
  socket: null,
  wanted: true,
  attempts: 0,
  retryTimer: null,
  pingTimer: null,
  steadyTimer: null,
  hintMs: null,
  heardAt: 0,
  pingSentAt: new Map(),
  references: 0,
  awaited: new Map(),
  degraded: false,
};

function badge(colour, text) {
  const state = $('state');
  if (state.textContent === text && state.classList.contains(colour)) return;
  state.className = `badge ${colour}`;
  state.textContent = text;
}

function connect() {
  clearTimeout(connection.retryTimer);
  if (connection.socket) return;
  connection.wanted = true;
  $('toggle').textContent = 'Disconnect';
  badge('yellow', connection.attempts === 0 ? 'connecting' : 'reconnecting');
  const address = new URL('/api/ws', location.href);
  address.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
  const socket = new WebSocket(address, ['weft.v1.json']);
  connection.socket = socket;
  connection.hintMs = null;
  connection.heardAt = performance.now();
  // Pings begin with the attempt, so that one which never opens is given up as well.
  connection.pingTimer = setInterval(ping, PING_INTERVAL_MS);
  socket.onopen = opened;
  socket.onmessage = (message) => {
    connection.heardAt = performance.now();
    for (const line of String(message.data).split('\n')) if (line) heard(line);
  };
  socket.onclose = (close) => lost(socket, close.code, close.reason);
}

// ---------------------------------------------------------------- the token

// As the console keeps it: for this tab, in no address and no cookie.
const TOKEN_KEY = 'weft.token';

function token() {
  try {
    return sessionStorage.getItem(TOKEN_KEY) ?? '';
  } catch {
    return '';
  }
}

function keepToken(text) {
  try {
    sessionStorage.setItem(TOKEN_KEY, text);
  } catch {
    // A browser may forbid it; then it is asked for again.
  }
}

const authorization = () => (token() ? { authorization: `Bearer ${token()}` } : {});

function askForToken(why) {
  $('sign-in-why').textContent = why;
  $('sign-in').hidden = false;
}

function opened() {
  if (token()) send({ type: 'auth', token: token(), ref: reference() });
  connection.steadyTimer = setTimeout(() => { connection.attempts = 0; }, STEADY_MS);
  connected();
  ping();
  if (followed) subscribe();
}

function connected() {
  if (connection.degraded) badge('yellow', 'connected, broker away');
  else badge('green', 'connected');
}

function lost(socket, code, reason) {
  if (connection.socket !== socket) return;
  connection.socket = null;
  clearInterval(connection.pingTimer);
  clearTimeout(connection.steadyTimer);
  connection.pingSentAt.clear();
  $('latency').textContent = '';
  setDegraded(false);
  for (const answer of connection.awaited.values()) answer('the connection was lost before an answer came');
  connection.awaited.clear();
  if (!connection.wanted) return badge('grey', 'not connected');
  if (CLOSED_FOR_GOOD.has(code)) {
    connection.wanted = false;
    $('toggle').textContent = 'Connect';
    if (code === 4401) askForToken(token() ? 'The gateway does not take this token. Give a newer one.' : 'This gateway asks for a token.');
    note(`The gateway closed the connection: ${code} ${reason}`, 'warning');
    return badge('red', `closed: ${code}`);
  }
  comeBack(code, reason);
}

// Full jitter: a fleet of clients that lost one gateway together shall not return together.
function comeBack(code, reason) {
  const ceiling = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** connection.attempts);
  const floor = code === 1008 || code === 1013 ? 1000 : 0;
  const pause = connection.hintMs ?? floor + Math.random() * ceiling;
  connection.attempts = Math.min(connection.attempts + 1, 16);
  note(`Connection lost (${code}${reason ? ` ${reason}` : ''}); back in ${(pause / 1000).toFixed(1)} s`, 'warning');
  badge(connection.attempts > 4 ? 'red' : 'yellow', 'reconnecting');
  connection.retryTimer = setTimeout(connect, pause);
}

function disconnect() {
  connection.wanted = false;
  clearTimeout(connection.retryTimer);
  $('toggle').textContent = 'Connect';
  const socket = connection.socket;
  if (socket) {
    socket.close(1000);
    lost(socket, 1000, '');
  }
  badge('grey', 'not connected');
}

function send(message) {
  if (connection.socket?.readyState !== WebSocket.OPEN) return false;
  connection.socket.send(JSON.stringify(message));
  return true;
}

function reference() {
  connection.references += 1;
  return `page-${connection.references}`;
}

function ping() {
  const socket = connection.socket;
  if (socket && performance.now() - connection.heardAt > PONG_TIMEOUT_MS) {
    // A dead peer answers no close either; let go of it at once.
    socket.close();
    return lost(socket, 4408, 'no answer to pings');
  }
  const ref = reference();
  if (connection.pingSentAt.size < ANSWERS_AWAITED_MAX && send({ type: 'ping', ref })) {
    connection.pingSentAt.set(ref, performance.now());
  }
}

// Sends a command; `answer` is called once, with 'accepted' or with what went wrong.
function command(message, answer) {
  if (connection.awaited.size >= ANSWERS_AWAITED_MAX) return answer('too many commands under way');
  const ref = reference();
  if (!send({ ...message, ref })) return answer('not connected');
  const timer = setTimeout(() => settle(ref, 'no answer yet; it may still arrive'), ANSWER_TIMEOUT_MS);
  connection.awaited.set(ref, (text) => { clearTimeout(timer); answer(text); });
}

function settle(ref, text) {
  const answer = connection.awaited.get(ref);
  connection.awaited.delete(ref);
  if (answer) answer(text);
  return Boolean(answer);
}

function setDegraded(active) {
  connection.degraded = active;
  $('notice').hidden = !active;
  $('notice').textContent = active ? 'The broker is away. Nothing is lost: events follow when it is back.' : '';
}

// ---------------------------------------------------------------- the followed room

// { room, executionId, replay, offset, seen, snapshot }
let followed = null;

function follow(name, replay) {
  const room = /^(execution|user|agent|kb):/.test(name) ? name : `execution:${name}`;
  if (followed && followed.room !== room) send({ type: 'unsubscribe', room: followed.room });
  const executionId = room.startsWith('execution:') ? room.slice('execution:'.length) : null;
  followed = { room, executionId, replay, offset: null, seen: new Set(), snapshot: emptySnapshot() };
  clearEvents();
  $('room').value = executionId ?? room;
  $('followed').textContent = room;
  $('outcome').textContent = '';
  $('cancel-answer').textContent = '';
  $('offset').textContent = 'none yet';
  $('empty').hidden = true;
  $('snapshot').hidden = false;
  history.replaceState(null, '', `#${encodeURIComponent(room)}`);
  prompts.clear();
  $('prompts').replaceChildren();
  showTry();
  draw();
  subscribe();
}

function subscribe() {
  const offset = followed.offset ?? (followed.replay ? '0' : undefined);
  // With an offset everything after it follows; the state comes along only where there is none.
  send({ type: 'subscribe', room: followed.room, offset, snapshot: offset === undefined, ref: reference() });
}

function moveTo(offset) {
  if (!offset) return;
  followed.offset = offset;
  $('offset').textContent = offset;
}

// Whether this offset is new; a bounded memory, because a resume repeats at most what was under way.
function isNew(offset) {
  const { seen } = followed;
  if (!offset) return true;
  if (seen.has(offset)) return false;
  seen.add(offset);
  if (seen.size > OFFSETS_REMEMBERED_MAX) seen.delete(seen.values().next().value);
  return true;
}

function emptySnapshot() {
  return { status: null, nodes: new Map(), pendingInput: [] };
}

// ---------------------------------------------------------------- what the gateway says

function heard(line) {
  let message;
  try {
    message = JSON.parse(line);
  } catch {
    return note('A frame that is not JSON was ignored.', 'warning');
  }
  if (!isObject(message) || typeof message.type !== 'string') return;
  // Events have a colon in their type, or are `log`; everything else speaks of the connection.
  if (message.type === 'log' || message.type.includes(':')) return event(message);
  switch (message.type) {
    case 'connected': break;
    case 'subscribed': return subscribed(message);
    case 'snapshot': return snapshot(message);
    case 'gap': return gap(message);
    case 'pong': return pong(message);
    case 'ack': settle(message.ref, 'accepted'); break;
    case 'error': return refused(message);
    case 'reconnect':
      connection.hintMs = Number(message.afterMs) || 0;
      note('The gateway is leaving; this page moves to another one.', 'warning');
      break;
    case 'degraded':
      setDegraded(message.active === true);
      connected();
      note(message.active ? 'The broker is away.' : 'The broker is back.', 'warning');
      break;
    default: break;
  }
}

function subscribed(message) {
  if (message.room !== followed?.room) return;
  $('outcome').textContent = `last subscribe: ${message.outcome}`;
  // A reconnect goes on from here. Of the other outcomes the first event or the state tells where that is: until
  // one of them has arrived the old place is the right one to ask from again.
  if (message.outcome === 'live') moveTo(message.offset);
  note({
    live: 'Following: events appear as they happen.',
    resumed: followed.seen.size > 0 ? 'Resumed: nothing was missed.' : 'Replaying from the start.',
    snapshot: 'Following from the current state.',
    gap: 'Following again; some events are gone.',
  }[message.outcome] ?? `Following (${message.outcome}).`);
}

function snapshot(message) {
  if (message.room !== followed?.room || !isObject(message.snapshot)) return;
  const told = message.snapshot;
  followed.snapshot = {
    ...told,
    nodes: new Map(isObject(told.nodes) ? Object.entries(told.nodes) : []),
    pendingInput: Array.isArray(told.pendingInput) ? told.pendingInput : [],
  };
  moveTo(message.offset);
  note('State received.');
  draw();
}

function gap(message) {
  if (message.room !== followed?.room) return;
  // What was seen before a gap may belong to another history.
  followed.seen.clear();
  moveTo(message.missedTo);
  const span = message.missedFrom ? ` after ${message.missedFrom}` : '';
  note(`Gap: events${span} are gone (${message.reason ?? 'reason unknown'}).`, 'warning');
}

function pong(message) {
  const sentAt = connection.pingSentAt.get(message.ref);
  connection.pingSentAt.delete(message.ref);
  if (sentAt !== undefined) $('latency').textContent = `${(performance.now() - sentAt).toFixed(1)} ms`;
}

function refused(message) {
  if (message.code === 'token_expired') askForToken('The token expires within 30 seconds. Give a newer one.');
  const text = `${message.code}: ${message.message}`;
  if (!settle(message.ref, text)) note(text, 'warning');
}

function event(told) {
  if (!followed) return;
  // An event of the room left a moment ago may still be under way.
  const by = told.room ?? (told.executionId ? `execution:${told.executionId}` : followed.room);
  if (by !== followed.room || !isNew(told.offset)) return;
  moveTo(told.offset);
  if (followed.executionId) fold(followed.snapshot, told);
  queue({ event: told });
  draw();
}

// ---------------------------------------------------------------- state, folded as the gateway folds it

function fold(state, told) {
  const [family, name] = told.type.split(':');
  const data = isObject(told.data) ? told.data : {};
  state.workflowId ??= told.workflowId;
  state.userId ??= told.userId;
  const ended = TERMINAL.has(state.status);
  if (family === 'execution') foldExecution(state, name, data, told.timestamp, ended);
  else if (family === 'node') foldNode(state, told.nodeId ?? data.nodeId, name, data, told.timestamp);
  else if (family === 'agent') foldNode(state, told.agentId ?? data.agentId, name, data, told.timestamp);
  else if (family === 'user_input' && data.requestId !== undefined) {
    state.pendingInput = state.pendingInput.filter((prompt) => prompt.requestId !== data.requestId);
    if (name === 'required' && !ended) state.pendingInput = [...state.pendingInput, data].slice(-PROMPTS_MAX);
  }
}

function foldExecution(state, name, data, at, ended) {
  if (ended) return;
  if (name === 'started') {
    state.startedAt ??= data.startedAt ?? at;
    state.status = data.status ?? 'running';
  } else if (name === 'updated' || name === 'progress') {
    state.progress = data.progress ?? state.progress;
    state.currentNode = data.currentNode ?? data.currentAgent ?? state.currentNode;
    if (name === 'updated' && data.status) state.status = data.status;
    else if (!state.status || state.status === 'pending') state.status = 'running';
  } else if (TERMINAL.has(name)) {
    state.status = name;
    state.result = data.result ?? data.outputs;
    state.error = data.error ?? data.reason;
    state.endedAt = at;
    state.currentNode = null;
    state.pendingInput = [];
  }
}

function foldNode(state, id, name, data, at) {
  if (id === undefined || !['started', 'progress', 'completed', 'failed'].includes(name)) return;
  if (!state.nodes.has(id) && state.nodes.size >= NODES_KEPT_MAX) return;
  const node = name === 'started' ? {} : state.nodes.get(id) ?? {};
  if (name === 'started') Object.assign(node, { status: 'running', startedAt: data.startedAt ?? at });
  else if (name === 'progress') Object.assign(node, { status: node.status ?? 'running', progress: data.progress });
  else Object.assign(node, { status: name, completedAt: data.completedAt ?? at, error: data.error });
  state.nodes.set(id, node);
}

// ---------------------------------------------------------------- drawing, at most once a frame

let drawing = false;
let queued = [];
let received = 0;
// The last line, where it shows tokens that the next token may join.
let tokenLine = null;

function queue(item) {
  if (item.event) received += 1;
  queued.push(item);
  // Only the last lines are kept, so that no more need to wait for being drawn, as in a hidden tab.
  if (queued.length > 2 * EVENT_LINES_MAX) queued = queued.slice(-EVENT_LINES_MAX);
  draw();
}

function note(text, level = '') {
  queue({ note: text, level });
}

function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    drawEvents();
    if (followed) drawState(followed.snapshot);
  });
}

function clearEvents() {
  queued = [];
  received = 0;
  tokenLine = null;
  $('events').replaceChildren();
  $('count').textContent = '';
}

function drawEvents() {
  const list = $('events');
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  for (const item of queued) {
    const line = item.event ? eventLine(item.event) : noteLine(item.note, item.level);
    if (line) list.append(line);
  }
  queued = [];
  while (list.childElementCount > EVENT_LINES_MAX) list.firstElementChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
  $('count').textContent = received > 0 ? `${received} received` : '';
}

function noteLine(text, level) {
  tokenLine = null;
  return element('li', `told ${level}`, text);
}

function eventLine(told) {
  if (told.type === 'agent:token' && joinToken(told)) return null;
  const family = told.type.split(':')[0];
  const level = told.type === 'log' ? ` level-${told.data?.level}` : '';
  const line = element('li', `family-${family}${/^[\w -]*$/.test(level) ? level : ''}`);
  const details = element('details');
  const summary = element('summary');
  const text = element('span', 'text', summaryOf(told));
  const offset = element('span', 'offset', told.offset ?? '');
  if (told.offset) offset.title = told.offset;
  summary.append(element('span', 'time', timeOf(told.timestamp)), element('span', 'kind', told.type), text, offset);
  details.append(summary);
  // Kept as bounded text: five hundred events of a megabyte each would be too much for a page.
  const json = clipped(JSON.stringify(told, null, 2), JSON_SHOWN_CHARS_MAX);
  details.addEventListener('toggle', () => {
    if (details.open && details.childElementCount === 1) details.append(element('pre', '', json));
  });
  line.append(details);
  tokenLine = told.type === 'agent:token' ? { agent: agentOf(told), text, offset } : null;
  return line;
}

const agentOf = (told) => told.agentId ?? told.data?.agentId;

// Tokens of one agent in a row make one line that grows, as the text does.
function joinToken(told) {
  if (!tokenLine || tokenLine.agent !== agentOf(told)) return false;
  if (tokenLine.text.textContent.length > TOKENS_SHOWN_CHARS_MAX) return false;
  tokenLine.text.textContent += told.data?.token ?? '';
  tokenLine.offset.textContent = told.offset ?? '';
  return true;
}

function timeOf(timestamp) {
  const time = new Date(timestamp ?? NaN);
  if (Number.isNaN(time.getTime())) return '';
  const two = (n) => String(n).padStart(2, '0');
  const millis = String(time.getMilliseconds()).padStart(3, '0');
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}.${millis}`;
}

function summaryOf(told) {
  const data = isObject(told.data) ? told.data : {};
  const who = told.nodeId ?? data.nodeId ?? agentOf(told) ?? '';
  let what;
  if (told.type === 'log') what = data.message;
  else if (told.type === 'agent:token') what = data.token;
  else if (data.progress !== undefined) what = `${shown(data.progress)} %`;
  else what = data.error ?? data.prompt ?? data.result ?? data.output ?? data.message ?? data.status ?? data.reason;
  const skipped = told.skipped ? ` (and ${told.skipped} before it)` : '';
  const text = what === undefined || what === null ? '' : shown(what);
  return clipped([who, text].filter((part) => part !== '').join(told.type === 'agent:token' ? ' ' : ': '), 600) + skipped;
}

function drawState(state) {
  const status = state.status ?? (followed.executionId ? 'not seen yet' : 'a room of many executions');
  $('status').className = `badge ${STATUS_COLOUR[state.status] ?? 'grey'}`;
  $('status').textContent = status;
  $('cancel').disabled = !followed.executionId || TERMINAL.has(state.status);
  const progress = Number(state.status === 'completed' ? 100 : state.progress);
  $('progress').hidden = !Number.isFinite(progress) || state.progress === null || (state.progress === undefined && state.status !== 'completed');
  if (!$('progress').hidden) $('progress').value = Math.max(0, Math.min(100, progress));
  drawFacts(state);
  drawNodes(state.nodes);
  drawPrompts(state.pendingInput);
}

function drawFacts(state) {
  const facts = [
    ['Workflow', state.workflowId], ['Owner', state.userId], ['At', state.currentNode], ['Started', timeOf(state.startedAt)],
    ['Ended', timeOf(state.endedAt)], ['Result', state.result], ['Error', state.error],
  ];
  const rows = facts.filter(([, value]) => value !== undefined && value !== null && value !== '');
  $('facts').replaceChildren(...rows.flatMap(([name, value]) => [element('dt', '', name), element('dd', '', clipped(shown(value), 4000))]));
}

function drawNodes(nodes) {
  const rows = [...nodes].slice(0, NODES_SHOWN_MAX).map(([id, node]) => {
    const row = element('tr');
    const status = element('td');
    status.append(element('span', `badge ${STATUS_COLOUR[node.status] ?? 'grey'}`, node.status ?? ''));
    const took = Date.parse(node.completedAt) - Date.parse(node.startedAt);
    const progress = node.progress === undefined || node.progress === null ? '' : `${shown(node.progress)} %`;
    row.append(element('td', '', id), status, element('td', '', progress), element('td', '', took >= 0 ? `${(took / 1000).toFixed(2)} s` : ''));
    return row;
  });
  $('nodes').tBodies[0].replaceChildren(...rows);
  $('nodes').hidden = rows.length === 0;
  $('nodes').caption.textContent = nodes.size > rows.length ? `Nodes (the first ${rows.length} of ${nodes.size})` : 'Nodes';
}

// ---------------------------------------------------------------- prompts

// Forms by request id, kept over redraws: what somebody types must not vanish with the next event.
const prompts = new Map();

function drawPrompts(pending) {
  const wanted = new Set(pending.map((prompt) => prompt.requestId));
  for (const [id, form] of prompts) {
    if (wanted.has(id)) continue;
    form.remove();
    prompts.delete(id);
  }
  for (const prompt of pending) {
    if (prompts.has(prompt.requestId) || typeof prompt.requestId !== 'string') continue;
    const form = promptForm(prompt);
    prompts.set(prompt.requestId, form);
    $('prompts').append(form);
  }
}

function promptForm(prompt) {
  const form = element('form', 'prompt');
  const label = element('label', '', clipped(shown(prompt.prompt ?? 'Input is needed'), 2000));
  const input = answerInput(prompt);
  input.id = `answer-${reference()}`;
  label.htmlFor = input.id;
  const answer = element('span', 'quiet');
  answer.setAttribute('role', 'status');
  const button = element('button', '', 'Answer');
  const row = element('div', 'row');
  row.append(input, button, answer);
  form.append(label, row);
  form.addEventListener('submit', (submit) => {
    submit.preventDefault();
    button.disabled = true;
    answer.textContent = 'sent…';
    const message = {
      type: 'user_input:provide',
      executionId: followed.executionId,
      requestId: prompt.requestId,
      value: answerValue(prompt, input.value),
    };
    command(message, (text) => {
      answer.textContent = text;
      button.disabled = text === 'accepted';
      note(`Answer: ${text}`, text === 'accepted' ? '' : 'warning');
    });
  });
  return form;
}

function choicesOf(prompt) {
  const choices = prompt.validation?.choices ?? prompt.validation?.enum;
  if (Array.isArray(choices)) return choices.slice(0, 100).map(shown);
  return prompt.inputType === 'boolean' ? ['true', 'false'] : null;
}

function answerInput(prompt) {
  const choices = choicesOf(prompt);
  if (choices) {
    const select = element('select');
    select.append(...choices.map((choice) => element('option', '', choice)));
    return select;
  }
  const input = element('input');
  input.type = { number: 'number', password: 'password' }[prompt.inputType] ?? 'text';
  if (input.type === 'number') input.step = 'any';
  input.maxLength = 10_000;
  input.autocomplete = 'off';
  return input;
}

function answerValue(prompt, text) {
  if (prompt.inputType === 'number' && text !== '') return Number(text);
  if (prompt.inputType === 'boolean') return text === 'true';
  return text;
}

// ---------------------------------------------------------------- workflows

async function loadWorkflows() {
  const list = $('workflows');
  try {
    const answer = await fetch('/api/workflows', { headers: { accept: 'application/json', ...authorization() } });
    const body = await answer.json().catch(() => ({}));
    if (answer.status === 401 && !token()) askForToken('This gateway asks for a token.');
    if (!answer.ok) throw new Error(body.error?.message ?? `the gateway answered ${answer.status}`);
    const workflows = Array.isArray(body.workflows) ? body.workflows : [];
    list.replaceChildren(...workflows.map(workflowItem));
    if (workflows.length === 0) list.append(element('li', 'quiet', 'No executor offers a workflow at the moment.'));
  } catch (error) {
    list.replaceChildren(element('li', 'quiet', `No list: ${error.message}`));
  }
}

function workflowItem(workflow) {
  const item = element('li');
  const row = element('div', 'row');
  const start = element('button', '', 'Start');
  start.type = 'button';
  start.setAttribute('aria-label', `Start ${workflow.name}`);
  const answer = element('p', '', workflow.description ?? '');
  start.addEventListener('click', () => startWorkflow(workflow.name, start, answer));
  row.append(element('strong', '', workflow.name), start);
  item.append(row, answer);
  return item;
}

async function startWorkflow(name, button, answer) {
  button.disabled = true;
  try {
    const reply = await fetch(`/api/workflows/${encodeURIComponent(name)}/execute`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...authorization() },
      body: JSON.stringify({ inputs: {} }),
    });
    const body = await reply.json().catch(() => ({}));
    if (!reply.ok || typeof body.executionId !== 'string') throw new Error(body.error?.message ?? `the gateway answered ${reply.status}`);
    // It has begun already; from the start, so that its first events are seen too.
    follow(body.executionId, true);
  } catch (error) {
    answer.textContent = `Not started: ${error.message}`;
  } finally {
    button.disabled = false;
  }
}

// ---------------------------------------------------------------- the page itself

function showTry() {
  const executionId = followed?.executionId ?? 'exec-1';
  const body = JSON.stringify({ type: 'log', executionId, data: { level: 'info', message: 'hello' } });
  $('try').textContent = `curl ${location.origin}/api/events \\\n  -H 'content-type: application/json' \\\n  -d '${body}'`;
}

$('sign-in').addEventListener('submit', (submit) => {
  submit.preventDefault();
  keepToken($('token').value.trim());
  $('token').value = '';
  $('sign-in').hidden = true;
  disconnect();
  connect();
  loadWorkflows();
});
$('toggle').addEventListener('click', () => (connection.wanted ? disconnect() : connect()));
$('reload').addEventListener('click', loadWorkflows);
$('clear').addEventListener('click', clearEvents);
$('follow').addEventListener('submit', (submit) => {
  submit.preventDefault();
  const name = $('room').value.trim();
  if (name) follow(name, $('replay').checked);
});
$('cancel').addEventListener('click', () => {
  $('cancel-answer').textContent = 'sent…';
  const message = { type: 'cancel', executionId: followed.executionId, reason: 'cancelled from the page' };
  command(message, (text) => { $('cancel-answer').textContent = text; });
});
// A network that is back is worth an attempt at once.
addEventListener('online', () => { if (connection.wanted && !connection.socket) connect(); });

showTry();
loadWorkflows();
connect();
if (location.hash.length > 1) {
  try {
    follow(decodeURIComponent(location.hash.slice(1)), true);
  } catch {
    // A fragment that is no room name is nobody's mistake worth a word.
  }
}
