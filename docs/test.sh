#!/usr/bin/env bash
# Checks the documents: OpenAPI and AsyncAPI against their standards, the sources and running programs; links; the README's
# first minutes and the tutorial, command by command: ./test.sh [--full]
#
# --full    (or WEFT_TEST_FULL=1) also what fetches much: the NestJS recipe, installed, compiled and run
#
# Needs the gateway and the executor to be built (WEFT_TEST_GATEWAY, WEFT_TEST_EXECUTOR, or target/debug), as well
# as the publisher's examples (cargo build --package weft-publisher --examples), Node.js 20, Python 3 with venv, curl, nats-server,
# redis-server and Chromium (deploy/dev/fetch.sh).
#
# The first run installs what is pinned and executes the installations of the documents; later ones do so when that has changed.
set -euo pipefail
cd "$(dirname "$0")/api/test"

fresh=$(sha256sum package-lock.json | cut -d ' ' -f 1)
if [ "$(cat node_modules/.made-of 2>/dev/null || true)" != "$fresh" ]; then
    npm ci --no-audit --no-fund --loglevel=error
    echo "$fresh" >node_modules/.made-of
fi
npm run --silent lint
node prepare.js

# The ports of `make run` are fixed, so who uses it gets a network of its own, as root or as who may make name spaces, and goes
# one after the other.
alone=(env)
for unshare in "unshare --net" "unshare --net --map-root-user"; do
    if $unshare ip link set lo up 2>/dev/null; then
        alone=($unshare sh -c 'ip link set lo up && exec "$@"' sh)
        break
    fi
done

said=$(mktemp)
"${alone[@]}" node_modules/.bin/vitest run --no-file-parallelism newcomer.test.js tutorial.test.js >"$said" 2>&1 &
readers=$!
trap 'kill "$readers" 2>/dev/null || true; rm -f "$said"' EXIT
failed=no
excluded=(--exclude newcomer.test.js --exclude tutorial.test.js)
[ "${1:-}" = --full ] || [ "${WEFT_TEST_FULL:-}" = 1 ] || excluded+=(--exclude nestjs.test.js)
node_modules/.bin/vitest run "${excluded[@]}" || failed=yes
wait "$readers" || failed=yes
cat "$said"
[ $failed = no ]
