#!/usr/bin/env bash
# Builds the console, and runs every check and test of it: ./test.sh [--full] [--images]
#
# --full    also what takes long: a gateway killed under the page, offline and online, 10,000 lines a second, accessibility, a
#           gateway that is built without the console
# --images  writes the screenshots of the full run to docs/images
#
# Needs the gateway, with the console in it as it is now (build.sh first), and the executor to be built (WEFT_TEST_GATEWAY,
# WEFT_TEST_EXECUTOR, or target/debug/), and Chromium (WEFT_TEST_CHROMIUM); the full run also nats-server and Cargo.
set -euo pipefail
cd "$(dirname "$0")"

suites=(test/unit test/page/short test/page/embedded)
full=
for argument in "$@"; do
    case $argument in
        --full) suites=(test) full=yes ;;
        --images) export WEFT_TEST_IMAGES=1 ;;
        *) printf 'test.sh: what is %s? (--full, --images)\n' "$argument" >&2; exit 2 ;;
    esac
done

# The tests start processes as the client's tests do, with what those have installed.
if [ ! -d ../../clients/typescript/node_modules ]; then
    (cd ../../clients/typescript && npm ci --no-audit --no-fund --loglevel=error)
fi
./build.sh
npx tsc --noEmit -p tsconfig.test.json
npm run --silent lint
if [ -n "$full" ]; then
    WEFT_TEST_GATEWAY_WITHOUT_CONSOLE=$(test/without-console.sh)
    export WEFT_TEST_GATEWAY_WITHOUT_CONSOLE
fi
npx vitest run "${suites[@]}"
