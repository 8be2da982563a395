/** Reads the tutorial as steps: its blocks of code, and the comments before them that say how a reader would take them. */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { packing, pages } from './pages.js';
import { root } from './rig.js';

/** What the test makes of the page, in its order. */
export function steps() {
  const text = readFileSync(join(root, 'docs/tutorial.md'), 'utf8');
  const found = [];
  let told;
  for (const [, comment, language, body] of text.matchAll(/^<!-- (.+) -->$|^```(\w+)\n([\s\S]*?)^```$/gm)) {
    if (comment) {
      const [, word, rest] = comment.match(/^(prepare|file:|start|as printed in|ctrl-c|wait|browser:) ?(.*)$/) ?? [];
      if (!word) throw new Error(`the tutorial has a comment that means nothing: ${comment}`);
      if (['prepare', 'file:', 'start', 'as printed in'].includes(word)) told = { word, rest };
      else found.push({ kind: word.replace(':', ''), rest });
      continue;
    }
    if (told?.word === 'file:') found.push({ kind: 'file', path: told.rest, body });
    else if (language === 'text') found.push({ kind: 'shown', body });
    else if (language !== 'sh') throw new Error(`what is to be done with this? ${body}`);
    else if (told?.word === 'prepare') found.push({ kind: 'prepare', body });
    else if (told?.word === 'start') {
      const [terminal, until] = told.rest.split(': ');
      found.push({ kind: 'start', terminal, until, body });
    } else if (told) found.push({ kind: 'as printed', terminal: told.rest, body });
    else found.push({ kind: 'run', body });
    told = undefined;
  }
  return found;
}

/** Commands that fetch and build; they are executed outside of the test's own network, again when what they use changes. */
export const preparation = () =>
  steps()
    .filter(({ kind }) => kind === 'prepare')
    .map(({ body }) => body);

export const prepared = join(process.env.CARGO_TARGET_DIR ?? join(root, 'target'), 'docs-tutorial');

function files(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap(entry => {
    const path = join(folder, entry.name);
    // What is built, cached, packed or told there changes nothing.
    if (/^(\..*|node_modules|dist|__pycache__|tests?|README\.md|.*\.tgz)$/.test(entry.name)) return [];
    return entry.isDirectory() ? files(path) : [path];
  });
}

/** What the preparation depends on, as one word. */
export function fingerprint() {
  const installs = pages.map(({ install }) => install);
  const hash = createHash('sha256').update([...preparation(), packing, ...installs].join('\n'));
  hash.update(readFileSync(new URL('prepare.js', import.meta.url)));
  for (const client of ['clients/python', 'clients/typescript'])
    for (const path of files(join(root, client)).sort()) hash.update(relative(root, path)).update(readFileSync(path));
  return hash.digest('hex');
}

export const isPrepared = () =>
  existsSync(join(prepared, 'made-of')) && readFileSync(join(prepared, 'made-of'), 'utf8') === fingerprint();
