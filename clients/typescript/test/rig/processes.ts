/** Real gateways and brokers, each on ports of its own, ended with the test. */
import { type ChildProcess, spawn } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ends, sleep, until } from './index.js';

// By paths: the URLs of a simulated page are not those of files.
const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '../../../..');

/** The first of these programs that exists. */
function program(what: string, ...places: (string | undefined)[]): string {
  const found = places.find(place => place && existsSync(place));
  if (!found) throw new Error(`no ${what}: looked at ${places.filter(Boolean).join(', ')}`);
  return found;
}

const given = new Set<number>();

/** A port that nobody has, and that none is given who connects to somebody: those begin at 32,768. Never the same twice. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 22_000);
    if (given.has(port)) continue;
    given.add(port);
    const server = createServer();
    const isFree = await new Promise<boolean>(resolve => {
      server.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true));
    });
    if (!isFree) continue;
    await new Promise(resolve => server.close(resolve));
    return port;
  }
}

/** A folder that goes with the test. */
export function folder(): string {
  return ends(mkdtempSync(join(tmpdir(), 'weft-client-')), path => rmSync(path, { recursive: true, force: true }));
}

/** Starts a process, kept to be ended after the test. */
export function start(
  path: string,
  args: string[],
  env: Record<string, string>,
): ChildProcess & { said: () => string } {
  const process_ = spawn(path, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  // Also when the tests themselves are ended.
  const kill = () => void process_.kill('SIGKILL');
  process.once('exit', kill);
  process_.once('exit', () => process.off('exit', kill));
  let said = '';
  const hear = (chunk: unknown) => {
    said = (said + String(chunk)).slice(-4000);
  };
  process_.stdout?.on('data', hear);
  process_.stderr?.on('data', hear);
  ends(process_, async it => {
    if (it.exitCode !== null || it.signalCode !== null) return;
    it.kill('SIGKILL');
    await new Promise(resolve => it.once('exit', resolve));
  });
  return Object.assign(process_, { said: () => said });
}

/** One of our programs under a name of its own, so that a build that runs meanwhile does not pull it away. */
export function ours(what: 'gateway' | 'executor'): string {
  const target = process.env.CARGO_TARGET_DIR ?? join(root, 'target');
  const built = program(
    `${what} (cargo build --package weft-${what})`,
    process.env[`WEFT_TEST_${what.toUpperCase()}`],
    join(target, `debug/${what}`),
  );
  const place = join(here, '../../.cache', what);
  mkdirSync(place, { recursive: true });
  const { ino, mtimeMs } = statSync(built);
  const name = `${what}-${ino}-${Math.round(mtimeMs)}`;
  for (const old of readdirSync(place)) if (!old.startsWith(name)) rmSync(join(place, old), { force: true });
  const kept = join(place, name);
  if (existsSync(kept)) return kept;
  // Another worker may do the same right now: what has the name is whole.
  const mine = `${kept}.${process.pid}`;
  try {
    linkSync(built, mine);
  } catch {
    copyFileSync(built, mine);
  }
  renameSync(mine, kept);
  return kept;
}

export interface GatewayProcess {
  address: string;
  http: string;
  /** Ends it without a word. */
  kill(): Promise<void>;
  /** Stops it where it stands: its sockets stay open, and nothing comes of them. */
  freeze(): void;
  /** Has it leave politely. */
  drain(): void;
  publish(events: object | object[], token?: string): Promise<void>;
  /** What it has written to its log. */
  said(): string;
}

/** What our programs end with where something is missing, such as a port that somebody has taken in the meantime. */
const UNAVAILABLE = 69;

/** Starts a gateway, the one that was built unless another is named, and waits until it serves. */
export async function startGateway(
  bus = 'memory:',
  settings: Record<string, string> = {},
  program = ours('gateway'),
): Promise<GatewayProcess> {
  for (let attempt = 1; ; attempt++) {
    const [address, admin] = [settings.WEFT_LISTEN ?? `127.0.0.1:${await freePort()}`, await freePort()];
    const env = {
      WEFT_LISTEN: address,
      WEFT_ADMIN_LISTEN: `127.0.0.1:${admin}`,
      WEFT_BUS: bus,
      WEFT_LOG: 'warn',
      ...settings,
    };
    const child = start(program, [], env);
    const isReady = async () =>
      child.exitCode !== null || (await fetch(`http://127.0.0.1:${admin}/readyz`).catch(() => undefined))?.ok;
    await until(isReady, () => `ready; it said: ${child.said()}`, 30_000);
    if (child.exitCode === null) return gatewayOf(child, address);
    if (child.exitCode !== UNAVAILABLE || attempt === 20) throw new Error(`the gateway has ended: ${child.said()}`);
    await sleep(250);
  }
}

function gatewayOf(child: ReturnType<typeof start>, address: string): GatewayProcess {
  const http = `http://${address}`;
  return {
    address,
    http,
    async kill() {
      const gone = new Promise(resolve => child.once('exit', resolve));
      child.kill('SIGKILL');
      await gone;
    },
    freeze: () => void child.kill('SIGSTOP'),
    drain: () => void child.kill('SIGTERM'),
    publish: (events, token) => publish(http, events, token),
    said: child.said,
  };
}

/** An executor with the sample workflows, on a broker or at a gateway. */
export async function startExecutor(where: { bus: string } | { gateway: string; token?: string }): Promise<void> {
  const [port, admin] = [await freePort(), await freePort()];
  const tokenFile = join(folder(), 'token');
  if ('token' in where) writeFileSync(tokenFile, where.token ?? '');
  const child = start(ours('executor'), [], {
    ...('bus' in where ? { WEFT_BUS: where.bus } : { WEFT_GATEWAY_URL: where.gateway }),
    ...('token' in where ? { WEFT_GATEWAY_TOKEN_FILE: tokenFile } : {}),
    WEFT_EXECUTOR_LISTEN: `127.0.0.1:${port}`,
    WEFT_ADMIN_LISTEN: `127.0.0.1:${admin}`,
    WEFT_WORKFLOW_DIR: join(root, 'services/executor/workflows'),
    WEFT_LOG: 'warn',
  });
  const isReady = async () => {
    if (child.exitCode !== null) throw new Error(`the executor has ended: ${child.said()}`);
    return (await fetch(`http://127.0.0.1:${admin}/readyz`)).ok;
  };
  await until(isReady, () => `the executor is ready; it said: ${child.said()}`);
}

/** Publishes over HTTP; the gateway answers once it is stored. */
export async function publish(http: string, events: object | object[], token?: string): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    const headers = { 'content-type': 'application/json', ...(token ? { authorization: `Bearer ${token}` } : {}) };
    const response = await fetch(`${http}/api/events`, { method: 'POST', headers, body: JSON.stringify(events) });
    if (response.status === 202) return;
    if (response.status !== 503 || attempt > 50) throw new Error(`${response.status}: ${await response.text()}`);
    await sleep(100);
  }
}

/** Starts a broker; answers the bus address of gateways. */
export async function startBroker(kind: 'nats' | 'redis'): Promise<string> {
  const port = await freePort();
  const data = folder();
  if (kind === 'nats') {
    const venv = [join(root, '.cache/natsvenv/bin/nats-server'), '/opt/natsvenv/bin/nats-server'];
    const server = program(
      'nats-server',
      process.env.WEFT_TEST_NATS_SERVER,
      ...venv,
      '/usr/sbin/nats-server',
      '/usr/bin/nats-server',
    );
    start(server, ['--addr', '127.0.0.1', '--port', `${port}`, '--jetstream', '--store_dir', data], {});
  } else {
    const places = [process.env.WEFT_TEST_REDIS_SERVER, '/usr/bin/redis-server', '/usr/local/bin/redis-server'];
    start(
      program('redis-server', ...places),
      ['--bind', '127.0.0.1', '--port', `${port}`, '--dir', data, '--save', ''],
      {},
    );
  }
  return `${kind}://127.0.0.1:${port}`;
}
