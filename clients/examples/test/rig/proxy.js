/** The one address that clients know: passes every connection on to the gateway that is named. */
import { connect, createServer } from 'node:net';

export class Proxy {
  /** Connections that reached a gateway. */
  passed = 0;
  #to;
  #server;
  #sockets = new Set();

  static async start(port) {
    const proxy = new Proxy();
    proxy.#to = port;
    proxy.#server = createServer(client => proxy.#pass(client));
    await new Promise(resolve => proxy.#server.listen(0, '127.0.0.1', resolve));
    proxy.http = `http://127.0.0.1:${proxy.#server.address().port}`;
    return proxy;
  }

  /** Where new connections go; nowhere without a port. Those that are there stay where they are. */
  point(port) {
    this.#to = port;
  }

  async stop() {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise(resolve => this.#server.close(resolve));
  }

  #pass(client) {
    if (this.#to === undefined) {
      client.resetAndDestroy();
      return;
    }
    const gateway = connect(this.#to, '127.0.0.1', () => {
      this.passed += 1;
    });
    for (const [from, to] of [
      [client, gateway],
      [gateway, client],
    ]) {
      this.#sockets.add(from);
      from.setNoDelay(true).pipe(to);
      from.on('error', () => to.destroy());
      from.on('close', () => {
        this.#sockets.delete(from);
        to.destroy();
      });
    }
  }
}
