#!/bin/sh
# Runs the Autobahn test suite against the gateway's WebSocket transport, and Python's `websockets` as a client against a
# gateway. Exits 0 if nothing failed, 1 if something did, 3 if what it needs is not there.
#
#   deploy/dev/conformance.sh [directory for reports]
#
# The suite runs under Python 2.7 only. Where its environment lies is told by WEFT_AUTOBAHN (a directory with bin/wstest),
# the other Python by WEFT_PYTHON (one that can import websockets). To make the first, given a Python 2.7:
#
#   python3 -m venv tool && tool/bin/pip install 'virtualenv==20.21.1'
#   tool/bin/virtualenv -p python2.7 autobahn
#   autobahn/bin/pip install setuptools==44.0.0 txaio==2.1.0 incremental==16.10.1 cryptography==3.3.2 pyOpenSSL==19.1.0 \
#     zope.interface==4.6.0 markupsafe==1.1.1 jinja2==2.11.3 Werkzeug==1.0.1 service_identity==18.1.0 unittest2==1.1.0 six==1.16.0
#   autobahn/bin/pip install --no-build-isolation Twisted==19.10.0
#   autobahn/bin/pip install --no-build-isolation klein==17.10.0 'autobahn[twisted]==0.10.9' wsaccel
#   autobahn/bin/pip install --no-deps autobahntestsuite==25.10.1
set -eu
cd "$(dirname "$0")/../.."
reports=${1:-target/conformance}
autobahn=${WEFT_AUTOBAHN:-autobahn}
python=${WEFT_PYTHON:-python3}
port=${WEFT_CONFORMANCE_PORT:-9471}

if [ ! -x "$autobahn/bin/wstest" ]; then
  echo "conformance: $autobahn/bin/wstest is not there; set WEFT_AUTOBAHN (how to make it is told in $0)" >&2
  exit 3
fi
if ! "$python" -c 'import websockets' 2>/dev/null; then
  echo "conformance: $python cannot import websockets; set WEFT_PYTHON" >&2
  exit 3
fi

cargo build --release -p weft-gateway --example echo --bin gateway
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$reports"
reports=$(cd "$reports" && pwd)

"$target/release/examples/echo" "127.0.0.1:$port" &
server=$!
trap 'kill "$server" 2>/dev/null || true' EXIT INT TERM
sleep 1

cat >"$reports/cases.json" <<CASES
{"outdir": "$reports/autobahn", "servers": [{"agent": "weft", "url": "ws://127.0.0.1:$port/echo"}],
 "cases": ["*"], "exclude-cases": [], "exclude-agent-cases": {}}
CASES
"$autobahn/bin/wstest" -m fuzzingclient -s "$reports/cases.json" >"$reports/autobahn.log" 2>&1
kill "$server"

"$python" deploy/dev/conformance.py count "$reports/autobahn/index.json"
"$python" deploy/dev/conformance.py differ "$target/release/gateway"
