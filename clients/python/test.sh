#!/usr/bin/env bash
# Makes an environment with what is pinned, checks types, style and package, and runs the tests. Needs the gateway to be
# built (WEFT_TEST_GATEWAY, or target/debug/gateway), nats-server and redis-server; Python 3.11 or newer for the tests.
#
#   clients/python/test.sh [arguments of pytest]
set -euo pipefail
cd "$(dirname "$0")"

target=${CARGO_TARGET_DIR:-$PWD/../../target}
venv=$target/python-client/venv
python=${PYTHON:-python3}

fresh=$(cat requirements-test.txt pyproject.toml | sha256sum | cut -d ' ' -f 1)
if [ "$(cat "$venv/.made-of" 2>/dev/null || true)" != "$fresh" ]; then
    rm -rf "$venv"
    mkdir -p "$(dirname "$venv")"
    if ! "$python" -m venv "$venv" >/dev/null 2>&1; then
        echo "$python has no venv: apt-get install python3-venv, or name another in PYTHON" >&2
        exit 1
    fi
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement requirements-test.txt
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
    echo "$fresh" >"$venv/.made-of"
fi

"$venv/bin/ruff" format --check --quiet .
"$venv/bin/ruff" check --quiet .
"$venv/bin/mypy"
"$venv/bin/pytest" "$@"
