#!/usr/bin/env bash
# Starts the services of the Mac: Ollama if it is installed, the claude-endpoint and the ollama-endpoint, and with
# --with-relay the relay too. What runs already is left alone. See stop-ai-services.sh for the way back.
# With --install, launchd or systemd keeps the endpoints running instead, also after a restart; ai-relay-home does that.
# With --restart, all of that is started anew, whoever keeps it running.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

HEALTH_DEADLINE=30

usage() {
    say "usage: start-ai-services.sh [--with-relay]"
    say "       start-ai-services.sh --restart"
    say "       start-ai-services.sh --install [--daemon] [--only NAME,...] | --uninstall [--only NAME,...]"
    say "  --with-relay   the relay too, on this machine (quickstart, or a single machine)"
    say "  --restart      starts anew what runs, installed or not: with a new version, with changed settings, or because it hangs"
    say "  --install      launchd or systemd keeps the endpoints running, and the tunnel if it is set up"
    say "  --daemon       on a Mac that nobody is logged in to; asks for your password"
    say "  --uninstall    stops and removes what was installed; settings and data stay"
    say "  --only         claude-endpoint, ollama-endpoint, tunnel"
    say "Settings come from the environment, then from $ENV_FILE."
    say "Ports: CLAUDE_ENDPOINT_PORT=$CLAUDE_ENDPOINT_PORT OLLAMA_ENDPOINT_PORT=$OLLAMA_ENDPOINT_PORT RELAY_PORT=$RELAY_PORT; data: DATA_ROOT=$DATA_ROOT"
}

need_env() {
    if [ ! -e "$ENV_FILE" ]; then
        make_env "$ENV_FILE"
        say "settings: made $ENV_FILE with fresh secrets; the relay needs the same RELAY_SIGNING_KEY, and GitHub's webhook the same GITHUB_WEBHOOK_SECRET"
    fi
}

neighbours() { # on one machine the services find each other without the tunnel
    export MEMORY_URL=${MEMORY_URL:-http://127.0.0.1:$OLLAMA_ENDPOINT_PORT}
    export CLAUDE_ENDPOINT=${CLAUDE_ENDPOINT:-http://127.0.0.1:$CLAUDE_ENDPOINT_PORT}
    export OLLAMA_ENDPOINT=${OLLAMA_ENDPOINT:-http://127.0.0.1:$OLLAMA_ENDPOINT_PORT}
}

# Runs a program with what is its own of the settings: its port, its folder and its log.
as_service() { # NAME PORT COMMAND...
    local name=$1 port=$2
    shift 2
    PORT=$port DATA_DIR=$DATA_ROOT/$name LOG_FILE=$LOG_DIR/$name.log "$@"
}

# The settings file is not loaded for it: what the environment has goes into the installed files, and nothing else.
install_services() {
    build ai-relay-home ollama-endpoint claude-endpoint
    umask 077
    "$BIN_DIR/ai-relay-home" services install --root "$ROOT" --env-file "$ENV_FILE" "$@"
}

uninstall_services() {
    build ai-relay-home
    "$BIN_DIR/ai-relay-home" services uninstall "$@"
}

# What is installed is started anew by the system, and the rest stopped; sets `services`, those that are to be started here,
# and `failed`: a tunnel whose VPS is away is no reason to leave the others stopped.
restart_services() {
    local name installed=''
    services='' failed=''
    if pid_of relay >/dev/null; then
        build relay
        stop relay
        services=relay
    fi
    for name in claude-endpoint ollama-endpoint; do
        if is_installed "$name"; then
            installed=$name,$installed
        else
            stop "$name"
            services="$name $services"
        fi
    done
    ! is_installed tunnel || installed=${installed}tunnel
    [ -z "$installed" ] ||
        "$BIN_DIR/ai-relay-home" services restart --root "$ROOT" --env-file "$ENV_FILE" --only "${installed%,}" || failed=yes
}

restart_tunnel() { # one that runs in the background
    if ! is_installed tunnel && pid_of tunnel >/dev/null; then "$BIN_DIR/ai-relay-home" tunnel restart || failed=yes; fi
    [ -z "$failed" ] || fail "not everything is well after its restart; above is why"
}

start_ollama() {
    local url=${OLLAMA_URL:-http://127.0.0.1:11434} waited=0
    if answers "$url/api/version"; then
        say "ollama: already running at $url"
    elif ! have ollama; then
        say "ollama: not installed; memories are found by their words only until something answers at $url (https://ollama.com/download)"
    else
        OLLAMA_HOST=$(host_of "$url"):$(port_of "$url") start ollama "$(command -v ollama)" serve
        while ! answers "$url/api/version"; do
            if [ "$waited" -ge 75 ] || ! pid_of ollama >/dev/null; then
                say "ollama: started, but nothing answers at $url yet; log: $LOG_DIR/ollama.log"
                return 0
            fi
            sleep 0.2
            waited=$((waited + 1))
        done
        say "ollama: started at $url, log: $LOG_DIR/ollama.log"
    fi
}

start_service() { # NAME: one line about the service, and its warnings
    local name=$1 port variable pid health
    case $name in
        ollama-endpoint) variable=OLLAMA_ENDPOINT_PORT ;;
        claude-endpoint) variable=CLAUDE_ENDPOINT_PORT ;;
        relay) variable=RELAY_PORT ;;
    esac
    port=${!variable}
    local program=$BIN_DIR/$name address=http://127.0.0.1:$port
    if pid=$(pid_of "$name"); then
        say "$name: already running at $address (pid $pid), log: $LOG_DIR/$name.log"
        return 0
    fi
    if port_is_taken "$port"; then
        as_service "$name" "$port" "$program" healthcheck >/dev/null 2>&1 ||
            fail "$name: port $port is taken by another program; stop that, or set $variable to a free port"
        if is_installed "$name"; then
            say "$name: already running at $address, kept so by the system; with --restart it is started anew"
        elif [ -n "$restarting" ]; then
            fail "$name: something else started what runs at $address; stop that first"
        else
            say "$name: already running at $address, started by something else and left alone"
        fi
        return 0
    fi
    # A second one would only keep the port from the first. A quickstart has ports of its own.
    [ -n "${QUICKSTART:-}" ] || ! is_installed "$name" ||
        fail "$name: is installed, and does not run; have the system start it: ./scripts/start-ai-services.sh --restart"
    as_service "$name" "$port" start "$name" "$program" serve
    await_health "$name" "$port"
    say "$name: started at $address (pid $(pid_of "$name")), log: $LOG_DIR/$name.log"
    printf '%s\n' "$health" | grep '^warn' | sed "s/^/    /" || true
}

await_health() { # NAME PORT: sets `health`, the answer
    local name=$1 port=$2 until=$((SECONDS + HEALTH_DEADLINE))
    while ! health=$(as_service "$name" "$port" "$BIN_DIR/$name" healthcheck 2>&1); do
        if ! pid_of "$name" >/dev/null; then
            last_words "$name" >&2
            rm -f "$RUN_DIR/$name.pid"
            fail "$name ended right after its start; above is what it said, log: $LOG_DIR/$name.log"
        fi
        if [ "$SECONDS" -ge "$until" ]; then
            printf '%s\n' "$health" >&2
            fail "$name is not healthy after $HEALTH_DEADLINE s; above is what it says, log: $LOG_DIR/$name.log"
        fi
        sleep 0.1
    done
    # A healthy answer may be another instance's while ours fails to get the port.
    pid_of "$name" >/dev/null || fail "$name: another instance answers on port $port; log: $LOG_DIR/$name.log"
}

cd "$ROOT" # relative paths of the settings are meant from here
services="ollama-endpoint claude-endpoint" restarting=''
case ${1:-} in
    --install)
        shift
        install_services "$@"
        exit
        ;;
    --uninstall)
        shift
        uninstall_services "$@"
        exit
        ;;
    '') ;;
    --with-relay) services="$services relay" ;;
    --restart) restarting=yes ;;
    -h | --help) load_settings && usage && exit ;;
    *) load_settings && usage >&2 && exit 2 ;;
esac
# shellcheck disable=SC2086  # a list of words
build $services ${restarting:+ai-relay-home}
umask 077 # what follows holds secrets and private code
need_env
load_settings
prepare_folders
[ -z "$restarting" ] || restart_services
neighbours
[ -z "$services" ] || start_ollama
for name in $services; do start_service "$name"; done
[ -z "$restarting" ] || restart_tunnel
