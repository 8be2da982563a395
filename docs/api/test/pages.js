/** Reads the pages with React and Vue: their commands, and the files that a reader makes. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './rig.js';

/** What the commands install from npm; pinned, or it would be another test each day. */
const PINNED = {
  react: '19.3.1',
  'react-dom': '19.3.1',
  vue: '3.5.45',
  vite: '8.3.8',
  '@vitejs/plugin-react': '6.3.0',
  '@vitejs/plugin-vue': '6.0.11',
};

const text = readFileSync(join(root, 'docs/pages.md'), 'utf8');
const BLOCK = /(?:^<!-- file: (\S+) -->\n)?^```(\w+)\n([\s\S]*?)^```$/gm;

function part(heading) {
  const from = text.indexOf(`\n## ${heading}\n`);
  if (from < 0) throw new Error(`docs/pages.md has no "${heading}"`);
  const section = text.slice(from, text.indexOf('\n## ', from + 1));
  return [...section.matchAll(BLOCK)].map(([, path, language, body]) => ({ path, language, body }));
}

const commands = heading =>
  part(heading)
    .filter(({ language }) => language === 'sh')
    .map(({ body }) => body);

function pinned(command) {
  return command.replaceAll(/(?<= )@?[a-z][\w/-]*(?=\s)/g, word => (PINNED[word] ? `${word}@${PINNED[word]}` : word));
}

/** Packs the package. */
export const packing = commands('The package').join('\n');

/** Starts a workflow. */
export const [beginning] = commands('Start a workflow');

/** Each page: what installs it, its files, and what serves it. */
export const pages = ['React', 'Vue'].map(name => {
  const [install, serve] = commands(`With ${name}`);
  const files = part(`With ${name}`).filter(({ path }) => path);
  return { name, install: pinned(install), files, serve: serve.trim() };
});
