#!/usr/bin/env bash
# Installs what is pinned, checks and builds the pages, and drives them and the scripts against real gateways, an executor
# and both brokers. Needs gateway and executor to be built (WEFT_TEST_GATEWAY and WEFT_TEST_EXECUTOR, or target/debug/),
# nats-server, redis-server, Chromium, and Python 3.10 or newer.
#
# With `full` also what takes longer: kill after kill, thousands of events missed, gateways that leave.
#
# `turns` runs every test once, by turns on one broker and the other.
#
#   clients/examples/test.sh [full] [nats|redis|turns] [part of a test's name]
set -euo pipefail
cd "$(dirname "$0")"

target=${CARGO_TARGET_DIR:-$PWD/../../target}
venv=$target/examples/venv
python=${PYTHON:-python3}
began=$SECONDS

took() {
    printf 'examples: %s took %s s\n' "$1" "$((SECONDS - began))"
    began=$SECONDS
}

npm ci --no-audit --no-fund --loglevel=error
fresh=$(cat c-python/requirements.txt d-python/requirements.txt | sha256sum | cut -d ' ' -f 1)
if [ "$(cat "$venv/.made-of" 2>/dev/null || true)" != "$fresh" ]; then
    rm -rf "$venv"
    mkdir -p "$(dirname "$venv")"
    if ! "$python" -m venv "$venv" >/dev/null 2>&1; then
        echo "$python has no venv: apt-get install python3-venv, or name another in PYTHON" >&2
        exit 1
    fi
    "$venv/bin/pip" install --quiet --disable-pip-version-check \
        --requirement c-python/requirements.txt --requirement d-python/requirements.txt
    echo "$fresh" >"$venv/.made-of"
fi
took 'installing'

npm run --silent lint
npm run --silent build >/dev/null
took 'checking and building'

if [ "${1:-}" = full ]; then
    export WEFT_TEST_FULL=1
    shift
fi
case ${1:-} in
    nats | redis | turns)
        export WEFT_TEST_BUS=$1
        shift
        ;;
esac
export WEFT_TEST_PART=${1:-}
# Every test has a time limit of its own; this one is for the case that the tests as a whole stand still.
timeout --kill-after=10 1200 node --test-reporter=spec test/pages.test.js
took 'testing'
