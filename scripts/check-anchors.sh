#!/usr/bin/env bash
# Holds the line numbers of reviews against the history of a repository, this one by default: every line of each
# commit's diff, whoever reads it out of the prompt, and where a finding on it is placed. Fails if one is wrong, and
# prints how much longer the prompt's diff is than git's.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case ${1:-} in
    -h | --help) fail "usage: check-anchors.sh [REPOSITORY [--commits N] [--context LINES] [--json]]" ;;
esac
build testkit >&2
[ $# -gt 0 ] || set -- "$ROOT"
exec "$BIN_DIR/testkit" check-anchors "$@"
