/** Brokers, gateways, executors and scripts as processes of their own, ended by what started them. */
import { spawn } from 'node:child_process';
import { copyFileSync, existsSync, linkSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { until } from './until.js';

export const root = fileURLToPath(new URL('../../../../', import.meta.url));
export const examples = fileURLToPath(new URL('../../', import.meta.url));
const target = process.env.CARGO_TARGET_DIR ?? join(root, 'target');

const running = new Set();
const folders = new Set();

/** Nothing of what was started or made stays, whatever has failed before. */
export function endAll() {
  for (const child of running) child.kill('SIGKILL');
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
}
// Also when the tests are ended from outside.
process.on('exit', endAll);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(1));

function folder(prefix = join(tmpdir(), 'weft-examples-')) {
  const path = mkdtempSync(prefix);
  folders.add(path);
  return path;
}

const given = new Set();

/** A port that nobody has, and that none is given who connects to somebody: those begin at 32,768. Never the same twice. */
export async function freePort() {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 22_000);
    if (given.has(port)) continue;
    given.add(port);
    const server = createServer();
    const isFree = await new Promise(resolve => {
      server.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true));
    });
    if (!isFree) continue;
    await new Promise(resolve => server.close(resolve));
    return port;
  }
}

/** Starts a program; `lines` is what it has written so far, `said` the end of what it said besides. */
export function start(program, args, env = {}) {
  const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  const it = { lines: [], said: '', code: undefined };
  let rest = '';
  child.stdout.setEncoding('utf8').on('data', text => {
    const lines = (rest + text).split('\n');
    rest = lines.pop();
    it.lines.push(...lines);
  });
  child.stderr.setEncoding('utf8').on('data', text => {
    it.said = (it.said + text).slice(-4000);
  });
  // Not `exit`: what it wrote last is to be read first.
  const gone = new Promise(resolve => {
    child.on('error', error => {
      it.said += error.message;
      resolve(127);
    });
    child.on('close', (code, signal) => resolve(code ?? signal));
  }).then(code => {
    running.delete(child);
    it.code = code;
    return code;
  });
  return Object.assign(it, {
    ended: gone,
    /** Waits until it has written such a line. */
    told: (holds, what = 'a line') =>
      until(
        () => {
          const found = it.lines.some(holds);
          if (!found && it.code !== undefined)
            throw new Error(`${program} has ended with ${it.code} without ${what}: ${it.said}`);
          return found;
        },
        () => `${what}; ${program} said ${it.said}\n${it.lines.slice(-5).join('\n')}`,
      ),
    terminate: () => child.kill('SIGTERM'),
    async kill() {
      child.kill('SIGKILL');
      await gone;
    },
  });
}

/** What the variable names, which is meant where it is set, or the first of these places that exists. */
function program(what, named, ...places) {
  if (named) {
    if (!existsSync(named)) throw new Error(`no ${what}: ${named} is no program`);
    return named;
  }
  const found = places.find(place => place && existsSync(place));
  if (!found) throw new Error(`no ${what}: looked at ${places.filter(Boolean).join(', ')}`);
  return found;
}

const kept = new Map();

/** One of our programs, kept under a name of its own, so that a build that runs meanwhile does not pull it away. */
function ours(what) {
  const known = kept.get(what);
  if (known) return known;
  const named = process.env[`WEFT_TEST_${what.toUpperCase()}`];
  const built = program(`${what}: cargo build --package weft-${what}`, named, join(target, 'debug', what));
  const path = join(folder(join(target, 'examples/programs-')), what);
  try {
    linkSync(built, path);
  } catch {
    copyFileSync(built, path);
  }
  kept.set(what, path);
  return path;
}

/** What a script in Python is run with: the environment that test.sh has made. */
export const python = () => program('environment for Python', undefined, join(target, 'examples/venv/bin/python'));

async function ready(child, what, port) {
  const asks = async () => {
    if (child.code !== undefined) throw new Error(`${what} has ended with ${child.code}: ${child.said}`);
    const answer = await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => undefined);
    return answer?.ok;
  };
  await until(asks, () => `${what} to be ready; it said: ${child.said}`);
}

/** A broker with nothing in it, and the address of its bus. */
export async function startBroker(kind) {
  const [port, data] = [await freePort(), folder()];
  const at = ['127.0.0.1', `${port}`];
  const child =
    kind === 'nats'
      ? start(
          program(
            'nats-server',
            process.env.WEFT_TEST_NATS_SERVER,
            join(root, '.cache/natsvenv/bin/nats-server'),
            '/opt/natsvenv/bin/nats-server',
            '/usr/sbin/nats-server',
            '/usr/bin/nats-server',
          ),
          ['--addr', at[0], '--port', at[1], '--jetstream', '--store_dir', data],
        )
      : start(
          program(
            'redis-server',
            process.env.WEFT_TEST_REDIS_SERVER,
            '/usr/bin/redis-server',
            '/usr/local/bin/redis-server',
          ),
          ['--bind', at[0], '--port', at[1], '--dir', data, '--save', ''],
        );
  return { ...child, bus: `${kind}://127.0.0.1:${port}` };
}

/** A file that holds a secret. */
export function secretFile(secret) {
  const file = join(folder(), 'key');
  writeFileSync(file, `${secret}\n`, { mode: 0o600 });
  return file;
}

/** The key that gateways of a fleet share. */
export const fleetKey = () => secretFile('0123456789abcdef0123456789abcdef');

export async function startGateway(bus, key, env = {}) {
  const [port, admin, peer] = [await freePort(), await freePort(), await freePort()];
  const child = start(ours('gateway'), [], {
    WEFT_BUS: bus,
    WEFT_LISTEN: `127.0.0.1:${port}`,
    WEFT_ADMIN_LISTEN: `127.0.0.1:${admin}`,
    WEFT_PEER_LISTEN: `127.0.0.1:${peer}`,
    WEFT_FLEET_KEY_FILE: key,
    WEFT_DRAIN_SECS: '1',
    WEFT_LOG: 'warn',
    ...env,
  });
  await ready(child, 'a gateway', admin);
  return Object.assign(child, { port, http: `http://127.0.0.1:${port}` });
}

export async function startExecutor(bus) {
  const [port, admin] = [await freePort(), await freePort()];
  const child = start(ours('executor'), [], {
    WEFT_BUS: bus,
    WEFT_EXECUTOR_LISTEN: `127.0.0.1:${port}`,
    WEFT_ADMIN_LISTEN: `127.0.0.1:${admin}`,
    WEFT_WORKFLOW_DIR: join(examples, 'test/workflows'),
    WEFT_LOG: 'warn',
  });
  await ready(child, 'an executor', admin);
  return child;
}
