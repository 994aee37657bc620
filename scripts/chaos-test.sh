#!/usr/bin/env bash
# Breaks the road between the VPS and home in every way, with the real programs on this one machine, and counts what is lost
# (0), what is doubled (0), and the time until everything goes on; prints it as a table. Fails if anything is lost or doubled.
# chaos-test.sh [--short] [--only FAULT] [--seed N] [--markdown] [--json FILE]. Root has network namespaces with a cable between
# them (packages iproute2 and iptables), anybody else loopback.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

build relay claude-endpoint ollama-endpoint ai-relay-home testkit
export BIN_DIR
exec "$BIN_DIR/testkit" chaos --tunnel "$ROOT/scripts/setup-tunnel.sh" "$@"
