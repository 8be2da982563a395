/** Executes the commands of the tutorial, of the README and of the pages that need a registry, in a copy of what they use. */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packing, pages } from './pages.js';
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
      filter: path => !/\/(node_modules|dist|build|\.cache|\.\w+_cache|[^/]*\.tgz)$/.test(path),
    });
  // The client's package brings the licence along.
  cpSync(join(root, 'LICENSE'), join(prepared, 'LICENSE'));
  const run = (commands, cwd = prepared) =>
    execFileSync('bash', ['-euc', commands], { cwd, stdio: ['ignore', 'ignore', 'inherit'] });
  for (const commands of [...preparation(), PLAIN_CLIENT, packing]) run(commands);
  // Folders beside the repository.
  const beside = join(prepared, 'pages');
  mkdirSync(beside);
  symlinkSync(prepared, join(beside, 'weft'));
  for (const { name, install } of pages) {
    const place = join(beside, name.toLowerCase());
    mkdirSync(place);
    run(install, place);
  }
  writeFileSync(join(prepared, 'made-of'), fingerprint());
}
