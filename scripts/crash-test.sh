#!/usr/bin/env bash
# Kills the relay at random moments under load for ROUNDS rounds (200), then hurts it in other ways: disks, damage,
# clocks, targets. Fails if an acknowledged event is lost or handed over twice in effect.
# crash-test.sh [ROUNDS] [--seed N] [--only kill|FAULT]; the disks need root, the clocks the package faketime.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

build relay testkit
export BIN_DIR
exec "$BIN_DIR/testkit" crash "$@"
