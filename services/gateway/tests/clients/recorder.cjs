// Unmodified Socket.IO clients that follow rooms and tell all that they hear. A client a line comes in:
//   {id, gateways, first, namespace, rooms, options}
// and what happens to it goes out, a line each. When a connection ends it comes back by itself, to the next gateway, and
// subscribes again, recovered or not, as pages do. All leave when there is nothing more to read.
'use strict';
const { io } = require('socket.io-client');
const { createInterface } = require('node:readline');

const sockets = [];
// With which status the gateway answered; 0 where none did.
const statusOf = ({ description }) =>
  typeof description === 'number' ? description : Number(/response: (\d+)/.exec(description?.message)?.[1] ?? 0);
const tell = (id, what) => process.stdout.write(`${JSON.stringify({ id, ...what })}\n`);

function follow({ id, gateways, first, namespace, rooms, options }) {
  let gateway = first % gateways.length;
  const socket = io(gateways[gateway] + namespace, {
    forceNew: true,
    reconnectionDelay: 50,
    reconnectionDelayMax: 200,
    ...options,
  });
  sockets.push(socket);
  socket.io.on('reconnect_attempt', () => {
    gateway = (gateway + 1) % gateways.length;
    socket.io.uri = gateways[gateway] + namespace;
  });
  socket.on('connect', () => {
    tell(id, { connected: gateway, recovered: socket.recovered });
    for (const room of rooms) socket.emit('subscribe', room, (answer) => tell(id, { room, answer }));
  });
  socket.on('disconnect', (reason) => tell(id, { disconnected: reason }));
  socket.on('connect_error', (error) => {
    // A gateway that is not there is no event in a client's life, nor one that asks it to come back (503); one that refuses
    // it is, be it by a word of Socket.IO or by a status.
    const status = statusOf(error);
    if (!socket.active || (status && status !== 503)) tell(id, { refused: `${error.message} ${status}` });
  });
  socket.onAny((event, payload) => tell(id, { event, payload }));
}

const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => follow(JSON.parse(line)));
lines.on('close', () => {
  for (const socket of sockets) socket.disconnect();
  process.exit(0);
});
