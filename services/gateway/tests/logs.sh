#!/usr/bin/env bash
# Runs the end-to-end suite and looks at the logs of all of its gateways together: no secret that any test has used, no panic, and
# the mark that stands where a secret was left out.
#
#   services/gateway/tests/logs.sh [a filter of tests]
set -euo pipefail
cd "$(dirname "$0")/../../.."

WEFT_TEST_LOGS=$(mktemp -d)
export WEFT_TEST_LOGS
trap 'rm -rf "$WEFT_TEST_LOGS"' EXIT
cargo test --package weft-gateway --test end_to_end -- "$@"

cd "$WEFT_TEST_LOGS"
sort -u secrets -o secrets
# Each must be found where it is looked for, or looking says nothing.
grep -c -F -f secrets secrets | grep -q -x "$(wc -l <secrets)"
leaks=$(cat ./*.log | grep -c -F -f secrets || true)
panics=$(cat ./*.log | grep -c panicked || true)
marks=$(cat ./*.log | grep DEBUG | grep -c -F 'token=***' || true)
echo "$(find . -name '*.log' | wc -l) logs, $(cat ./*.log | wc -l) lines, $(wc -l <secrets) secrets: found $leaks; panics $panics; left out and marked, at level debug, $marks"
[ "$leaks" -eq 0 ] && [ "$panics" -eq 0 ] && [ "$marks" -gt 0 ]
