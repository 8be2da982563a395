/** Gateways and executors as processes of their own on free ports, ended by what started them. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../../../', import.meta.url));
export const api = join(root, 'docs/api');

const running = new Set();
const folders = new Set();
// Also when the tests are ended from outside: what they started must not stay. The runner ends its workers by a signal, or goes
// away itself, and lets none of them leave by `process.exit`.
function endAll() {
  for (const child of running) end(child);
  for (const path of folders) rmSync(path, { recursive: true, force: true, maxRetries: 5 });
}
process.on('exit', endAll);
for (const event of ['SIGINT', 'SIGTERM', 'SIGHUP', 'disconnect'])
  process.on(event, () => {
    endAll();
    process.kill(process.pid, 'SIGKILL');
  });

/** Ends a process; one that leads a group of its own with all that it has started. */
function end(child) {
  try {
    process.kill(child.isLeader ? -child.pid : child.pid, 'SIGKILL');
  } catch {
    // It has just ended by itself.
  }
}

export function folder() {
  const path = mkdtempSync(join(tmpdir(), 'weft-docs-'));
  folders.add(path);
  return path;
}

/** A program of ours, as it was built. */
export function built(name) {
  const target = process.env.CARGO_TARGET_DIR ?? join(root, 'target');
  const path = process.env[`WEFT_TEST_${name.toUpperCase()}`] ?? join(target, 'debug', name);
  if (!existsSync(path)) throw new Error(`${path} is not built: cargo build --package weft-${name}`);
  return path;
}

/** Waits until `holds` gives something, or fails with what it waited for. */
export async function until(what, holds, ms = 20_000) {
  const deadline = Date.now() + ms;
  for (;;) {
    const found = await holds();
    if (found) return found;
    if (Date.now() > deadline)
      throw new Error(`waited ${ms} ms in vain for ${typeof what === 'function' ? what() : what}`);
    await new Promise(resolve => setTimeout(resolve, 25));
  }
}

/** Sends what must be taken. */
export async function postTo(url, body) {
  const response = await fetch(url, { method: 'POST', body: JSON.stringify(body) });
  if (response.status !== 202) throw new Error(`${url}: ${response.status}, not 202: ${await response.text()}`);
  return response.json();
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

/** A process, and what it has said so far. */
export function start(program, args = [], options = {}) {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  child.isLeader = options.detached === true;
  running.add(child);
  const it = { child, said: '', code: undefined };
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', text => {
      it.said += text;
    });
  }
  it.ended = new Promise(resolve => {
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
  it.stop = (signal = 'SIGTERM') => {
    child.kill(signal);
    return it.ended;
  };
  return it;
}

// A port that was free may be taken when the program comes to it: then it says so with exit code 69, and begins again.
async function served(program, variables) {
  for (let attempt = 1; ; attempt++) {
    const [port, admin] = [await freePort(), await freePort()];
    // Nothing of the caller's own settings is to be tested.
    const own = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('WEFT_')));
    const process_ = start(program, [], { env: { ...own, ...variables(port, admin) } });
    const ready = until(
      () => `${program} to be ready: ${process_.said}`,
      async () => {
        if (process_.code !== undefined) return true;
        const answer = await fetch(`http://127.0.0.1:${admin}/readyz`).catch(() => undefined);
        return answer?.ok;
      },
    );
    await ready;
    if (process_.code === undefined) return Object.assign(process_, { url: `http://127.0.0.1:${port}`, port });
    if (process_.code !== 69 || attempt === 5)
      throw new Error(`${program} ended with ${process_.code}: ${process_.said}`);
  }
}

export const startGateway = (settings = {}) =>
  served(built('gateway'), (port, admin) => ({
    WEFT_AUTH: 'off',
    WEFT_LISTEN: `127.0.0.1:${port}`,
    WEFT_ADMIN_LISTEN: `127.0.0.1:${admin}`,
    WEFT_DRAIN_SECS: '1',
    ...settings,
  }));

/** An executor of this gateway, whose commands come over HTTP; listed by the gateway when this returns. */
export async function startExecutor(gateway, settings = {}) {
  const executor = await served(built('executor'), (port, admin) => ({
    WEFT_EXECUTOR_LISTEN: `127.0.0.1:${port}`,
    WEFT_ADMIN_LISTEN: `127.0.0.1:${admin}`,
    WEFT_GATEWAY_URL: gateway.url,
    WEFT_WORKFLOW_DIR: join(root, 'services/executor/workflows'),
    ...settings,
  }));
  await until('the gateway to list workflows', async () => {
    const { workflows } = await (await fetch(`${gateway.url}/api/workflows`)).json();
    return workflows.length > 0;
  });
  return executor;
}
