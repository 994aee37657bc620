#!/usr/bin/env bash
# The reverse tunnel from this machine to the VPS, on which the relay finds the two endpoints:
#   VPS 127.0.0.1:5050 -> claude-endpoint, VPS 127.0.0.1:8091 -> ollama-endpoint
# setup | up | down | status | run | prove | uninstall; `setup-tunnel.sh VERB --help` says more. `ai-relay-home tunnel` does it.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
load_settings
export DATA_ROOT CLAUDE_ENDPOINT_PORT OLLAMA_ENDPOINT_PORT
cd "$ROOT" # relative paths of the settings are meant from here
build ai-relay-home
exec "$BIN_DIR/ai-relay-home" tunnel "$@"
