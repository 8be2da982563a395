/** Executes the commands of the tutorial and of the README that need a registry, in a copy of what they use. */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './rig.js';
import { fingerprint, isPrepared, preparation, prepared } from './tutorial.js';

/** The plain client of NATS that the README names. */
const PLAIN_CLIENT =
  'python3 -m venv readme && readme/bin/pip install --quiet --disable-pip-version-check nats-py==2.16.0';

if (!isPrepared()) {
  rmSync(prepared, { recursive: true, force: true });
  mkdirSync(join(prepared, 'clients'), { recursive: true });
  for (const client of ['python', 'typescript'])
    cpSync(join(root, 'clients', client), join(prepared, 'clients', client), {
      recursive: true,
      filter: path => !/\/(node_modules|dist|build|\.\w+_cache)$/.test(path),
    });
  // The client's package brings the licence along.
  cpSync(join(root, 'LICENSE'), join(prepared, 'LICENSE'));
  for (const commands of [...preparation(), PLAIN_CLIENT])
    execFileSync('bash', ['-euc', commands], { cwd: prepared, stdio: ['ignore', 'inherit', 'inherit'] });
  writeFileSync(join(prepared, 'made-of'), fingerprint());
}
