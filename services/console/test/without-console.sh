#!/usr/bin/env bash
# Builds a gateway from a copy of the sources in which nobody has built the console, and says where it is.
#
# What others have written is taken from where it is compiled already; the gateway that others test stays as it is.
set -euo pipefail
cd "$(dirname "$0")/../../.."

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
place=$target/without-console
mkdir -p "$place/source"
tar --create --exclude=./target --exclude=./.git --exclude=.cache --exclude=node_modules --exclude=./services/console/dist \
    . | tar --extract --directory "$place/source"
cd "$place/source"
CARGO_BUILD_BUILD_DIR=$target CARGO_TARGET_DIR=$place cargo build --quiet --package weft-gateway --bin gateway >&2
printf '%s\n' "$place/debug/gateway"
