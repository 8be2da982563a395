// Rooms on plain `ws`, fed by Redis: what one writes without a framework. A client names its room in a message; an
// event published to a Redis channel of that name goes to all of the room.
//
//   REDIS_PORT=6379 PORT=3000 node ws.mjs
import { createClient } from 'redis';
import { WebSocketServer } from 'ws';

const rooms = new Map();
const redis = createClient({ url: `redis://127.0.0.1:${process.env.REDIS_PORT}` });
redis.on('error', (error) => {
  console.error('redis', error);
  process.exit(1);
});
await redis.connect();

async function follow(room, socket) {
  let followers = rooms.get(room);
  if (!followers) {
    followers = { sockets: new Set(), ready: redis.subscribe(room, (event) => deliver(room, event)) };
    rooms.set(room, followers);
  }
  followers.sockets.add(socket);
  socket.room = room;
  await followers.ready;
  socket.send(JSON.stringify({ type: 'subscribed', room }));
}

function deliver(room, event) {
  for (const socket of rooms.get(room)?.sockets ?? []) {
    socket.send(event);
  }
}

const server = new WebSocketServer({ host: '127.0.0.1', port: Number(process.env.PORT), perMessageDeflate: false, backlog: 4096 });
server.on('connection', (socket) => {
  socket.on('message', (text) => {
    const message = JSON.parse(text);
    if (message.type === 'subscribe') {
      follow(message.room, socket);
    }
  });
  socket.on('close', () => rooms.get(socket.room)?.sockets.delete(socket));
});
server.on('listening', () => console.log('ready'));
