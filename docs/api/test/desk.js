/**
 * What a reader has in front of them once `make run` has built what it needs: a folder for what the repository has, with the
 * built programs, and the NATS server where one was fetched, linked into it; terminals in it, and a browser.
 */
import { existsSync, mkdirSync, symlinkSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { built, folder, root, start, until } from './rig.js';

/** Ports of `make run`, `make run-nats` and `make run-redis`. */
const PORTS = [3001, 3002, 3003, 4222, 6379];

export class Desk {
  work = folder();
  #terminals = new Map();
  // Built already: `make run` must not build it again, nor anything else.
  #env = {
    ...Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !name.startsWith('WEFT_') || name.startsWith('WEFT_TEST_')),
    ),
    MAKEFLAGS: 'BUILD=true',
    CARGO_TARGET_DIR: join(this.work, 'target'),
  };

  /** Fails where a port that a reader would have free is in use. */
  static async prepared(...ports) {
    for (const port of [...PORTS, ...ports])
      if (await listens(port))
        throw new Error(`port ${port} is in use, and needed here (unshare would give a network of its own)`);
    return new Desk();
  }

  constructor() {
    mkdirSync(join(this.work, 'target/debug'), { recursive: true });
    for (const name of ['gateway', 'executor']) symlinkSync(built(name), join(this.work, 'target/debug', name));
    mkdirSync(join(this.work, '.cache'));
    const nats = join(root, '.cache/natsvenv');
    if (existsSync(nats)) symlinkSync(nats, join(this.work, '.cache/natsvenv'));
  }

  /** Runs a command as a shell would that a reader types into. */
  shell(body, more) {
    return start('bash', ['-euc', body], { cwd: this.work, env: this.#env, ...more });
  }

  /** Types a command that does not end by itself, and waits until it says so. */
  async open(name, body, text) {
    const command = this.shell(body, { detached: true });
    this.#terminals.set(name, command);
    if (!text) return command;
    const told = () => command.code !== undefined || command.said.includes(text);
    await until(() => `${body} to say "${text}": ${command.said}`, told);
    if (!command.said.includes(text)) throw new Error(`${body} ended: ${command.said}`);
    return command;
  }

  terminal(name) {
    return this.#terminals.get(name);
  }

  /** Ctrl-C, which goes to everything that the terminal runs. */
  async interrupt(name) {
    const terminal = this.#terminals.get(name);
    if (terminal.code !== undefined) return;
    process.kill(-terminal.child.pid, 'SIGINT');
    await until(
      () => `the terminal to end: ${terminal.said}`,
      () => terminal.code !== undefined,
    );
  }

  async clear() {
    for (const name of this.#terminals.keys()) await this.interrupt(name);
  }
}

function listens(port) {
  return new Promise(resolve => {
    const socket = createConnection({ port, host: '127.0.0.1' });
    socket.on('connect', () => resolve(true) || socket.destroy()).on('error', () => resolve(false));
  });
}

export function launchBrowser() {
  const programs = [
    process.env.WEFT_TEST_CHROMIUM,
    '/usr/bin/chromium',
    '/usr/bin/chromium-browser',
    '/usr/bin/google-chrome',
  ];
  const executablePath = programs.find(path => path && existsSync(path));
  if (!executablePath) throw new Error('no Chromium: deploy/dev/fetch.sh chromium, or WEFT_TEST_CHROMIUM');
  return chromium.launch({ executablePath, args: process.getuid?.() === 0 ? ['--no-sandbox'] : [] });
}
