#!/usr/bin/env bash
# Starts the fabric on this machine for trying it out; Ctrl-C ends all of it.
#
#   deploy/dev/run.sh [memory|nats|redis]
#
# memory: one gateway on port 3001 with the in-process bus, and an executor that reaches it by HTTP.
# nats, redis: gateways on ports 3001 and 3003 and an executor on the bus. The broker is the one on its default port,
# else one is started, with its data under .cache/dev/.
set -euo pipefail
cd "$(dirname "$0")/../.."

bus=${1:-memory}
data=.cache/dev
bin=${CARGO_TARGET_DIR:-target}/debug
PATH="$PATH:/usr/sbin:/usr/local/sbin"
pids=()
names=()

fail() { printf 'run: %s\n' "$*" >&2; exit 1; }

# Ends what was started, last first, so that the broker outlives those who use it.
end_all() {
    trap - EXIT INT TERM HUP
    local index
    for ((index = ${#pids[@]} - 1; index >= 0; index--)); do
        kill -TERM "${pids[index]}" 2>/dev/null || true
        # A stopped or stuck process must not keep the others alive.
        for _ in $(seq 100); do
            kill -0 "${pids[index]}" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL "${pids[index]}" 2>/dev/null || true
        wait "${pids[index]}" 2>/dev/null || true
    done
}
trap end_all EXIT
trap 'printf "\n"; exit 0' INT TERM HUP

# start <name> <command…>
start() {
    local name=$1
    shift
    mkdir -p "$data"
    # Not for processes that write to the terminal what is asked for: their logs go beside their data.
    "$@" >"$data/$name.log" 2>&1 &
    pids+=($!)
    names+=("$name")
}

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

free() { ! listens "$1" || fail "port $1 of this machine is in use ($2)"; }

alive() {
    local index
    for index in "${!pids[@]}"; do
        kill -0 "${pids[index]}" 2>/dev/null && continue
        printf 'run: %s ended:\n' "${names[index]}" >&2
        tail -n 20 "$data/${names[index]}.log" >&2
        exit 1
    done
}

# ready <admin port>: waits until /readyz says 200.
ready() {
    local answer
    for _ in $(seq 300); do
        alive
        answer=$( (exec 3<>"/dev/tcp/127.0.0.1/$1" && printf 'GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n' >&3 && head -n 1 <&3) 2>/dev/null || true)
        case $answer in *" 200 "*) return ;; esac
        sleep 0.1
    done
    fail "nothing ready on admin port $1 after 30 s; see $data/*.log"
}

# broker <port> <name> <command…>: uses what listens there, else starts it.
broker() {
    local port=$1 name=$2
    shift 2
    if listens "$port"; then
        printf 'Using the %s that listens on port %s.\n' "$name" "$port"
        return
    fi
    mkdir -p "$data/$name"
    start "$name" "$@"
    for _ in $(seq 100); do
        alive
        listens "$port" && return
        sleep 0.1
    done
    fail "$name does not answer on port $port; see $data/$name.log"
}

# The current server where there is one, else whatever Debian has.
nats_server() {
    local place
    for place in "${WEFT_TEST_NATS_SERVER:-}" .cache/natsvenv/bin/nats-server /opt/natsvenv/bin/nats-server; do
        [ -n "$place" ] && [ -x "$place" ] && { printf '%s' "$place"; return; }
    done
    command -v nats-server || fail "nats-server not found: make fetch"
}

# gateway <port> <admin port>
gateway() {
    free "$1" "a gateway's"
    free "$2" "its admin port"
    [ -s "$data/fleet.key" ] || (umask 077 && mkdir -p "$data" && head -c 32 /dev/urandom | base64 >"$data/fleet.key")
    # As in a fleet: by the key sessions of Socket.IO are recovered at the other, by the third port its polls are passed on.
    start "gateway-$1" env WEFT_LISTEN="127.0.0.1:$1" WEFT_ADMIN_LISTEN="127.0.0.1:$2" WEFT_BUS="$url" \
        WEFT_FLEET_KEY_FILE="$data/fleet.key" WEFT_PEER_LISTEN="127.0.0.1:$(($1 + 1000))" "$bin/gateway"
}

pid_of() {
    local index
    for index in "${!names[@]}"; do
        [ "${names[index]}" != "$1" ] || printf '%s' "${pids[index]}"
    done
}

# revive <port> <admin port>: of two gateways one may be killed, to see its clients go on at the other; here it is
# started again, as a cluster would.
revive() {
    local index
    for index in "${!names[@]}"; do
        [ "${names[index]}" = "gateway-$1" ] || continue
        kill -0 "${pids[index]}" 2>/dev/null && return
        wait "${pids[index]}" 2>/dev/null || true
        unset "pids[index]" "names[index]"
        pids=("${pids[@]}")
        names=("${names[@]}")
        printf 'The gateway on port %s has ended; it is started again.\n' "$1"
        sleep 2
        gateway "$1" "$2"
        return
    done
}

executor() {
    free 3002 "the executor's"
    free 9465 "its admin port"
    start executor env "$@" WEFT_EXECUTOR_LISTEN=127.0.0.1:3002 WEFT_ADMIN_LISTEN=127.0.0.1:9465 \
        WEFT_WORKFLOW_DIR="${WEFT_WORKFLOW_DIR:-services/executor/workflows}" "$bin/executor"
}

case $bus in
    memory)
        url=memory:
        gateway 3001 9464
        ready 9464
        executor -u WEFT_BUS WEFT_GATEWAY_URL=http://127.0.0.1:3001
        ;;
    nats)
        url=nats://127.0.0.1:4222
        broker 4222 nats "$(nats_server)" --addr 127.0.0.1 --port 4222 --jetstream --store_dir "$data/nats"
        gateway 3001 9464
        gateway 3003 9466
        ready 9464
        ready 9466
        executor WEFT_BUS="$url"
        ;;
    redis)
        url=redis://127.0.0.1:6379
        broker 6379 redis "${WEFT_TEST_REDIS_SERVER:-redis-server}" --bind 127.0.0.1 --port 6379 --dir "$data/redis" \
            --appendonly yes --save ''
        gateway 3001 9464
        gateway 3003 9466
        ready 9464
        ready 9466
        executor WEFT_BUS="$url"
        ;;
    *) fail "what is $bus? (memory, nats, redis)" ;;
esac
ready 9465

cat <<TEXT

  Weft is up: http://127.0.0.1:3001/        (bus: $url, logs: $data/*.log)

  1. Follow an execution, from a second terminal:
       python3 deploy/dev/follow.py hello

  2. Publish an event into it:
       curl -X POST http://127.0.0.1:3001/api/events -H 'Content-Type: application/json' \\
            -d '{"type":"log","executionId":"hello","data":{"level":"info","message":"Hello, Weft"}}'

  3. Have the executor run a workflow, follow it, and read its state (more of them: /api/workflows):
       curl -X POST http://127.0.0.1:3001/api/workflows/story/execute -d '{"executionId":"story-1"}'
       python3 deploy/dev/follow.py story-1
       curl http://127.0.0.1:3001/api/executions/story-1
TEXT
if [ "$bus" != memory ]; then
    printf '\n  The second gateway is on port 3003. Kill the first while this runs and see it go on at the other:\n'
    printf '       python3 deploy/dev/follow.py hello 3001 3003\n       kill -9 %s\n' "$(pid_of gateway-3001)"
fi
printf '\n  Ctrl-C ends all.\n\n'

while true; do
    if [ "$bus" != memory ]; then
        revive 3001 9464
        revive 3003 9466
    fi
    alive
    sleep 1 &
    wait $!
done
