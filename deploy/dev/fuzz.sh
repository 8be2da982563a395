#!/usr/bin/env bash
# Runs every fuzz target for a while; needs the nightly toolchain and cargo-fuzz, and says so.
#
#   deploy/dev/fuzz.sh [seconds for each target]
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=${1:-60}
fail() { printf 'fuzz: %s\n' "$*" >&2; exit 1; }

cargo +nightly --version >/dev/null 2>&1 || fail "needs the nightly toolchain: rustup toolchain install nightly"
cargo +nightly fuzz --version >/dev/null 2>&1 || fail "needs cargo-fuzz: cargo install cargo-fuzz"

for manifest in shared/*/fuzz/Cargo.toml services/*/fuzz/Cargo.toml; do
    [ -e "$manifest" ] || continue
    crate=$(dirname "$(dirname "$manifest")")
    for target in $(cd "$crate" && cargo +nightly fuzz list); do
        printf '== %s %s\n' "$crate" "$target"
        (cd "$crate" && cargo +nightly fuzz run "$target" -- -max_total_time="$seconds" -rss_limit_mb=2048)
    done
done
