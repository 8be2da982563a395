// Clients of a fleet, and what they see: our own library on WebSockets, and socket.io-client as it comes from npm, once
// with a WebSocket from the start and once with its default, polling that is upgraded.
//
//   node clients.mjs '{"urls":["http://127.0.0.1:8080"],"native":400,"socketio":200,"polling":200,"rooms":["a","b"]}'
//
// Each client follows one execution. Its events are logs with the message "<room> <counter> <milliseconds>"; loss, repetition and
// order are judged by the counters alone. A line on standard input is an order, a line on standard output the answer:
//   {"order":"report"}                          what was seen so far
//   {"order":"finish","last":{"a":120,"b":119}} the same once everybody has the last event of their room, or nothing comes any more
import readline from 'node:readline';
import { connect } from '@weft/client';
import { io } from 'socket.io-client';
import { WebSocket } from 'ws';

const plan = JSON.parse(process.argv[2]);
/** Attempts after which people's own front ends give up. */
const ATTEMPTS_MAX = 5;
const STILL_MS = 15_000;
const MARK = /"message":"([\w-]+) (\d+) (\d+)"/;

/** What clients of one kind saw. */
const kinds = Object.fromEntries(
  ['native', 'socketio', 'polling'].map(kind => [
    kind,
    { opens: [], closes: [], refused: [], gaps: [], latest: 0, doubled: 0, misordered: 0, told_gaps: 0, given_up: 0, recovered: 0, unrecovered: 0, errors: [] },
  ]),
);
const clients = [];
let heard = Date.now();
/** When this process stood still, and for how many milliseconds: what it counts then has come together here, not there. */
const still = [];
const STILL_STEP_MS = 50;
const STILL_LEAST_MS = 150;
let stepped = Date.now();
setInterval(() => {
  const late = Date.now() - stepped - STILL_STEP_MS;
  if (late >= STILL_LEAST_MS) still.push([Date.now(), late]);
  stepped = Date.now();
}, STILL_STEP_MS);

/** One client: what it has seen of its room, and its connection. */
class Seen {
  first;
  next;
  holes = new Set();
  closed;
  ready = false;

  constructor(kind, number) {
    this.kind = kinds[kind];
    this.room = plan.rooms[number % plan.rooms.length];
    clients.push(this);
  }

  /** An event, in whatever form. */
  event(payload) {
    const mark = MARK.exec(JSON.stringify(payload));
    if (!mark || mark[1] !== this.room) return;
    const counter = Number(mark[2]);
    heard = Date.now();
    this.kind.latest = Math.max(this.kind.latest, heard - Number(mark[3]));
    this.first ??= counter;
    this.next ??= counter;
    if (this.holes.delete(counter)) this.kind.misordered++;
    else if (counter < this.next) this.kind.doubled++;
    else {
      for (; this.next < counter; this.next++) this.holes.add(this.next);
      this.next++;
    }
  }

  /** Events that it should have had, given the room's last. */
  lost(last) {
    return this.holes.size + (this.next === undefined ? last + 1 : Math.max(0, last + 1 - this.next));
  }

  opened() {
    this.kind.opens.push(Date.now());
  }

  /** It follows its room again. */
  back() {
    this.ready = true;
    if (this.closed) this.kind.gaps.push(Date.now() - this.closed);
    this.closed = undefined;
  }

  ended(code) {
    this.kind.closes.push([Date.now(), code]);
    this.closed ??= Date.now();
  }

  refused(why) {
    this.kind.refused.push([Date.now(), String(why).slice(0, 120)]);
  }

  giveUp(why) {
    this.kind.given_up++;
    this.kind.errors.push(`gave up: ${why}`);
  }
}

/** A WebSocket class that tells what became of each connection. */
function watched(seen) {
  return class extends WebSocket {
    constructor(url, protocols) {
      super(url, protocols, { perMessageDeflate: false });
      let open = false;
      this.on('open', () => {
        open = true;
        seen.opened();
      });
      this.on('error', error => open || seen.refused(error.message));
      this.on('close', code => open && seen.ended(code));
    }
  };
}

function native(number) {
  const seen = new Seen('native', number);
  const weft = connect(plan.urls, { WebSocket: watched(seen), transport: 'websocket' });
  const run = weft.execution(seen.room);
  run.on('subscribed', () => seen.back());
  run.on('log', event => seen.event(event));
  run.on('gap', () => seen.kind.told_gaps++);
  weft.on('state', state => state === 'failed' && seen.giveUp(weft.error?.message));
}

function socketio(number, kind, transports) {
  const seen = new Seen(kind, number);
  const socket = io(plan.urls[number % plan.urls.length], { forceNew: true, reconnectionAttempts: ATTEMPTS_MAX, ...(transports && { transports }) });
  const manager = socket.io;
  manager.on('open', () => {
    seen.opened();
    manager.engine.once('close', (reason, details) => seen.ended(details?.context?.code ?? (manager.engine.transport.name === 'polling' ? `polling: ${reason}` : reason)));
  });
  // Of a connection that stands the end is told as well.
  const refusal = error => manager._readyState === 'open' || seen.refused(`${error.message} ${error.description?.message ?? error.description ?? ''} ${error.context?.responseText ?? ''}`.trim());
  manager.on('error', refusal);
  manager.on('reconnect_failed', () => seen.giveUp('after five attempts'));
  socket.on('connect', () => {
    if (socket.recovered) {
      seen.kind.recovered++;
      return seen.back();
    }
    if (seen.ready) seen.kind.unrecovered++;
    socket.emit('subscribe', `execution:${seen.room}`, answer => {
      if (answer.ok) seen.back();
      else seen.kind.errors.push(`subscribe: ${answer.code}`);
    });
  });
  // After these its library stays away.
  socket.on('disconnect', reason => reason === 'io server disconnect' && seen.giveUp(reason));
  socket.on('connect_error', error => socket.active || seen.giveUp(error.message));
  socket.on('log', event => seen.event(event));
  socket.on('gap', () => seen.kind.told_gaps++);
}

function report(last = {}) {
  const lost = {};
  for (const [name, kind] of Object.entries(kinds)) {
    const own = clients.filter(client => client.kind === kind);
    lost[name] = own.reduce((sum, client) => sum + client.lost(last[client.room] ?? -1), 0);
  }
  const away = clients.filter(client => client.closed).map(client => Date.now() - client.closed);
  const answer = { ready: clients.filter(client => client.ready).length, away: away.length, away_ms: Math.max(0, ...away), still, followers: clients.filter(client => client.first !== undefined).length };
  answer.kinds = Object.fromEntries(Object.entries(kinds).map(([name, kind]) => [name, { ...kind, lost: lost[name], errors: kind.errors.slice(0, 5) }]));
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

async function finish(last) {
  heard = Date.now();
  while (clients.some(client => client.lost(last[client.room]) > 0) && Date.now() - heard < STILL_MS) {
    await new Promise(resolve => setTimeout(resolve, 100));
  }
  report(last);
}

readline.createInterface({ input: process.stdin }).on('line', line => {
  const { order, last } = JSON.parse(line);
  if (order === 'finish') finish(last);
  else report(last);
}).on('close', () => process.exit(0));

const starts = [
  ...Array.from({ length: plan.native ?? 0 }, (_, number) => () => native(number)),
  ...Array.from({ length: plan.socketio ?? 0 }, (_, number) => () => socketio(number, 'socketio', ['websocket'])),
  ...Array.from({ length: plan.polling ?? 0 }, (_, number) => () => socketio(number, 'polling')),
];
for (const start of starts) {
  start();
  await new Promise(resolve => setTimeout(resolve, 1000 / (plan.connects ?? 150)));
}
