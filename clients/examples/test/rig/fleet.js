/** A broker, an executor, and gateways on it. */
import { randomUUID } from 'node:crypto';
import { fleetKey, startBroker, startExecutor, startGateway } from './processes.js';
import { Relay } from './relay.js';
import { sleep } from './until.js';

export async function startFleet(kind) {
  const [broker, key] = [await startBroker(kind), fleetKey()];
  const executor = await startExecutor(broker.bus);
  return {
    /** One more gateway with settings of its own. */
    gateway: env => startGateway(broker.bus, key, env),
    /** Two gateways that reach each other, and an address that leads to the first of them. */
    async pair() {
      const start = () => startGateway(broker.bus, key);
      const gateways = await Promise.all([start(), start()]);
      return new Pair(gateways, await Relay.start(gateways[0].port), start);
    },
    async stop() {
      await executor.kill();
      await broker.kill();
    },
  };
}

class Pair {
  #start;

  constructor(gateways, relay, start) {
    this.gateways = gateways;
    this.relay = relay;
    this.#start = start;
    this.http = relay.http;
  }

  /** Kills the gateway under the clients. For a moment they reach nobody, then the other one. */
  async killFirst(away) {
    this.relay.point(undefined);
    await this.gateways[0].kill();
    await away();
    this.relay.point(this.gateways[1].port);
  }

  /** Kills the gateway under the clients again and again; each time a new one takes its place. */
  async killMany(times, pause) {
    for (let time = 0; time < times; time++) {
      const next = await this.#start();
      this.relay.point(undefined);
      await this.gateways[0].kill();
      this.gateways[0] = next;
      this.relay.point(next.port);
      await pause();
    }
  }

  /** Has the first gateway leave, as a deployment does; new connections come to the other one. */
  async drainFirst() {
    const [leaving, other] = this.gateways;
    this.relay.point(other.port);
    leaving.terminate();
    const code = await leaving.ended;
    if (code !== 0) throw new Error(`the gateway that left ended with ${code}: ${leaving.said}`);
  }

  /** Publishes through the gateway that stays. */
  async publish(...events) {
    await post(`${this.gateways[1].http}/api/events`, events);
  }

  /** Has the executor run a workflow; answers the execution's id. */
  async execute(workflow) {
    const executionId = newId();
    await post(`${this.gateways[1].http}/api/workflows/${workflow}/execute`, { executionId });
    return executionId;
  }

  async read(path) {
    const response = await fetch(`${this.gateways[1].http}${path}`);
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return response.json();
  }

  async stop() {
    await this.relay.stop();
    for (const gateway of this.gateways) await gateway.kill();
  }
}

export const newId = () => `run-${randomUUID()}`;

/** Again where the answer is to come back later. */
async function post(url, body) {
  for (let attempt = 0; ; attempt++) {
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) });
    if (response.status === 202) return;
    if (response.status !== 503 || attempt > 50) throw new Error(`${url}: ${response.status} ${await response.text()}`);
    await sleep(100);
  }
}
