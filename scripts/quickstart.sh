#!/usr/bin/env bash
# Plays the main job once on this machine: builds and starts the three services, sends a signed pull request event and
# prints its journey. What is configured (environment or .env) is used for real, the rest are testkit's stand-ins.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<TEXT
usage: quickstart.sh [--keep]
  --keep   leave everything running afterwards, with its data in data/quickstart
Real instead of stand-in:
  GitHub     GITHUB_TOKEN and QUICKSTART_PR=owner/name#7: a review is posted on that pull request
  reviewer   ANTHROPIC_API_KEY, or the Claude CLI logged in, or REVIEWER=ollama
  Ollama     installed here, or answering at OLLAMA_URL
TEXT
}

# --- what is real: each sets its part of the first line, and *_is_real for what follows

look_for_github() {
    github_is_real='' github="stand-in (no GITHUB_TOKEN)"
    [ -n "${GITHUB_TOKEN:-}" ] || return 0
    github="stand-in (GITHUB_TOKEN is set, but no QUICKSTART_PR=owner/name#7 says what to review)"
    [ -n "${QUICKSTART_PR:-}" ] || return 0
    github_is_real=yes github="real, a review will be posted on $QUICKSTART_PR"
}

look_for_reviewer() {
    reviewer_is_real=yes
    case ${REVIEWER:-auto} in
        anthropic | claude-cli | ollama) reviewer="$REVIEWER (REVIEWER)" && return ;;
    esac
    REVIEWER=auto
    if [ -n "${ANTHROPIC_API_KEY:-}${ANTHROPIC_API_KEY_FILE:-}" ]; then
        reviewer="Anthropic"
    elif claude_is_logged_in; then
        reviewer="Claude CLI"
    else
        reviewer_is_real='' reviewer="stand-in for Anthropic (no ANTHROPIC_API_KEY, no claude login)"
    fi
}

claude_is_logged_in() {
    local status
    status=$("${CLAUDE_CLI:-claude}" auth status 2>/dev/null </dev/null | tr -d ' \n') || return 1
    case $status in *'"loggedIn":true'*) return 0 ;; *) return 1 ;; esac
}

look_for_ollama() {
    local url=${OLLAMA_URL:-http://127.0.0.1:11434}
    ollama_is_real=yes
    if answers "$url/api/version"; then
        ollama="real at $url"
    elif have ollama; then
        ollama="real, will be started"
    else
        ollama_is_real='' ollama="stand-in (nothing answers at $url)"
    fi
}

# --- set up

need_ports() {
    local name port variable
    while read -r name port variable; do
        ! port_is_taken "$port" ||
            fail "port $port, for the $name, is taken; stop what runs there (an earlier quickstart --keep: DATA_ROOT=data/quickstart ./scripts/stop-ai-services.sh), or set $variable to a free port"
    done <<TEXT
relay $RELAY_PORT RELAY_PORT
claude-endpoint $CLAUDE_ENDPOINT_PORT CLAUDE_ENDPOINT_PORT
ollama-endpoint $OLLAMA_ENDPOINT_PORT OLLAMA_ENDPOINT_PORT
TEXT
}

# What a quickstart takes from the settings for daily use: what can be real, and where things are.
OURS="GITHUB_TOKEN GITHUB_API_URL REVIEWER ANTHROPIC_API_KEY ANTHROPIC_BASE_URL CLAUDE_CODE_OAUTH_TOKEN CLAUDE_CLI CLAUDE_MODEL
CLAUDE_CHEAP_MODEL OLLAMA_URL OLLAMA_CHAT_MODEL OLLAMA_EMBED_MODEL RELAY_PORT CLAUDE_ENDPOINT_PORT OLLAMA_ENDPOINT_PORT"

# Own data, own fresh secrets and defaults, whatever .env says for daily use.
be_separate() {
    # shellcheck disable=SC2086  # a list of words
    forget_settings_but $OURS
    export LISTEN=127.0.0.1 METRICS_LISTEN=127.0.0.1:0 LOG_FORMAT=json RUST_LOG=info REVIEWER
    export RELAY_PORT CLAUDE_ENDPOINT_PORT OLLAMA_ENDPOINT_PORT
    if [ -n "$keep" ]; then
        DATA_ROOT=$ROOT/data/quickstart
    else
        DATA_ROOT=$(mktemp -d "${TMPDIR:-/tmp}/ai-relay-quickstart.XXXXXX")
    fi
    export DATA_ROOT ENV_FILE=$DATA_ROOT/.env
    load_settings
    prepare_folders
    [ -e "$ENV_FILE" ] || make_env "$ENV_FILE"
}

start_stand_ins() {
    [ -z "$github_is_real" ] || [ -z "$reviewer_is_real" ] || [ -z "$ollama_is_real" ] || return 0
    local waited=0 urls=''
    : >"$LOG_DIR/stand-ins.log"
    start stand-ins "$BIN_DIR/testkit" stand-ins
    while ! urls=$(grep '^{"' "$LOG_DIR/stand-ins.log"); do
        [ "$waited" -lt 100 ] || fail "the stand-ins did not start: $(tail -n 5 "$LOG_DIR/stand-ins.log")"
        sleep 0.1
        waited=$((waited + 1))
    done
    if [ -z "$github_is_real" ]; then
        unset GITHUB_TOKEN_FILE
        export GITHUB_API_URL GITHUB_TOKEN
        GITHUB_API_URL=$(field github "$urls") GITHUB_TOKEN=$(field github_token "$urls")
    fi
    if [ -z "$reviewer_is_real" ]; then
        export ANTHROPIC_BASE_URL ANTHROPIC_API_KEY=sk-ant-stand-in REVIEWER=anthropic
        ANTHROPIC_BASE_URL=$(field anthropic "$urls")
    fi
    if [ -z "$ollama_is_real" ]; then
        export OLLAMA_URL
        OLLAMA_URL=$(field ollama "$urls")
    fi
}

field() { # NAME JSON
    printf '%s\n' "$2" | sed 's/.*"'"$1"'":"\([^"]*\)".*/\1/'
}

# --- play

play() {
    load_env "$ENV_FILE"
    set -- --relay "http://127.0.0.1:$RELAY_PORT" --claude-log "$LOG_DIR/claude-endpoint.log"
    [ -z "$github_is_real" ] || set -- "$@" --pull-request "$QUICKSTART_PR"
    # In the background, so that a signal to this script is not kept waiting for it.
    "$BIN_DIR/testkit" journey "$@" &
    journey=$!
    wait "$journey"
}

where_next() {
    if [ -n "$keep" ]; then
        cat <<TEXT
Everything keeps running. Look around:
  set -a; . $ENV_FILE; set +a
  PORT=$RELAY_PORT $BIN_DIR/relay deliveries list
  curl -s -H "Authorization: Bearer \$MEMORY_TOKEN" "http://127.0.0.1:$OLLAMA_ENDPOINT_PORT/memory/search?repository=acme/shop&q=search"
  logs: $LOG_DIR
Stop it: DATA_ROOT=data/quickstart ./scripts/stop-ai-services.sh
TEXT
    else
        say "Next: ./scripts/quickstart.sh --keep to look around, ./scripts/start-ai-services.sh for daily use, deploy/README.md for the VPS."
    fi
}

clean_up() { # at every end
    local result=$?
    trap - EXIT INT TERM
    [ -z "$journey" ] || kill "$journey" 2>/dev/null || true
    if [ -z "$keep" ] || [ "$result" -ne 0 ]; then "$ROOT/scripts/stop-ai-services.sh"; fi
    if [ "$result" -ne 0 ]; then
        say "logs and data were kept in $DATA_ROOT"
    else
        [ -n "$keep" ] || rm -rf "$DATA_ROOT"
        where_next
    fi
    exit "$result"
}

keep='' journey=''
case ${1:-} in
    '') ;;
    --keep) keep=yes ;;
    -h | --help) usage && exit ;;
    *) usage >&2 && exit 2 ;;
esac
load_settings
look_for_github
look_for_reviewer
look_for_ollama
say "quickstart: GitHub: $github · reviewer: $reviewer · Ollama: $ollama"
need_ports
build relay claude-endpoint ollama-endpoint testkit
export BIN_DIR
be_separate
trap clean_up EXIT
trap 'exit 130' INT TERM
start_stand_ins
QUICKSTART=yes "$ROOT/scripts/start-ai-services.sh" --with-relay
say "sending a signed pull_request event"
play
