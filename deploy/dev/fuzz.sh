#!/usr/bin/env bash
# Runs every fuzz target for a while, and ends with how often each was run; needs the nightly toolchain and cargo-fuzz, and says so.
#
#   deploy/dev/fuzz.sh [seconds for each target] [part of a target's name]
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=${1:-60}
part=${2:-}
fail() { printf 'fuzz: %s\n' "$*" >&2; exit 1; }

cargo +nightly --version >/dev/null 2>&1 || fail "needs the nightly toolchain: rustup toolchain install nightly"
cargo +nightly fuzz --version >/dev/null 2>&1 || fail "needs cargo-fuzz: cargo install cargo-fuzz"

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
failed=0

for manifest in shared/*/fuzz/Cargo.toml services/*/fuzz/Cargo.toml; do
    [ -e "$manifest" ] || continue
    crate=$(dirname "$(dirname "$manifest")")
    for target in $(cd "$crate" && cargo +nightly fuzz list); do
        [[ $target == *"$part"* ]] || continue
        printf '== %s %s\n' "$crate" "$target"
        verdict=ok
        # What is found goes to the first folder, which git does not keep; the second, where there is one, is where to begin.
        mkdir -p "$crate/fuzz/corpus/$target"
        folders=("fuzz/corpus/$target")
        [ ! -d "$crate/fuzz/seeds/$target" ] || folders+=("fuzz/seeds/$target")
        # One that has found something is no reason not to run the others.
        (cd "$crate" && cargo +nightly fuzz run "$target" "${folders[@]}" -- -max_total_time="$seconds" -rss_limit_mb=2048) 2>&1 |
            tee "$logs/log" || verdict=FAILED
        [ "$verdict" = ok ] || failed=$((failed + 1))
        # "Done 1290028 runs in 61 second(s)"
        runs=$(awk '$1 == "Done" { print $2 }' "$logs/log")
        printf '%-16s %-20s %12s runs  %s\n' "$crate" "$target" "${runs:-?}" "$verdict" >>"$logs/table"
    done
done
[ -e "$logs/table" ] || fail "no target has $part in its name"
printf '\n'
cat "$logs/table"
[ "$failed" -eq 0 ]
