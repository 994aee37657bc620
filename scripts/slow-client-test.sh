#!/usr/bin/env bash
# Holds thousands of slow connections (headers, bodies, answers that are not read) against a relay of its own and shows
# that it still accepts every webhook. Needs slowhttptest.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case $#:${1:-} in
    0: | 1:[1-9]*) ;;
    *) fail "usage: slow-client-test.sh [CONNECTIONS]" ;;
esac
have slowhttptest ||
    fail "slowhttptest is missing; install it: sudo apt-get install -y slowhttptest, or brew install slowhttptest"
build relay testkit
exec "$BIN_DIR/testkit" slow-clients --relay "$BIN_DIR/relay" "$@"
