#!/usr/bin/env bash
# Licences, sources and known problems of everything that is built in (deny.toml), and what GitHub's workflows may do.
# Installs the tools that it lacks into target/audit-tools.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

TOOLS=$ROOT/target/audit-tools
CARGO_DENY=cargo-deny@0.20.2
PYTHON_TOOLS="zizmor==1.32.0 check-jsonschema==0.39.0"
export PATH=$TOOLS/bin:$TOOLS/python/bin:$PATH

need_system
if ! have cargo-deny; then
    say "installing cargo-deny (once, some minutes)"
    cargo install --locked --root "$TOOLS" "$CARGO_DENY"
fi
if ! have zizmor || ! have check-jsonschema; then
    have python3 || fail "python3 is missing; install it with your package manager"
    # shellcheck disable=SC2086  # a list of words
    python3 -m venv "$TOOLS/python" && "$TOOLS/python/bin/pip" install --quiet $PYTHON_TOOLS
fi
say "== workflows"
check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
zizmor --offline .github
say "== dependencies"
# The stand-ins are never shipped, but they are run.
cargo deny --workspace check
