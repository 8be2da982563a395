/** Links between the documents lead to files that are there, and to headings that they have. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import { find, isText, texts } from './files.js';
import { root } from './rig.js';

const files = [...texts, ...find(join(root, 'docs'), path => /docs\/api\/\w+\.yaml$/.test(path))];

/** The text without what stands in code, where nothing is a link. */
const prose = text => text.replace(/^(```|~~~)[^\n]*\n[\s\S]*?^\1/gm, '').replace(/`[^`\n]*`/g, '');

/** The anchors of a page, as GitHub makes them. */
function anchors(text) {
  const seen = new Map();
  const withoutCode = text.replace(/^(```|~~~)[^\n]*\n[\s\S]*?^\1/gm, '');
  return [...withoutCode.matchAll(/^#{1,6} +(.+?) *#*$/gm)].map(([, heading]) => {
    const plain = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').replace(/[`*]/g, '');
    const slug = plain
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-');
    const count = seen.get(slug) ?? 0;
    seen.set(slug, count + 1);
    return count ? `${slug}-${count}` : slug;
  });
}

/** What is wrong with the links of one file. */
function broken(path, text) {
  const links = [...prose(text).matchAll(/!?\[[^\]]*\]\(<?([^)\s>]+)>?(?: "[^"]*")?\)|^\[[^\]]+\]: *(\S+)/gm)].map(
    m => m[1] ?? m[2],
  );
  const flaws = [];
  let checked = 0;
  for (const link of links) {
    if (/^(https?:|mailto:)/.test(link)) continue;
    checked++;
    const [file, anchor] = decodeURI(link).split('#');
    const target = file ? join(dirname(path), file) : path;
    if (!existsSync(target)) flaws.push(`${link}: there is no such file`);
    else if (anchor && isText(target) && !anchors(file ? readFileSync(target, 'utf8') : text).includes(anchor))
      flaws.push(`${link}: there is no such heading`);
    else if (anchor && statSync(target).isDirectory()) flaws.push(`${link}: a folder has no headings`);
  }
  return { flaws, checked };
}

describe('links', () => {
  it.each(files.map(path => [relative(root, path), path]))('%s', (_, path) => {
    expect(broken(path, readFileSync(path, 'utf8')).flaws).toEqual([]);
  });

  it('are noticed where they are broken, and seen where they are', () => {
    const here = join(root, 'docs/README.md');
    expect(broken(here, '[a](nowhere.md) [b](PROTOCOL.md#nowhere) [c](#none)\n# Some').flaws).toHaveLength(3);
    expect(broken(here, '[a](PROTOCOL.md#close-codes) `[x](y)` [b](#some)\n\n# Some').flaws).toEqual([]);
    const all = files.map(path => broken(path, readFileSync(path, 'utf8')).checked);
    expect(all.reduce((sum, count) => sum + count)).toBeGreaterThan(100);
  });

  it('lead from the index to every page', () => {
    const index = readFileSync(join(root, 'docs/README.md'), 'utf8');
    const pages = readdirSync(join(root, 'docs')).filter(name => isText(name) && name !== 'README.md');
    const folders = readdirSync(join(root, 'docs'), { withFileTypes: true }).filter(
      entry => entry.isDirectory() && existsSync(join(root, 'docs', entry.name, 'README.md')),
    );
    const missing = [...pages, ...folders.map(({ name }) => `${name}/`)].filter(name => !index.includes(`](${name}`));
    expect(missing).toEqual([]);
  });
});
