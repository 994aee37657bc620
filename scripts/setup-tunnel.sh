#!/usr/bin/env bash
# The reverse tunnel from this machine to the VPS, on which the relay finds the two endpoints:
#   VPS 127.0.0.1:5050 -> claude-endpoint, VPS 127.0.0.1:8091 -> ollama-endpoint
# It has a key, a pinned host key and an ssh configuration of its own and touches nothing in ~/.ssh.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
load_settings

TUNNEL_DIR=${TUNNEL_DIR:-$DATA_ROOT/tunnel}
KEY=$TUNNEL_DIR/id_ed25519
KNOWN_HOSTS=$TUNNEL_DIR/known_hosts
SSH_CONFIG=$TUNNEL_DIR/ssh_config
CONNECTED=$RUN_DIR/tunnel.connected
LOG=$LOG_DIR/tunnel.log
DESTINATION=ai-relay-vps
LONGEST_PAUSE=30
STABLE_AFTER=60
CONNECT_DEADLINE=20

usage() {
    cat <<TEXT
usage: setup-tunnel.sh setup --host VPS --user USER [--port 22] [--host-key-fingerprint SHA256:...]
                             [--claude-port 5050] [--ollama-port 8091]   (ports on the VPS's loopback)
       setup-tunnel.sh up | down | status
       setup-tunnel.sh run        in the foreground, for launchd or systemd
Files: $TUNNEL_DIR; local ports: CLAUDE_ENDPOINT_PORT=$CLAUDE_ENDPOINT_PORT OLLAMA_ENDPOINT_PORT=$OLLAMA_ENDPOINT_PORT (at setup)
TEXT
}

# --- setup

setup() {
    local host='' user='' port=22 fingerprint='' claude_port=5050 ollama_port=8091
    while [ $# -gt 0 ]; do
        [ $# -ge 2 ] || fail "$1 needs a value"
        case $1 in
            --host) host=$2 ;;
            --user) user=$2 ;;
            --port) port=$2 ;;
            --host-key-fingerprint) fingerprint=$2 ;;
            --claude-port) claude_port=$2 ;;
            --ollama-port) ollama_port=$2 ;;
            *) usage >&2 && exit 2 ;;
        esac
        shift 2
    done
    check_words "$host" "$user" "$port" "$claude_port" "$ollama_port"
    (umask 077 && mkdir -p "$TUNNEL_DIR")
    make_key
    pin_host_key "$host" "$port" "$fingerprint"
    write_config "$host" "$user" "$port" "$claude_port" "$ollama_port"
    say_vps_side "$user" "$claude_port" "$ollama_port"
}

check_words() { # HOST USER PORT PORT PORT: they go into files that ssh reads
    case $1 in '' | -* | *[!A-Za-z0-9.:_-]*) fail "--host must name the VPS" ;; esac
    case $2 in '' | -* | *[!A-Za-z0-9._-]*) fail "--user must name the tunnel's account on the VPS" ;; esac
    local port
    shift 2
    for port in "$@"; do
        case $port in '' | *[!0-9]*) fail "a port must be a number, not '$port'" ;; esac
    done
}

make_key() {
    [ -e "$KEY" ] && say "key: $KEY exists and is kept" && return
    ssh-keygen -q -t ed25519 -N '' -C ai-relay-tunnel -f "$KEY"
    say "key: made $KEY"
}

pin_host_key() { # HOST PORT FINGERPRINT
    local scanned offered line name
    say "host key: asking $1 port $2"
    scanned=$(ssh-keyscan -T 10 -p "$2" -t ed25519,ecdsa,rsa "$1" 2>/dev/null | grep -v '^#') ||
        fail "no ssh server answers at $1 port $2; check the address, the port and the VPS's firewall"
    if [ -e "$KNOWN_HOSTS" ] && printf '%s\n' "$scanned" | grep -qxFf "$KNOWN_HOSTS"; then
        say "host key: pinned before, and unchanged"
        return
    fi
    name=$(printf '%s\n' "$scanned" | awk 'NR == 1 { print $1 }')
    if [ -e "$KNOWN_HOSTS" ] && awk '{ print $1 }' "$KNOWN_HOSTS" | grep -qxF "$name"; then
        fail "$1 shows another host key than the pinned one: somebody may be in between. If the VPS was really set up anew, delete $KNOWN_HOSTS and run setup again"
    fi
    offered=$(printf '%s\n' "$scanned" | ssh-keygen -lf -)
    say "$offered"
    if [ -n "$3" ]; then
        line=$(printf '%s\n' "$scanned" | with_fingerprint "$3")
        [ -n "$line" ] || fail "none of these host keys has the fingerprint $3; nothing was pinned"
    else
        confirm
        line=$scanned
    fi
    (umask 077 && printf '%s\n' "$line" >"$KNOWN_HOSTS")
    say "host key: pinned in $KNOWN_HOSTS"
}

with_fingerprint() { # FINGERPRINT: passes the known_hosts line that has it
    local line
    while IFS= read -r line; do
        case " $(printf '%s\n' "$line" | ssh-keygen -lf -) " in *" $1 "*) printf '%s\n' "$line" ;; esac
    done
}

confirm() {
    local answer=''
    [ -t 0 ] || fail "nobody is here to compare the fingerprint; give it as --host-key-fingerprint SHA256:..."
    say "Compare with what the VPS itself shows (on its console: for f in /etc/ssh/ssh_host_*_key.pub; do ssh-keygen -lf \$f; done)."
    printf 'Are these the fingerprints of your VPS? [yes/no] '
    read -r answer
    [ "$answer" = yes ] || fail "not confirmed; nothing was pinned"
}

write_config() { # HOST USER PORT CLAUDE_PORT OLLAMA_PORT
    cat >"$SSH_CONFIG" <<TEXT
# Written by setup-tunnel.sh; run its setup again to change it.
Host $DESTINATION
    HostName $1
    User $2
    Port $3
    IdentityFile "$KEY"
    IdentitiesOnly yes
    IdentityAgent none
    PreferredAuthentications publickey
    BatchMode yes
    UserKnownHostsFile "$KNOWN_HOSTS"
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    UpdateHostKeys no
    ControlMaster no
    ControlPath none
    ForwardAgent no
    ForwardX11 no
    RequestTTY no
    ConnectTimeout 10
    ServerAliveInterval 10
    ServerAliveCountMax 2
    ExitOnForwardFailure yes
    # 127.0.0.1 on both ends: a bare port would also be taken on ::1 alone while another program holds 127.0.0.1
    RemoteForward 127.0.0.1:$4 127.0.0.1:$CLAUDE_ENDPOINT_PORT
    RemoteForward 127.0.0.1:$5 127.0.0.1:$OLLAMA_ENDPOINT_PORT
TEXT
    say "ssh configuration: $SSH_CONFIG"
}

say_vps_side() { # USER CLAUDE_PORT OLLAMA_PORT
    say ""
    say "On the VPS, as root (deploy/README.md has the whole story):"
    say "1. this line in ~$1/.ssh/authorized_keys:"
    say "restrict,port-forwarding,permitlisten=\"127.0.0.1:$2\",permitlisten=\"127.0.0.1:$3\",command=\"/bin/false\" $(cat "$KEY.pub")"
    say "2. this as /etc/ssh/sshd_config.d/ai-relay.conf, then: sshd -t && systemctl reload ssh"
    sed -e "s/^Match User .*/Match User $1/" -e "s/PermitListen .*/PermitListen 127.0.0.1:$2 127.0.0.1:$3/" "$ROOT/deploy/sshd.conf"
    say ""
    say "Then here: ./scripts/setup-tunnel.sh up"
}

# --- run

need_setup() {
    if [ ! -e "$SSH_CONFIG" ] || [ ! -e "$KNOWN_HOSTS" ]; then
        fail "the tunnel is not set up; run: $0 setup --host VPS --user USER"
    fi
}

log() { printf '%s tunnel: %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$*"; }

# Keeps the tunnel up until it is told to stop.
run() {
    local pause=1 started status
    SSH_PID=''
    need_setup
    prepare_folders
    ! pid_of tunnel >/dev/null || fail "the tunnel runs already (pid $(pid_of tunnel))"
    stop_leftover
    record tunnel $$
    trap 'end_run; exit 0' TERM INT HUP
    log "connecting"
    while :; do
        started=$SECONDS status=0
        connect
        wait "$SSH_PID" || status=$?
        SSH_PID=''
        rm -f "$CONNECTED" "$RUN_DIR/tunnel-ssh.pid"
        [ $((SECONDS - started)) -lt "$STABLE_AFTER" ] || pause=1
        log "ssh ended with status $status; again in $pause s"
        sleep "$pause" &
        wait $! || true
        pause=$((pause * 2 < LONGEST_PAUSE ? pause * 2 : LONGEST_PAUSE))
    done
}

# `-v` because only its lines tell when the VPS has granted both forwards.
connect() {
    ssh -v -F "$SSH_CONFIG" -N "$DESTINATION" </dev/null 2> >(follow_ssh) &
    SSH_PID=$!
    record tunnel-ssh "$SSH_PID"
}

follow_ssh() {
    local line granted=0
    while IFS= read -r line; do
        line=${line%$'\r'}
        case $line in
            *"remote forward success for:"*)
                granted=$((granted + 1))
                [ "$granted" -eq 2 ] || continue
                date -u +%Y-%m-%dT%H:%M:%SZ >"$CONNECTED"
                log "up"
                ;;
            debug1:* | OpenSSH_* | Authenticated\ to* | Transferred:* | Bytes\ per* | '') ;;
            *) log "$line" ;;
        esac
    done
}

end_run() {
    trap - TERM INT HUP
    log "stopping"
    kill "$SSH_PID" 2>/dev/null || true
    wait "$SSH_PID" 2>/dev/null || true
    rm -f "$CONNECTED" "$RUN_DIR/tunnel-ssh.pid" "$RUN_DIR/tunnel.pid"
}

# An ssh whose supervisor was killed still holds the ports on the VPS.
stop_leftover() {
    [ ! -e "$RUN_DIR/tunnel-ssh.pid" ] || stop tunnel-ssh >/dev/null
    rm -f "$CONNECTED"
}

# --- up, down, status

up() {
    local deadline=$((SECONDS + CONNECT_DEADLINE)) pid
    need_setup
    if pid=$(pid_of tunnel); then
        say "tunnel: already running (pid $pid), $(state), log: $LOG"
        return
    fi
    prepare_folders
    rm -f "$CONNECTED"
    nohup "$ROOT/scripts/setup-tunnel.sh" run >>"$LOG" 2>&1 </dev/null &
    until connected || [ "$SECONDS" -ge "$deadline" ]; do sleep 0.1; done
    if connected; then
        say "tunnel: up (pid $(pid_of tunnel)), log: $LOG"
    else
        tail -n 5 "$LOG" >&2
        fail "tunnel: not connected after $CONNECT_DEADLINE s; above is why. It goes on trying; 'setup-tunnel.sh down' ends that"
    fi
}

down() {
    stop tunnel
    stop_leftover
}

connected() { [ -e "$CONNECTED" ] && pid_of tunnel-ssh >/dev/null; }

state() {
    if connected; then printf 'connected since %s' "$(cat "$CONNECTED")"; else printf 'not connected'; fi
}

status() {
    local pid
    need_setup
    if ! pid=$(pid_of tunnel); then
        say "tunnel: not running; start it with: $0 up"
        return 1
    fi
    say "tunnel: running (pid $pid), $(state)"
    port_is_taken "$CLAUDE_ENDPOINT_PORT" || say "    nothing listens on this machine's port $CLAUDE_ENDPOINT_PORT; is the claude-endpoint started?"
    port_is_taken "$OLLAMA_ENDPOINT_PORT" || say "    nothing listens on this machine's port $OLLAMA_ENDPOINT_PORT; is the ollama-endpoint started?"
    connected && return
    [ ! -r "$LOG" ] || tail -n 3 "$LOG"
    return 1
}

command=${1:-}
[ $# -eq 0 ] || shift
case $command in
    setup) setup "$@" ;;
    up | run | down | status) "$command" ;;
    -h | --help) usage ;;
    *) usage >&2 && exit 2 ;;
esac
