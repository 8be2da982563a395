#!/usr/bin/env bash
# Runs every check and every suite, and ends with a table of their times and the line "N passed, N failed".
#
#   deploy/dev/test.sh [full]      full: also the suites marked ignored, and the long forms (WEFT_TEST_FULL=1)
set -euo pipefail
cd "$(dirname "$0")/../.."

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
table="$logs/table"
passed=0
failed=0

arguments=()
full=()
if [ "${1:-quick}" = full ]; then
    export WEFT_TEST_FULL=1
    arguments=(-- --include-ignored)
    full=(--full)
fi

row() { printf '%-48s %8s %8s %8s %10s\n' "$@" >>"$table"; }

# check <name> <command…>: a step without tests of its own; failing counts as one failure.
check() {
    local name=$1 began=$SECONDS verdict=ok
    shift
    printf '\n== %s\n' "$name"
    "$@" || verdict=FAILED
    [ "$verdict" = ok ] || failed=$((failed + 1))
    row "$name" "$verdict" "" "" "$((SECONDS - began)) s"
}

# Turns cargo's output into table rows: a line "Running tests/x.rs (…)" names what the next "test result" is about. A suite that
# died before it had a result counts as one failure.
suites() {
    awk '
        function died() { if (name != "") print name "\t0\t1\t0\tdied"; name = "" }
        # Cargo runs the suites of a package after its unit tests, whose program has the name of the package.
        $1 == "Running" && $2 == "unittests" { died(); package = $NF; gsub(/[()]/, "", package)
            sub(/.*\//, "", package); sub(/-[0-9a-f]+$/, "", package); name = package " " $3 }
        $1 == "Running" && $2 != "unittests" { died(); name = package " " $2 }
        $1 == "Doc-tests" { died(); name = $2 " (examples in docs)" }
        /^test result: / { split($0, part, ";"); ok = part[1]; sub(/.*[.] /, "", ok); time = $NF
            print name "\t" ok + 0 "\t" part[2] + 0 "\t" part[3] + 0 "\t" time; name = "" }
        END { died() }
    ' "$1"
}

# silent <file>: ends the suite that cargo runs, if nobody has heard of it for so long that it hangs, and the others go on. For as
# long as it is let run.
silent() {
    local patience=300 size=-1 now since=$SECONDS
    [ -z "${WEFT_TEST_FULL:-}" ] || patience=3600
    while sleep 1; do
        now=$(stat -c %s "$1")
        if [ "$now" != "$size" ]; then
            size=$now since=$SECONDS
        elif [ $((SECONDS - since)) -ge "$patience" ]; then
            printf '\nNothing was heard for %s s: this suite is ended.\n' "$patience" | tee -a "$1"
            for cargo in $(pgrep -x -P $$ cargo); do
                for suite in $(pgrep -P "$cargo"); do kill -9 "$suite"; done
            done
        fi
    done
}

printf '== tests\n'
row "suite" "passed" "failed" "ignored" "time"
check "format" cargo fmt --all --check
check "crates of others, unsafe code" python3 deploy/ci/dependencies.py --bites
# The gateway embeds the console that it finds when it is compiled; the tested one is to have it.
check "build the console" services/console/build.sh
# Tests start the gateway and the executor as processes of their own.
check "build" cargo build --workspace --bins

# Passed, failed and skipped of what vitest ("Tests  1 failed | 115 passed (116)"), pytest ("1 failed, 12 passed in 3.21s") and
# Node.js ("ℹ pass 12") say, in colours perhaps, and of as many of them as a script runs.
counted() {
    sed 's/\x1b\[[0-9;]*m//g' "$1" | awk '
        $1 == "Tests" || / in [0-9.]+s( \(.*\))?( =+)?$/ {
            for (i = 2; i <= NF; i++) if ($i ~ /^(passed|failed|skipped)[,|]?$/) n[substr($i, 1, 6)] += $(i - 1) }
        $1 == "ℹ" && $2 ~ /^(pass|fail|skipped)$/ { n[$2 == "skipped" ? "skippe" : $2 "ed"] += $3 }
        END { print n["passed"] + 0, n["failed"] + 0, n["skippe"] + 0 }'
}

# beside <name> <command…>: begins checks or tests that run beside others; joined and checked tell what they said.
declare -A beside
beside() {
    local name=$1 said="$logs/${1//\//-}"
    shift
    (
        began=$SECONDS ended=yes
        "$@" >"$said" 2>&1 || ended=no
        echo "$ended $((SECONDS - began))" >"$said.end"
    ) &
    beside[$name]=$!
}
# checked <name>: waits for a check that was begun beside others; failing counts as one failure.
checked() {
    local said="$logs/${1//\//-}" ended=no seconds=0 verdict=ok
    printf '\n== %s\n' "$1"
    wait "${beside[$1]}" || true
    cat "$said"
    read -r ended seconds <"$said.end" || true
    [ "$ended" = yes ] || { verdict=FAILED failed=$((failed + 1)); }
    row "$1" "$verdict" "" "" "$seconds s"
}
joined() {
    local name=$1 said="$logs/${1//\//-}" ended=no seconds=0
    printf '\n== %s\n' "$name"
    wait "${beside[$name]}" || true
    cat "$said"
    read -r ended seconds <"$said.end" || true
    tally "$name" "$said" "$ended" "$seconds"
}

# tally <name> <file> <whether it ended well> <seconds>: a row for what a script has said.
tally() {
    local ok bad skipped
    read -r ok bad skipped < <(counted "$2")
    # One that checks its types or its style in vain has no failed test.
    [ "$3" = yes ] || [ "$bad" -gt 0 ] || bad=1
    [ "$3" = no ] || [ "$ok" -gt 0 ] || bad=1
    passed=$((passed + ok))
    failed=$((failed + bad))
    row "$1" "$ok" "$bad" "$skipped" "$4 s"
}

# script <directory> [arguments]: checks and tests that are no crate's. They run against the programs that were built above.
script() {
    local name=$1 began=$SECONDS ended=yes
    shift
    printf '\n== %s\n' "$name"
    "$name/test.sh" "$@" 2>&1 | tee "$logs/script" || ended=no
    tally "$name" "$logs/script" "$ended" "$((SECONDS - began))"
}

check "build the tests" cargo test --workspace --no-run
# These mostly wait, and so do the suites; the linter gets what they leave over.
beside clients/python clients/python/test.sh
beside docs docs/test.sh
beside lint nice -n 19 cargo clippy --quiet --workspace --all-targets -- -D warnings
trap 'kill "${beside[@]}" 2>/dev/null || true; rm -rf "$logs"' EXIT

began=$SECONDS
# Most tests wait for timers and processes, so twice as many as there are processors run at once.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((2 * $(nproc)))}
: >"$logs/tests"
silent "$logs/tests" &
beside[silent]=$!
# In the foreground: what a script starts behind itself ignores the interrupts that some tests send.
CARGO_TERM_COLOR=never cargo test --workspace --no-fail-fast "${arguments[@]+"${arguments[@]}"}" 2>&1 | tee -a "$logs/tests" || tests_failed=yes
kill "${beside[silent]}"
failed_before=$failed
while IFS=$'\t' read -r name ok bad ignored time; do
    passed=$((passed + ok))
    failed=$((failed + bad))
    # Packages without tests are no news.
    [ $((ok + bad + ignored)) -eq 0 ] || row "$name" "$ok" "$bad" "$ignored" "$time"
done < <(suites "$logs/tests")
# A suite that does not compile has no line of its own.
if [ "${tests_failed:-no}" = yes ] && [ "$failed" -eq "$failed_before" ]; then
    failed=$((failed + 1))
    row "a suite that did not end properly" "" "1" "" ""
fi
row "all suites" "" "" "" "$((SECONDS - began)) s"
# A gateway with a guard left out must never stand where the tests and users look for the real one.
if [ "${1:-quick}" = full ]; then
    check "mutants: the checkers bite" env CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/mutants" \
        cargo test --package weft-gateway --features mutants --test mutants
    check "mutants: the matrix of who sees what bites" env CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/mutants" \
        cargo test --package weft-gateway --features mutants --test end_to_end auth_matrix
fi
check "chart, manifests, dashboards, alerts" deploy/check.sh
checked lint
joined clients/python
# The documents against the programs, and the tutorial, command by command.
joined docs

script clients/typescript
script services/console "${full[@]+"${full[@]}"}"
# Front ends of others, unchanged, in a browser; in the quick run by turns on one broker and the other.
if [ "${1:-quick}" = full ]; then script clients/examples full; else script clients/examples turns; fi

printf '\n'
cat "$table"
printf '\n%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
