#!/usr/bin/env bash
# Builds the console into dist/, with what is pinned. The client is compiled in from its source beside it.
set -euo pipefail
cd "$(dirname "$0")"

npm ci --no-audit --no-fund --loglevel=error
npm run --silent build
