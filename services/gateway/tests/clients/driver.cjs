// Unmodified Socket.IO clients that do as they are told: a command a line comes in, what happens goes out, a line each.
'use strict';
const { io } = require('socket.io-client');
const { createInterface } = require('node:readline');
const http = require('node:http');

const sockets = new Map();
const tell = (id, what) => process.stdout.write(`${JSON.stringify({ id, ...what })}\n`);

const commands = {
  open({ id, url, options }) {
    const socket = io(url, { forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 200, ...options });
    sockets.set(id, socket);
    watch(id, socket);
    // The manager may have opened its engine already, or not.
    socket.io.on('open', () => watchEngine(id, socket.io.engine));
  },
  // A further namespace over the same connection.
  join({ id, of, namespace, options }) {
    const socket = sockets.get(of).io.socket(namespace, options);
    // It connects by itself; told to as well, it would ask for its namespace twice, which ends the connection.
    sockets.set(id, socket);
    watch(id, socket);
  },
  emit({ id, event, args, ack }) {
    const answer = ack === undefined ? [] : [(...said) => tell(id, { ack, args: said })];
    sockets.get(id).emit(event, ...args.map(revived), ...answer);
  },
  // A load balancer without affinity: each request goes to the next of these, and what is not answered with success is told.
  // New sessions are dealt out by themselves, or the beats of polls could bring all of them to one.
  proxy({ id, urls }) {
    const turns = { fresh: 0, known: 0 };
    const turn = (request) => turns[/[?&]sid=/.test(request.url) ? 'known' : 'fresh']++;
    const proxy = http.createServer((request, response) => {
      const passed = next(urls, turn(request), request, (answer) => {
        if (answer.statusCode >= 400) tell(id, { refused: `${request.method} ${request.url}: ${answer.statusCode}` });
        response.writeHead(answer.statusCode, answer.headers);
        answer.pipe(response);
      });
      passed.on('error', () => response.writeHead(502).end());
      response.on('close', () => passed.destroy());
      request.pipe(passed);
    });
    proxy.on('upgrade', (request, socket) => {
      const passed = next(urls, turn(request), request, (answer) => {
        tell(id, { refused: `upgrade ${request.url}: ${answer.statusCode}` });
        socket.end(`HTTP/1.1 ${answer.statusCode} No\r\n\r\n`);
      });
      passed.on('upgrade', (answer, upstream, head) => {
        const headers = Object.entries(answer.headers).map(([name, value]) => `${name}: ${value}\r\n`);
        socket.write(`HTTP/1.1 101 Switching Protocols\r\n${headers.join('')}\r\n`);
        socket.write(head);
        upstream.pipe(socket).on('error', () => upstream.destroy());
        socket.pipe(upstream).on('error', () => socket.destroy());
      });
      passed.on('error', () => socket.destroy());
      passed.end();
    });
    proxy.listen(0, '127.0.0.1', () => tell(id, { port: proxy.address().port }));
  },
  // Where it goes when it connects again.
  move({ id, url }) {
    sockets.get(id).io.uri = url;
  },
  // The connection breaks; the client comes again by itself.
  cut({ id }) {
    sockets.get(id).io.engine.close();
  },
  transport({ id }) {
    tell(id, { transport: sockets.get(id).io.engine.transport.name });
  },
  close({ id }) {
    sockets.get(id).disconnect();
  },
};

const next = (urls, turn, request, answered) => {
  const { hostname, port } = new URL(urls[turn % urls.length]);
  const { method, url: path, headers } = request;
  return http.request({ hostname, port, method, path, headers, agent: false }, answered);
};

const revived = (arg) => (arg && arg.bytes ? Buffer.from(arg.bytes) : arg);

function watch(id, socket) {
  socket.on('connect', () => {
    const { recovered } = socket;
    tell(id, { happened: 'connect', recovered, sid: socket.id, transport: socket.io.engine.transport.name });
  });
  socket.on('disconnect', (reason) => tell(id, { happened: 'disconnect', reason }));
  socket.on('connect_error', ({ message, data }) => tell(id, { happened: 'connect_error', message, data }));
  socket.onAny((event, ...args) => tell(id, { event, args }));
}

function watchEngine(id, engine) {
  engine.on('upgrade', (transport) => tell(id, { happened: 'upgrade', transport: transport.name }));
  engine.on('ping', () => tell(id, { happened: 'ping' }));
}

const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  const command = JSON.parse(line);
  commands[command.op](command);
});
lines.on('close', () => process.exit(0));
