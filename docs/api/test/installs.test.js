/** The packages of this repository are installed from it: they are on no registry yet. */
import { existsSync, readFileSync } from 'node:fs';
import { join, normalize, relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import { texts } from './files.js';
import { root } from './rig.js';

const [, optional] = readFileSync(join(root, 'clients/python/pyproject.toml'), 'utf8').match(
  /\[project\.optional-dependencies\]\n([\s\S]*?)\n\n/,
);
const extras = [...optional.matchAll(/^(\w+) = /gm)].map(([, name]) => name);
const { version } = JSON.parse(readFileSync(join(root, 'clients/typescript/package.json'), 'utf8'));

/** Each package that a text has installed, by `npm install` or `pip install`. */
const installed = text =>
  [...text.matchAll(/(npm|pip) install ([^\n#`]+)/g)].flatMap(([, by, what]) =>
    what
      .split(/\s+/)
      .map(word => word.replaceAll("'", ''))
      .filter(word => word && !word.startsWith('-'))
      .map(word => ({ by, word })),
  );

/** What is wrong with it; nothing where it is none of ours. */
function flaw({ by, word }) {
  if (/^(@weft\/|weft-client(\[|$))/.test(word)) return `${word} is on no registry`;
  if (by === 'npm' && word.includes('clients/typescript'))
    return word.endsWith(`clients/typescript/weft-client-${version}.tgz`) ? undefined : `${word} is not what npm packs`;
  const [, path, own] = word.match(/^(\.\/clients\/python)(?:\[([\w,]+)\])?$/) ?? [];
  if (by === 'pip' && word.includes('clients/python')) {
    if (!path || !existsSync(join(root, normalize(path), 'pyproject.toml'))) return `${word} leads nowhere`;
    const unknown = own?.split(',').filter(extra => !extras.includes(extra)) ?? [];
    if (unknown.length > 0) return `${word}: there is no ${unknown}`;
  }
  return undefined;
}

describe('what is installed', () => {
  it.each(texts.map(path => [relative(root, path), path]))('%s', (_, path) => {
    expect(installed(readFileSync(path, 'utf8')).map(flaw).filter(Boolean)).toEqual([]);
  });

  it('is seen, and noticed where it would fail', () => {
    const all = texts.flatMap(path => installed(readFileSync(path, 'utf8')));
    expect(all.filter(({ word }) => word.includes('clients/')).length).toBeGreaterThan(6);
    const wrong =
      "npm install @weft/client\npip install 'weft-client[http]' x\npip install './clients/python[htp]'\n" +
      "npm install ./clients/typescript\npip install -q './python[http]' ../clients/python";
    expect(installed(wrong).map(flaw).filter(Boolean)).toHaveLength(5);
  });
});
