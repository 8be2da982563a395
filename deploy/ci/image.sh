#!/usr/bin/env bash
# Builds the images without Docker from programs that are built already, and runs them as confined as the chart does: what
# confinement.py reads from it. One event goes through; then both leave politely.
#
#   deploy/ci/image.sh [directory with the programs]      default: target/<this machine>-unknown-linux-musl/release
#
# The programs must be static, as those of releases are. They begin with the limits of descriptors that runtimes give: few at first,
# many allowed; the gateway is to take all that are allowed.
#
# Needs root, buildah, podman, runc, busybox-static, tini (apt-get). Without cgroups of version 2 podman cannot limit memory;
# that part of the chart is not tried here.
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/ci/steps.sh

programs=${1:-${CARGO_TARGET_DIR:-target}/$(uname -m)-unknown-linux-musl/release}
descriptors_at_first=1024
descriptors_most=20000
image_bytes_max=$((40 * 1000 * 1000))
work=$(mktemp -d)
containers=()

fail() { printf 'image: %s\n' "$*" >&2; exit 1; }
for tool in buildah podman runc strip readelf python3; do
    command -v "$tool" >/dev/null || fail "$tool not found (apt-get install buildah podman runc binutils)"
done
for program in gateway executor; do
    [ -x "$programs/$program" ] || fail "$programs/$program is not built"
    ! readelf --program-headers --wide "$programs/$program" | grep -q INTERP || fail "$programs/$program is not static: it wants libraries that releases do not have"
done

fetch_python || fail "the Python packages cannot be had"

# Everything that buildah and podman keep stays in here.
cat >"$work/containers.conf" <<CONF
[containers]
default_ulimits = ["nofile=$descriptors_at_first:$descriptors_most", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
CONF
export CONTAINERS_CONF=$work/containers.conf STORAGE_DRIVER=vfs TMPDIR=$work
store=(--root "$work/store" --runroot "$work/run")

clean() {
    local container
    for container in "${containers[@]}"; do
        podman "${store[@]}" rm --force --time 1 "$container" >/dev/null 2>&1 || true
    done
    rm -rf "$work"
}
trap clean EXIT

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

build() {
    local program=$1 bytes
    sh deploy/docker/stage.sh "$program" "$programs/$program" "$work/$program" services/executor/workflows
    buildah "${store[@]}" bud --isolation chroot --quiet --file deploy/docker/Dockerfile.runtime --target "$program" \
        --tag "localhost/weft-$program:check" "$work/$program" >"$work/build.log" 2>&1 || { cat "$work/build.log" >&2; fail "$program was not built"; }
    bytes=$(podman "${store[@]}" image inspect --format '{{.Size}}' "localhost/weft-$program:check")
    [ "$bytes" -lt "$image_bytes_max" ] || fail "the image of $program has $bytes bytes, more than $image_bytes_max"
    printf 'weft-%s: %d.%d MB\n' "$program" $((bytes / 1000000)) $((bytes / 100000 % 10))
}

# run <program> <variable…>
run() {
    local program=$1 variables=() variable confined
    shift
    for variable in "$@"; do variables+=(--env "$variable"); done
    "$python" deploy/ci/confinement.py flags "$program" >"$work/flags" || exit 1
    mapfile -t confined <"$work/flags"
    containers+=("$program")
    podman "${store[@]}" run --detach --name "$program" --network host "${confined[@]}" "${variables[@]}" "localhost/weft-$program:check" >/dev/null
}

# ready <name> <admin port>
ready() {
    for _ in $(seq 100); do
        python3 - "$2" 2>/dev/null <<'PY' && return
import sys, urllib.request
urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/readyz", timeout=2)
PY
        [ "$(podman "${store[@]}" inspect --format '{{.State.Running}}' "$1")" = true ] || break
        sleep 0.2
    done
    podman "${store[@]}" logs "$1" >&2 || true
    fail "$1 is not ready"
}

# confined <name>: what the kernel says of the first process.
confined() {
    local pid status fact
    pid=$(podman "${store[@]}" inspect --format '{{.State.Pid}}' "$1")
    status=$(cat "/proc/$pid/status")
    "$python" deploy/ci/confinement.py facts "$1" >"$work/facts" || exit 1
    [ -s "$work/facts" ] || fail "$1: the chart confines it to nothing"
    while IFS= read -r fact; do
        case $status in *"$fact"*) ;; *) fail "$1: /proc/$pid/status does not say ${fact//$'\t'/ }" ;; esac
    done <"$work/facts"
    grep -q ' / / ro[, ]' "/proc/$pid/mountinfo" || awk '$5 == "/" && $6 ~ /^ro/ { found = 1 } END { exit !found }' "/proc/$pid/mountinfo" \
        || fail "$1: its root can be written"
}

# raised <admin port>: how many connections the gateway takes is what is allowed, not what it began with.
raised() {
    local most
    most=$(python3 - "$1" <<'PY'
import re, sys, urllib.request
text = urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/metrics", timeout=5).read().decode()
print(re.search(r"^weft_gateway_connections_max (\d+)", text, re.M)[1])
PY
    ) || fail "the gateway does not say how many connections it takes"
    [ "$most" -gt $((descriptors_most / 2)) ] && [ "$most" -lt "$descriptors_most" ] ||
        fail "the gateway takes $most connections: it began with $descriptors_at_first descriptors and may have $descriptors_most"
    printf 'the gateway takes %d connections of %d descriptors, having begun with %d\n' "$most" $descriptors_most $descriptors_at_first
}

# leaves <name>: SIGTERM, then exit code 0.
leaves() {
    podman "${store[@]}" kill --signal TERM "$1" >/dev/null
    local code
    code=$(timeout 60 podman "${store[@]}" wait "$1") || fail "$1 did not leave within a minute"
    [ "$code" = 0 ] || { podman "${store[@]}" logs "$1" >&2; fail "$1 left with code $code"; }
}

build gateway
build executor

http=$(free_port) admin=$(free_port) executor_admin=$(free_port) executor_http=$(free_port)
run gateway "WEFT_LISTEN=127.0.0.1:$http" "WEFT_ADMIN_LISTEN=127.0.0.1:$admin" WEFT_DRAIN_SECS=1
ready gateway "$admin"
confined gateway
raised "$admin"
python3 helm/weft/files/receives.py "http://127.0.0.1:$http" 20

run executor "WEFT_EXECUTOR_LISTEN=127.0.0.1:$executor_http" "WEFT_ADMIN_LISTEN=127.0.0.1:$executor_admin" \
    "WEFT_GATEWAY_URL=http://127.0.0.1:$http" WEFT_DRAIN_SECS=5
ready executor "$executor_admin"
confined executor
# A workflow with commands: the shell and the scratch directory are there.
python3 - "$executor_http" <<'PY'
import json, sys, time, urllib.request
base = f"http://127.0.0.1:{sys.argv[1]}"
order = urllib.request.Request(f"{base}/workflows/demo/execute", b"{}", {"Content-Type": "application/json"})
execution = json.load(urllib.request.urlopen(order, timeout=10))["executionId"]
deadline = time.monotonic() + 60
while time.monotonic() < deadline:
    status = json.load(urllib.request.urlopen(f"{base}/executions/{execution}", timeout=10))["status"]
    if status in ("completed", "failed", "cancelled"):
        break
    time.sleep(0.5)
if status != "completed":
    sys.exit(f"image: the workflow demo is {status}")
print("the workflow demo ran in the executor's image")
PY
leaves executor
podman "${store[@]}" logs gateway >"$work/gateway.log" 2>&1
leaves gateway
podman "${store[@]}" logs gateway 2>&1 | grep -q '"message":"left"' || fail "the gateway did not say that it has left"
printf 'both ran without rights and left with code 0\n'
