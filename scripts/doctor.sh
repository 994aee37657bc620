#!/usr/bin/env bash
# Looks at everything that the endpoints of this machine need, hop by hop, each with exactly the settings that its service has:
# doctor.sh [--json] [--offline] [--only NAME] [--repository OWNER/NAME]. `ai-relay-home services doctor` does it.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
build ai-relay-home ollama-endpoint claude-endpoint
exec "$BIN_DIR/ai-relay-home" services doctor --root "$ROOT" --env-file "$ENV_FILE" "$@"
