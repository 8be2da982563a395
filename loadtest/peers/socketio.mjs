// Rooms on Socket.IO with its Redis adapter, as its documentation has it; events come from another process through the
// adapter's channels, as its Redis emitter would send them.
//
//   REDIS_PORT=6379 PORT=3000 node socketio.mjs
import { createServer } from 'node:http';
import { createAdapter } from '@socket.io/redis-adapter';
import { createClient } from 'redis';
import { Server } from 'socket.io';

const publish = createClient({ url: `redis://127.0.0.1:${process.env.REDIS_PORT}` });
const subscribe = publish.duplicate();
for (const client of [publish, subscribe]) {
  client.on('error', (error) => {
    console.error('redis', error);
    process.exit(1);
  });
}
await Promise.all([publish.connect(), subscribe.connect()]);

const http = createServer();
const io = new Server(http, { adapter: createAdapter(publish, subscribe), serveClient: false, transports: ['websocket'] });
io.on('connection', (socket) => {
  socket.on('subscribe', (room, done) => {
    socket.join(room);
    done({ ok: true });
  });
});
http.listen({ host: '127.0.0.1', port: Number(process.env.PORT), backlog: 4096 }, () => console.log('ready'));
