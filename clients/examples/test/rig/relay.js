/** The one address that clients know: passes every connection on to the gateway that is named. */
import { connect, createServer } from 'node:net';

export class Relay {
  /** Connections that reached a gateway. */
  passed = 0;
  #to;
  #server;
  #sockets = new Set();

  static async start(port) {
    const relay = new Relay();
    relay.#to = port;
    relay.#server = createServer(client => relay.#pass(client));
    await new Promise(resolve => relay.#server.listen(0, '127.0.0.1', resolve));
    relay.http = `http://127.0.0.1:${relay.#server.address().port}`;
    return relay;
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
