// Follows an execution with `ws`, and misses nothing when the connection is lost: it passes the last offset back.
//
//   node b-node/follow.js <execution> [--gateway http://127.0.0.1:3001] [--answer <json>] [--cancel <reason>]
//
// --answer answers the first prompt, --cancel cancels as soon as the execution is followed.
import { parseArgs } from 'node:util';
import WebSocket from 'ws';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    gateway: { type: 'string', default: 'http://127.0.0.1:3001' },
    answer: { type: 'string' },
    cancel: { type: 'string' },
  },
});
const executionId = positionals[0] ?? 'hello';
const address = `${values.gateway.replace(/^http/, 'ws')}/api/ws`;
const say = line => process.stdout.write(`${line}\n`);

let offset;
let ended = false;
const awaited = new Set();

function connect() {
  const socket = new WebSocket(address);
  const send = message => socket.send(JSON.stringify(message));
  const ask = message => {
    awaited.add(message.ref);
    send({ ...message, executionId });
  };
  const answer = requestId => {
    if (values.answer === undefined || requestId === undefined) return;
    ask({ type: 'user_input:provide', requestId, value: JSON.parse(values.answer), ref: 'answer' });
    values.answer = undefined;
  };
  socket.on('open', () => send({ type: 'subscribe', executionId, snapshot: true, offset }));
  socket.on('message', text => {
    const message = JSON.parse(String(text));
    if (message.offset && message.type !== 'subscribed') offset = message.offset;
    switch (message.type) {
      case 'subscribed':
        say(`subscribed ${message.outcome}`);
        if (values.cancel) ask({ type: 'cancel', reason: values.cancel, ref: 'cancel' });
        values.cancel = undefined;
        break;
      case 'snapshot':
        say(`snapshot ${message.snapshot.status}`);
        answer(message.snapshot.pendingInput[0]?.requestId);
        break;
      case 'log':
        say(`log ${message.data.message}`);
        break;
      case 'user_input:required':
        answer(message.data.requestId);
        break;
      case 'ack':
      case 'error':
        awaited.delete(message.ref);
        say(`${message.type} ${message.ref} ${message.code ?? ''}`);
        break;
      case 'gap':
        say(`gap ${message.reason}`);
        break;
      default:
        if (message.type.startsWith('execution:')) say(message.type);
    }
    const status = message.snapshot?.status ?? message.type.replace(/^execution:/, '');
    if (['completed', 'failed', 'cancelled'].includes(status)) ended = true;
    // The end of an execution may come before the answer to what ended it.
    if (ended && awaited.size === 0) socket.close();
  });
  // Whatever went wrong, `close` follows.
  socket.on('error', error => say(`lost ${error.message}`));
  socket.on('close', () => {
    if (!ended) setTimeout(connect, Math.random() * 1000);
  });
}
connect();
