#!/usr/bin/env bash
# Checks the documents: OpenAPI and AsyncAPI against their standards, the sources and running programs; links; and the
# tutorial, command by command. Needs the gateway and the executor to be built (WEFT_TEST_GATEWAY, WEFT_TEST_EXECUTOR, or
# target/debug), Node.js 20, Python 3 with venv, curl, nats-server and Chromium (deploy/dev/fetch.sh).
#
# The first run installs what is pinned and executes the tutorial's own installations; later ones do so when that has changed.
set -euo pipefail
cd "$(dirname "$0")/api/test"

fresh=$(sha256sum package-lock.json | cut -d ' ' -f 1)
if [ "$(cat node_modules/.made-of 2>/dev/null || true)" != "$fresh" ]; then
    npm ci --no-audit --no-fund --loglevel=error
    echo "$fresh" >node_modules/.made-of
fi
npm run --silent lint
node prepare.js

# The tutorial's ports are fixed, so it gets a network of its own, as root or as who may make name spaces.
alone=(env)
for unshare in "unshare --net" "unshare --net --map-root-user"; do
    if $unshare ip link set lo up 2>/dev/null; then
        alone=($unshare sh -c 'ip link set lo up && exec "$@"' sh)
        break
    fi
done

said=$(mktemp)
"${alone[@]}" node_modules/.bin/vitest run tutorial.test.js >"$said" 2>&1 &
tutorial=$!
trap 'kill "$tutorial" 2>/dev/null || true; rm -f "$said"' EXIT
failed=no
node_modules/.bin/vitest run --exclude tutorial.test.js || failed=yes
wait "$tutorial" || failed=yes
cat "$said"
[ $failed = no ]
