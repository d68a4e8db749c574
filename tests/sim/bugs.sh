#!/usr/bin/env bash
# Shows that the simulation finds each known fault of the server within the seeds of CI: runs them without a fault, which
# must pass, then with one fault after the other. Prints the first seed that finds a fault, and its complaint.
#
# Usage: tests/sim/bugs.sh [fault...]
# CARGO is the command that builds ("nice cargo"). HEADWATER_SIM_SEEDS and HEADWATER_SIM_FIRST choose other seeds.
set -uo pipefail
cd "$(dirname "$0")/../.."

SECONDS_MAX=300
KILOBYTES_MAX=4000000

# build <log>: prints the path of the test binary.
build() {
    ${CARGO:-cargo} test --no-run --test sim >"$1" 2>&1 || return 1
    sed -n 's/.*Executable tests\/sim\/main.rs (\(.*\))/\1/p' "$1"
}

# run <binary> <log>: all seeds. Fails if one of them fails.
run() {
    # A fault may loop, and fill memory meanwhile.
    (ulimit -v "$KILOBYTES_MAX" && exec timeout "$SECONDS_MAX" "$1" every_seed --nocapture >"$2" 2>&1)
}

bugs=("$@")
if [ ${#bugs[@]} -eq 0 ]; then
    mapfile -t bugs < <(sed -n 's/.*cfg(headwater_bug, values(\(.*\)).*/\1/p' Cargo.toml | grep -o '"[^"]*"' | tr -d '"')
fi
logs=target/bugs
mkdir -p "$logs"

if ! binary=$(build "$logs/clean.build"); then
    echo "clean: does not build, see $logs/clean.build"
    exit 1
elif ! run "$binary" "$logs/clean.log"; then
    echo "clean: FAILS, see $logs/clean.log: $(grep -a -m1 '^seed ' "$logs/clean.log")"
    exit 1
fi
echo "clean: $(grep -a -o '[0-9]* seeds' "$logs/clean.log" | head -1) pass"

missed=0
for bug in "${bugs[@]}"; do
    # Only this crate is built anew: flags for all of them would build the dependencies too.
    wrapper="$PWD/$logs/$bug"
    printf '#!/bin/sh\nrustc="$1"\nshift\nexec "$rustc" "$@" --cfg '\''headwater_bug="%s"'\''\n' "$bug" >"$wrapper"
    chmod +x "$wrapper"
    log="$logs/$bug.log"
    if ! binary=$(RUSTC_WORKSPACE_WRAPPER="$wrapper" build "$logs/$bug.build"); then
        echo "$bug: does not build, see $logs/$bug.build"
        missed=1
    elif run "$binary" "$log"; then
        echo "$bug: NOT FOUND"
        missed=1
    elif found=$(grep -a -m1 '^seed ' "$log"); then
        echo "$bug: $found"
    else
        echo "$bug: no seed failed, and the run did not pass, see $log"
        missed=1
    fi
done
exit $missed
