# shellcheck shell=bash
# Shared by the scripts beside it; sourced, never run. Works with the bash 3.2 of macOS.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
ENV_FILE=${ENV_FILE:-$ROOT/.env}
STOP_DEADLINE=15
LARGEST_LOG=10485760 # of programs that do not see to it themselves

say() { printf '%s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# --- processes: RUN_DIR/NAME.pid holds the pid and when that process began, since a pid alone may be reused

prepare_folders() { (umask 077 && mkdir -p "$RUN_DIR" "$LOG_DIR"); }

began() { # PID -> when it began, in the system's own words; fails for a process that has ended
    local stat=''
    if [ ! -d /proc/self ]; then
        began_by_ps "$1"
        return
    fi
    IFS= read -r stat 2>/dev/null <"/proc/$1/stat" || return 1
    # proc(5): after the name in parentheses, the state is the 1st field and the start time the 20th
    # shellcheck disable=SC2086  # split on purpose
    set -- ${stat##*) }
    [ "$1" != Z ] && printf '%s\n' "${20}"
}

began_by_ps() { # PID: the same where there is no /proc
    # shellcheck disable=SC2046  # split on purpose
    set -- $(LC_ALL=C TZ=UTC ps -p "$1" -o stat= -o lstart=)
    case ${1:-Z} in Z*) return 1 ;; esac
    shift
    printf '%s\n' "$*"
}

record() { # NAME PID
    printf '%s\n%s\n' "$2" "$(began "$2")" >"$RUN_DIR/$1.pid"
}

# Prints the pid of a recorded process that still is the one that was recorded.
pid_of() { # NAME
    local pid='' at=''
    [ -r "$RUN_DIR/$1.pid" ] || return 1
    { IFS= read -r pid && IFS= read -r at; } <"$RUN_DIR/$1.pid" || return 1
    [ -n "$at" ] && [ "$(began "$pid" 2>/dev/null)" = "$at" ] && printf '%s\n' "$pid"
}

start() { # NAME PROGRAM [ARGUMENT...]: in the background, in a process group of its own; its log goes on from LOG_FROM
    local name=$1
    shift
    touch "$LOG_DIR/$name.log"
    if [ "$(wc -c <"$LOG_DIR/$name.log")" -gt "$LARGEST_LOG" ]; then
        mv "$LOG_DIR/$name.log" "$LOG_DIR/$name.log.1"
        touch "$LOG_DIR/$name.log"
    fi
    LOG_FROM=$(($(wc -c <"$LOG_DIR/$name.log") + 1))
    set -m
    nohup "$@" >>"$LOG_DIR/$name.log" 2>&1 </dev/null &
    set +m
    record "$name" $!
}

last_words() { # NAME: of the process that `start` started last
    tail -c "+$LOG_FROM" "$LOG_DIR/$1.log" | tail -n 15
}

stop() { # NAME: ends what was recorded under that name, and nothing else
    local name=$1 pid waited=0
    if ! pid=$(pid_of "$name"); then
        rm -f "$RUN_DIR/$name.pid"
        say "$name: not running"
        return 0
    fi
    kill -TERM "$pid" 2>/dev/null || true
    while pid_of "$name" >/dev/null; do
        if [ "$waited" -ge $((STOP_DEADLINE * 10)) ]; then
            kill -KILL "$pid" 2>/dev/null || true
            rm -f "$RUN_DIR/$name.pid"
            say "$name: did not stop within $STOP_DEADLINE s and was killed (pid $pid); nothing accepted is lost, log: $LOG_DIR/$name.log"
            return 0
        fi
        sleep 0.1
        waited=$((waited + 1))
    done
    rm -f "$RUN_DIR/$name.pid"
    say "$name: stopped (pid $pid)"
}

is_installed() { # NAME: whether launchd or systemd keeps it running
    local file
    for file in "${HOME:-}/.config/systemd/user/ai-relay-$1.service" "${HOME:-}/Library/LaunchAgents/ai-relay-$1.plist" \
        "/Library/LaunchDaemons/ai-relay-$1.plist"; do
        [ ! -e "$file" ] || return 0
    done
    return 1
}

# --- network, without any tool but bash

port_is_taken() { # PORT
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

host_of() { # URL -> host
    local authority=${1#*://}
    authority=${authority%%/*}
    printf '%s\n' "${authority%:*}"
}

port_of() { # http URL -> port
    local authority=${1#*://}
    authority=${authority%%/*}
    case $authority in
        *:*) printf '%s\n' "${authority##*:}" ;;
        *) echo 80 ;;
    esac
}

answers() { # http URL with a path: whether a GET brings a status below 400
    local host port status
    host=$(host_of "$1") port=$(port_of "$1")
    status=$(
        exec 2>/dev/null 3<>"/dev/tcp/$host/$port" || exit
        printf 'GET /%s HTTP/1.0\r\nHost: %s:%s\r\n\r\n' "${1#*://*/}" "$host" "$port" >&3
        IFS= read -r -t 3 status <&3 && printf '%s' "$status"
    ) || return 1
    case $status in "HTTP/1."?" "[23]*) return 0 ;; *) return 1 ;; esac
}

# --- binaries and settings

BIN_DIR_GIVEN=${BIN_DIR:-}
BIN_DIR=${BIN_DIR:-${CARGO_TARGET_DIR:-$ROOT/target}/release}

# What a build and the services need of the system: a C compiler, since SQLite is built from source, and the
# certificates that HTTPS is checked against.
need_system() {
    local missing=''
    have cargo || fail "cargo is missing; install Rust from https://rustup.rs and open a new shell"
    if [ "$(uname)" = Darwin ]; then
        have cc || fail "there is no C compiler, and SQLite is built from source; run: xcode-select --install"
    elif have apt-get; then
        have cc || missing=" build-essential"
        [ -e /etc/ssl/certs/ca-certificates.crt ] || missing="$missing ca-certificates"
        [ -z "$missing" ] || fail "the system lacks$missing; run: sudo apt-get update && sudo apt-get install -y$missing"
    else
        have cc || fail "there is no C compiler (cc), and SQLite is built from source; install one with your package manager"
    fi
}

build() { # CRATE...: release builds, unless BIN_DIR says that they are elsewhere
    [ -z "$BIN_DIR_GIVEN" ] || return 0
    local crate missing='' packages=''
    for crate in "$@"; do
        packages="$packages -p $crate"
        [ -x "$BIN_DIR/$crate" ] || missing="$missing $crate"
    done
    need_system
    if [ -n "$missing" ]; then
        say "building$missing (the first build takes some minutes)"
        # shellcheck disable=SC2086  # a list of words
        (cd "$ROOT" && cargo build --release --locked $packages)
    else
        # shellcheck disable=SC2086
        (cd "$ROOT" && cargo build --release --locked --quiet $packages)
    fi
}

random_hex() { # BYTES
    od -An -tx1 -N "$1" /dev/urandom | tr -d ' \n'
}

# Fills .env.example with fresh secrets; the file is the owner's alone. As `ai-relay-home services install` does it.
make_env() { # FILE
    local line
    (
        umask 077
        while IFS= read -r line || [ -n "$line" ]; do
            case $line in
                RELAY_SIGNING_KEY=) line=${line}whsec_$(random_hex 32) ;;
                GITHUB_WEBHOOK_SECRET= | RELAY_ADMIN_TOKEN= | MEMORY_TOKEN=) line=$line$(random_hex 32) ;;
            esac
            printf '%s\n' "$line"
        done <"$ROOT/.env.example" >"$1.new"
        mv "$1.new" "$1"
    )
}

# Settings of FILE for this script and what it starts. What the environment has already goes first; lines are read as
# container engines read them, NAME=VALUE, and never run.
load_env() { # FILE
    local line name value
    while IFS= read -r line || [ -n "$line" ]; do
        line=${line%$'\r'}
        case $line in [A-Z]*=*) ;; *) continue ;; esac
        name=${line%%=*} value=${line#*=}
        case $value in \"*\" | \'*\') value=${value#?} value=${value%?} ;; esac
        [ -n "${!name+set}" ] || export "$name=$value"
    done <"$1"
}

# Unsets every setting that .env.example names but those, each with its _FILE.
forget_settings_but() { # NAME...
    local name
    # shellcheck disable=SC2013  # each line is one word
    for name in $(sed -n 's/^#\{0,1\} \{0,1\}\([A-Z][A-Z0-9_]*\)=.*/\1/p' "$ROOT/.env.example"); do
        case " $* " in *" $name "*) ;; *) unset "$name" "${name}_FILE" ;; esac
    done
}

# What the scripts themselves need of the settings.
load_settings() {
    [ ! -r "$ENV_FILE" ] || load_env "$ENV_FILE"
    DATA_ROOT=${DATA_ROOT:-data}
    case $DATA_ROOT in /*) ;; *) DATA_ROOT=$ROOT/$DATA_ROOT ;; esac
    RUN_DIR=$DATA_ROOT/run LOG_DIR=$DATA_ROOT/log
    RELAY_PORT=${RELAY_PORT:-4200}
    CLAUDE_ENDPOINT_PORT=${CLAUDE_ENDPOINT_PORT:-5050}
    OLLAMA_ENDPOINT_PORT=${OLLAMA_ENDPOINT_PORT:-8090}
}
