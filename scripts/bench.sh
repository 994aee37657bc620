#!/usr/bin/env bash
# Measures the services on this machine: `ingest` receives beside @octokit/webhooks, adnanh/webhook and nginx; `journey`
# hands over through a real SSH tunnel; `footprint` lets 100,000 events wait; `memory` asks the memory questions with known
# answers and times it at up to 300,000 memories; `review` times a review between its event, the model and GitHub, and counts
# its calls; `proxy` streams what Ollama says beside nginx; `quick` is a short round of everything, and without a word it is
# all of them at length (about 30 minutes). `scripts/bench.sh WORD --help` has the numbers. Linux only.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

BENCH_TOOLS=$ROOT/target/bench-tools
OCTOKIT="@octokit/webhooks@14.2.0 @octokit/webhooks-examples@7.6.1"

# Installs the packages of those of these programs that are missing; each word is PROGRAM:PACKAGE.
install_servers() {
    local program missing='' sudo=''
    for program in "$@"; do
        have "${program%%:*}" || [ -x "/usr/sbin/${program%%:*}" ] || missing="$missing ${program#*:}"
    done
    [ -n "$missing" ] || return 0
    have apt-get || fail "missing:$missing; install them with your package manager"
    [ "$(id -u)" -eq 0 ] || sudo=sudo
    say "installing$missing"
    $sudo apt-get update -qq
    # shellcheck disable=SC2086  # a list of words
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
    # Only the programs are wanted: nobody asked for servers on ports 80, 9000 and 22.
    case $missing in *nginx*) $sudo systemctl disable --now nginx.service >/dev/null 2>&1 || true ;; esac
    case $missing in *openssh-server*) $sudo systemctl disable --now ssh.service ssh.socket >/dev/null 2>&1 || true ;; esac
    case $missing in *webhook*) $sudo systemctl disable --now webhook.service >/dev/null 2>&1 || true ;; esac
}

install_octokit() {
    local stamp=$BENCH_TOOLS/installed
    [ "$(cat "$stamp" 2>/dev/null)" != "$OCTOKIT" ] || return 0
    mkdir -p "$BENCH_TOOLS"
    # shellcheck disable=SC2086  # a list of words
    npm install --prefix "$BENCH_TOOLS" --no-save --no-audit --no-fund --loglevel=error $OCTOKIT
    # shellcheck disable=SC2016  # JavaScript's own template
    # As GitHub sends them: without white space, the fields in their order.
    (cd "$BENCH_TOOLS" && node -e '
        const examples = require("@octokit/webhooks-examples");
        for (const name of ["push", "pull_request"]) {
            const event = examples.find((one) => one.name === name);
            require("fs").writeFileSync(`${name}.json`, JSON.stringify(event.examples[0]));
        }')
    printf '%s\n' "$OCTOKIT" >"$stamp"
}

[ "$(uname)" = Linux ] || fail "the benchmarks read /proc: run them on Linux, as the relay's VPS does"
case ${1:-} in
    memory | review) ;; # need none of them
    proxy) install_servers nginx:nginx ;;
    *)
        install_servers nginx:nginx webhook:webhook npm:npm node:nodejs sshd:openssh-server ssh:openssh-client
        install_octokit
        ;;
esac
case ${1:-} in memory | quick | '') ./scripts/real-model.sh ;; esac
build relay claude-endpoint ollama-endpoint testkit
exec "$BIN_DIR/testkit" bench "$@" --tools "$BENCH_TOOLS" --work "$ROOT/target/bench"
