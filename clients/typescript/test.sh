#!/usr/bin/env bash
# Installs what is pinned, builds the package, and runs every check and test of it. Needs the gateway to be built
# (WEFT_TEST_GATEWAY, or target/debug/gateway), nats-server, redis-server and Chromium.
set -euo pipefail
cd "$(dirname "$0")"

npm ci --no-audit --no-fund --loglevel=error
npm run --silent build
npm run --silent typecheck
npm run --silent lint
npm run --silent test
