#!/usr/bin/env bash
# Kills the relay at random moments under load for ROUNDS rounds (200), then hurts it in other ways: disks, damage,
# clocks, targets. Fails if an acknowledged event is lost or handed over twice in effect.
# crash-test.sh [ROUNDS] [--seed N] [--only kill|FAULT]; the disks need root, the clocks the package faketime.
# crash-test.sh memory [ROUNDS] [--seed N]: the same to the ollama-endpoint, 100 rounds, while it learns, embeds, embeds anew
# and refines. Fails if an acknowledged update is lost, a memory is there twice, or anything derived is not as a rebuild makes it.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if [ "${1:-}" = memory ]; then
    shift
    build ollama-endpoint testkit
    export BIN_DIR
    exec "$BIN_DIR/testkit" crash-memory "$@"
fi
build relay testkit
export BIN_DIR
exec "$BIN_DIR/testkit" crash "$@"
