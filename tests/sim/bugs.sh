#!/usr/bin/env bash
# Builds the server with one known fault after the other and shows that the simulation finds each within the seeds of CI.
# Usage: tests/sim/bugs.sh [fault...]
set -uo pipefail
cd "$(dirname "$0")/../.."

bugs=("$@")
if [ ${#bugs[@]} -eq 0 ]; then
    mapfile -t bugs < <(sed -n 's/.*values(\(.*\)).*/\1/p' Cargo.toml | grep -o '"[^"]*"' | tr -d '"')
fi

mkdir -p target/bugs
missed=0
for bug in "${bugs[@]}"; do
    # Only this crate is built anew: flags for all of them would build the dependencies too.
    wrapper="$PWD/target/bugs/$bug"
    printf '#!/bin/sh\nrustc="$1"\nshift\nexec "$rustc" "$@" --cfg '\''headwater_bug="%s"'\''\n' "$bug" >"$wrapper"
    chmod +x "$wrapper"
    log="target/bugs/$bug.log"
    RUSTC_WORKSPACE_WRAPPER="$wrapper" cargo test --test sim every_seed -- --nocapture >"$log" 2>&1
    if grep -q '^error' "$log" && ! grep -q '^seed ' "$log"; then
        echo "$bug: does not build, see $log"
        missed=1
    elif found=$(grep -m1 '^seed ' "$log"); then
        echo "$bug: found by $found"
    else
        echo "$bug: NOT FOUND"
        missed=1
    fi
done
exit $missed
