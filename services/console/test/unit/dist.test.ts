/** What was built: small, relative, hashed, nothing inline, nothing from elsewhere. `build.sh` comes first. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';

const dist = fileURLToPath(new URL('../../dist/', import.meta.url));
const files = readdirSync(dist, { recursive: true, withFileTypes: true })
  // What says in an empty folder what belongs there is not served.
  .filter(entry => entry.isFile() && entry.name !== 'about.txt')
  .map(entry => `${entry.parentPath}/${entry.name}`.replaceAll('//', '/'));
const index = readFileSync(`${dist}index.html`, 'utf8');

test('all files together are smaller than 94 KB gzipped', () => {
  const bytes = files.reduce((all, file) => all + gzipSync(readFileSync(file), { level: 9 }).length, 0);
  process.stdout.write(`the console: ${bytes} bytes gzipped in ${files.length} files\n`);
  expect(bytes).toBeLessThan(94_000);
});

test('every file but the page is hashed, and the page names them relatively', () => {
  for (const file of files.filter(file => !file.endsWith('/index.html')))
    expect(file).toMatch(/\/assets\/\w+-[\w-]{8}\.(js|css|svg)$/);
  const named = [...index.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, address]) => address);
  expect(named.length).toBeGreaterThanOrEqual(3);
  for (const address of named) expect(address).toMatch(/^\.\/assets\//);
});

test('nothing is inline', () => {
  expect(index).not.toMatch(/<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)/);
});
