#!/usr/bin/env bash
# Sends the relay a signed pull_request event: of a pull request that exists (read from GitHub, with GITHUB_TOKEN where
# it is private), or without arguments a made-up one.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case $#:${1:-} in
    0:) ;;
    2:?*/?*) set -- --pull-request "$1#$2" ;;
    *) fail "usage: test-pr-webhook.sh [OWNER/REPO NUMBER]" ;;
esac
load_settings
[ -n "${GITHUB_WEBHOOK_SECRET:-}" ] ||
    fail "GITHUB_WEBHOOK_SECRET is not set; it must be the relay's, from the environment or $ENV_FILE"
export GITHUB_WEBHOOK_SECRET RELAY_URL=${RELAY_URL:-http://127.0.0.1:$RELAY_PORT}
build testkit
answer=$("$BIN_DIR/testkit" journey --send-only ${1+"$@"}) || fail "not accepted. ${answer:-}"
say "$answer"
id=$(printf '%s\n' "$answer" | sed -n 's/.* delivery //p')
# At home nobody builds the relay's program.
if [ -x "$BIN_DIR/relay" ]; then
    say "look at it: set -a; . $ENV_FILE; set +a; RELAY_URL=$RELAY_URL $BIN_DIR/relay deliveries show $id"
else
    say "look at it: set -a; . $ENV_FILE; set +a; curl -s -H \"Authorization: Bearer \$RELAY_ADMIN_TOKEN\" $RELAY_URL/api/deliveries/$id"
fi
