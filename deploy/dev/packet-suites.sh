#!/bin/sh
# Runs the protocol suites of Engine.IO (25 tests) and Socket.IO (32) against the gateway's own sessions, configured as the
# suites want it (services/gateway/examples/packets.rs). Exits 0 if all pass, 1 if one fails, 3 if what it needs is not there.
#
#   deploy/dev/packet-suites.sh
#
# The suites are not part of this repository. WEFT_PACKET_SUITES names a directory that holds them, made so from a checkout of
# github.com/socketio/socket.io:
#
#   git archive HEAD docs/engine.io-protocol/v4-test-suite docs/socket.io-protocol/v5-test-suite | tar -x -C DIRECTORY
set -eu
cd "$(dirname "$0")/../.."
suites=${WEFT_PACKET_SUITES:-}
engine=$suites/docs/engine.io-protocol/v4-test-suite
socket=$suites/docs/socket.io-protocol/v5-test-suite
if [ -z "$suites" ] || [ ! -d "$engine" ] || [ ! -d "$socket" ]; then
  echo "packet suites: WEFT_PACKET_SUITES must name a directory with the suites (how to make it is told in $0)" >&2
  exit 3
fi

cargo build --release -p weft-gateway --example packets
for suite in "$engine" "$socket"; do
  [ -d "$suite/node_modules" ] || (cd "$suite" && npm ci --no-audit --no-fund --silent)
done

# The suites know no other port.
"${CARGO_TARGET_DIR:-target}/release/examples/packets" 127.0.0.1:3000 &
server=$!
trap 'kill "$server" 2>/dev/null || true' EXIT INT TERM
sleep 1
failed=0
for suite in "$engine" "$socket"; do
  (cd "$suite" && npx mocha test-suite.js) || failed=1
done
exit $failed
