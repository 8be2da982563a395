# Steps with a table of their outcomes, and the tools that they need. Sourced by deploy/check.sh and deploy/ops.sh, in the root of
# the repository.
# shellcheck shell=bash

export WEFT_CACHE=${WEFT_CACHE:-$PWD/.cache/ops}
python=$WEFT_CACHE/venv/bin/python
export PYTHONDONTWRITEBYTECODE=1
# Debian puts servers into directories that are not in every user's path.
export PATH="$PATH:/usr/sbin:/usr/local/sbin"
table=()
besides=()
failed=0
missing=0

say() { printf 'check: %s\n' "$*"; }
has() { command -v "$1" >/dev/null 2>&1; }

row() { table+=("$(printf '%-8s %-44s %6s  %s' "$1" "$2" "$3" "${4:-}")"); }

# check <name> <command…>
check() {
    local name=$1 began=$SECONDS
    shift
    printf '\n== %s\n' "$name"
    if "$@"; then
        row PASS "$name" "$((SECONDS - began)) s"
    else
        failed=$((failed + 1))
        row FAIL "$name" "$((SECONDS - began)) s"
    fi
}

# beside <name> <command…>: like check, while others go on. What it says, and its row, come with `together`.
beside() {
    local name=$1 place
    shift
    place=$(mktemp -d)
    besides+=("$place")
    printf '%s\n' "$name" >"$place/name"
    printf '\n== %s: goes on beside the others\n' "$name"
    (
        began=$SECONDS
        "$@" >"$place/said" 2>&1
        printf '%s %s\n' "$?" "$((SECONDS - began))" >"$place/outcome"
    ) &
}

# together: waits for all that go on beside the others.
together() {
    local place name code took
    wait
    for place in "${besides[@]}"; do
        read -r name <"$place/name"
        printf '\n== %s\n' "$name"
        cat "$place/said"
        code=1 took=-
        [ ! -e "$place/outcome" ] || read -r code took <"$place/outcome"
        if [ "$code" -eq 0 ]; then
            row PASS "$name" "$took s" "beside others"
        else
            failed=$((failed + 1))
            row FAIL "$name" "$took s" "beside others"
        fi
        rm -rf "$place"
    done
    besides=()
}

not_run() {
    missing=$((missing + 1))
    row "NOT RUN" "$1" - "$2"
}

# Debian's packages start no service here.
apt_install() {
    has apt-get || return 1
    local as_root=() policy=/usr/sbin/policy-rc.d
    if [ "$(id -u)" -ne 0 ]; then
        has sudo || return 1
        as_root=(sudo)
    fi
    say "installing $* by apt-get"
    local is_ours=no
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $policy >/dev/null && "${as_root[@]}" chmod 755 $policy
        is_ours=yes
    fi
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null 2>&1 ||
        { "${as_root[@]}" apt-get update -qq && "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null; }
    local outcome=$?
    [ $is_ours = no ] || "${as_root[@]}" rm -f $policy
    return $outcome
}

# need <program> <package>
need() { has "$1" || apt_install "$2"; }

fetch_python() {
    [ -x "$python" ] && cmp -s deploy/ci/requirements.txt "$WEFT_CACHE/requirements.txt" && return
    say "installing $(grep -c == deploy/ci/requirements.txt) Python packages into $WEFT_CACHE/venv"
    has python3 || apt_install python3 python3-venv || return 1
    mkdir -p "$WEFT_CACHE"
    python3 -m venv "$WEFT_CACHE/venv" >/dev/null 2>&1 || { apt_install python3-venv && python3 -m venv "$WEFT_CACHE/venv"; } || return 1
    "$python" -m pip install --quiet --disable-pip-version-check --require-hashes -r deploy/ci/requirements.txt || return 1
    cp deploy/ci/requirements.txt "$WEFT_CACHE/requirements.txt"
}

# With WEFT_TABLE, a file, the rows of all scripts that were given it.
summary() {
    printf '\n'
    if [ -n "${WEFT_TABLE:-}" ]; then
        printf '%s\n' "${table[@]}" >>"$WEFT_TABLE"
        cat "$WEFT_TABLE"
    else
        printf '%s\n' "${table[@]}"
    fi
    printf '\n%d failed, %d not run\n' "$failed" "$missing"
}
