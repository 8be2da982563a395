/** A load balancer without affinity: each request goes to the next gateway, whoever's session it belongs to. */
import { request as ask, createServer } from 'node:http';

export class Balancer {
  /** Requests by the gateway's port, and those that were not answered with success. */
  passedTo = new Map();
  refused = [];
  #ports;
  #server;
  #sockets = new Set();

  static async start(ports) {
    const balancer = new Balancer();
    balancer.#ports = [...ports];
    balancer.#server = createServer((request, response) => balancer.#pass(request, response));
    balancer.#server.on('upgrade', (request, socket, head) => balancer.#upgrade(request, socket, head));
    balancer.#server.on('connection', socket => {
      balancer.#sockets.add(socket);
      socket.on('close', () => balancer.#sockets.delete(socket));
    });
    await new Promise(resolve => balancer.#server.listen(0, '127.0.0.1', resolve));
    balancer.http = `http://127.0.0.1:${balancer.#server.address().port}`;
    return balancer;
  }

  async stop() {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise(resolve => this.#server.close(resolve));
  }

  #next({ method, url, headers }) {
    const port = this.#ports.shift();
    this.#ports.push(port);
    this.passedTo.set(port, (this.passedTo.get(port) ?? 0) + 1);
    return ask({ host: '127.0.0.1', port, method, path: url, headers, agent: false });
  }

  #pass(request, response) {
    const passed = this.#next(request);
    passed.on('response', answer => {
      if (answer.statusCode >= 400) this.refused.push(`${request.method} ${request.url}: ${answer.statusCode}`);
      response.writeHead(answer.statusCode, answer.rawHeaders);
      answer.pipe(response);
    });
    passed.on('error', () => response.destroy());
    response.on('close', () => passed.destroy());
    request.pipe(passed);
  }

  #upgrade(request, client, head) {
    const passed = this.#next(request);
    passed.on('upgrade', (answer, gateway, begun) => {
      const headers = answer.rawHeaders.map((text, at) => (at % 2 ? `${text}\r\n` : `${text}: `)).join('');
      client.write(`HTTP/1.1 101 Switching Protocols\r\n${headers}\r\n`);
      client.write(begun);
      gateway.write(head);
      client.pipe(gateway).pipe(client);
      gateway.on('error', () => client.destroy());
      gateway.on('close', () => client.destroy());
      client.on('close', () => gateway.destroy());
    });
    passed.on('response', answer => {
      this.refused.push(`upgrade ${request.url}: ${answer.statusCode}`);
      client.destroy();
    });
    passed.on('error', () => client.destroy());
    client.on('error', () => passed.destroy());
    passed.end();
  }
}
