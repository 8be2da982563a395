/** The documents. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './rig.js';

const skipped = ['node_modules', 'target', '.git', '.cache', 'dist', 'vendor'];

export function find(folder, holds) {
  return readdirSync(folder, { withFileTypes: true }).flatMap(entry => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return skipped.includes(entry.name) ? [] : find(path, holds);
    return holds(path) ? [path] : [];
  });
}

export const isText = path => path.endsWith('.md');

/** All that people read: of the parts their first pages. */
export const texts = [
  join(root, 'README.md'),
  ...find(join(root, 'docs'), isText),
  ...['clients', 'services', 'shared', 'loadtest'].flatMap(part =>
    find(join(root, part), path => path.endsWith('/README.md')),
  ),
];
