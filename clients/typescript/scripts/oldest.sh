#!/usr/bin/env bash
# Runs the tests of hooks, composables, components and stores with the oldest versions of React, Vue, Zustand and Pinia that
# package.json promises, in a copy, against the gateway that test.sh has as well.
set -euo pipefail
cd "$(dirname "$0")/../../.."

root=$PWD
place=$(realpath -m "${CARGO_TARGET_DIR:-target}")/oldest
rm -rf "$place"
mkdir -p "$place/clients/typescript"
# What the tests look for around the package.
for part in LICENSE docs services shared target; do ln -s "$root/$part" "$place/$part"; done
tar --create --directory clients/typescript --exclude=node_modules --exclude=.cache --exclude=dist . |
    tar --extract --directory "$place/clients/typescript"
cd "$place/clients/typescript"

node - <<'NODE'
const { readFileSync, writeFileSync } = require('node:fs');
const manifest = JSON.parse(readFileSync('package.json', 'utf8'));
const oldest = Object.entries(manifest.peerDependencies).map(([name, range]) => {
  const parts = range.replace('>=', '').split('.');
  return [name, [...parts, '0', '0'].slice(0, 3).join('.')];
});
Object.assign(manifest.devDependencies, Object.fromEntries(oldest), {
  'react-dom': Object.fromEntries(oldest).react,
  // The first ones in which a component may return whatever can be drawn.
  '@types/react': '18.2.8',
  '@types/react-dom': '18.2.4',
});
writeFileSync('package.json', JSON.stringify(manifest, null, 2));
NODE
npm install --no-package-lock --no-audit --no-fund --loglevel=error
npm ls react vue zustand pinia --depth=0
npm run --silent build
npx vitest run test/react.test.tsx test/vue.test.ts test/prompt.test.tsx test/browser.test.ts
