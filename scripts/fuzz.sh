#!/usr/bin/env bash
# Runs each fuzz target for SECONDS (60) with cargo-fuzz; a crash ends it and names the input that caused it.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

seconds=${1:-60}
case $seconds in *[!0-9]*) fail "usage: fuzz.sh [SECONDS]" ;; esac
need_system
if ! cargo fuzz --version >/dev/null 2>&1; then
    say "installing cargo-fuzz (once, a few minutes)"
    cargo install cargo-fuzz --locked
fi
export RUSTC_BOOTSTRAP=1 # the fuzzer's flags are nightly's; this lets stable take them
for target in webhook diff; do
    say "== $target for $seconds s"
    cargo fuzz run "$target" -- -max_total_time="$seconds" -print_final_stats=1
done
