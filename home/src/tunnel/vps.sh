# shellcheck shell=sh
# Runs on the VPS as root, below the values that setup or uninstall puts in front: ACTION USER CONF KEY LINE BLOCK WANTED.
# It may be run any number of times, and leaves sshd as it was if sshd does not like the result.
set -eu
umask 022

ABOUT="AI Relay tunnel"
SSHD=$(PATH=$PATH:/usr/sbin:/usr/local/sbin command -v sshd) || SSHD=
BACKUP=$CONF.before-ai-relay

say() { printf 'vps: %s\n' "$*"; }
fail() { printf 'error: on the VPS: %s\n' "$*" >&2; exit 1; }

home_of() { getent passwd "$1" | cut -d: -f6; }

make_account() {
    if id "$USER" >/dev/null 2>&1; then
        [ "$(id -u "$USER")" -ne 0 ] || fail "$USER is root under another name; choose an account of the tunnel's own"
        say "account $USER: exists"
        return
    fi
    useradd --system --create-home --shell /usr/sbin/nologin --comment "$ABOUT" "$USER"
    usermod -p '*' "$USER" # no password, but not locked either: sshd refuses locked accounts
    say "account $USER: made"
}

keys_file() {
    home=$(home_of "$USER")
    [ -d "$home" ] || fail "the account $USER has no home folder; make it, owned by $USER"
    printf '%s\n' "$home/.ssh/authorized_keys"
}

# The lines of FILE but those with our key.
others() { # FILE
    [ ! -e "$1" ] || grep -vF -- "$KEY" "$1" || true
}

# Only the owner of the folder may decide what is in it: a link that the account planted must not lead root elsewhere.
no_link() { # PATH...
    for path; do [ ! -L "$path" ] || fail "$path is a symbolic link; remove it first"; done
}

authorize() {
    file=$(keys_file)
    folder=${file%/*}
    no_link "$folder" "$file"
    if [ -e "$file" ] && grep -qxF -- "$LINE" "$file" && [ "$(grep -cF -- "$KEY" "$file")" -eq 1 ]; then
        say "key: in place"
        return
    fi
    mkdir -p "$folder"
    { others "$file" && printf '%s\n' "$LINE"; } >"$file.new"
    mv "$file.new" "$file"
    chown -R "$USER:$(id -gn "$USER")" "$folder"
    chmod 700 "$folder"
    chmod 600 "$file"
    say "key: written to $file"
}

included() {
    grep -qiE '^[[:space:]]*Include[[:space:]]+.*sshd_config\.d' /etc/ssh/sshd_config
}

restrict() {
    [ -n "$SSHD" ] || fail "sshd is not installed"
    included || fail "/etc/ssh/sshd_config has no Include of sshd_config.d; append the Match block to it by hand"
    if [ -e "$CONF" ] && ! grep -qxF "Match User $USER" "$CONF"; then
        fail "$CONF is about another account; remove it, or choose that account"
    fi
    if [ -e "$CONF" ] && [ "$(cat "$CONF")" = "$BLOCK" ]; then
        missing=$(undecided)
        [ -z "$missing" ] || fail "another Match block of sshd's configuration goes before $CONF; it must not decide: $missing"
        say "sshd: restrictions are in place"
        return
    fi
    change
    reload
    say "sshd: restrictions written to $CONF, checked and in effect"
}

# Puts the block there; what was there before comes back if sshd refuses it, or if another block goes before it.
change() {
    rm -f "$BACKUP"
    [ ! -e "$CONF" ] || cp -p "$CONF" "$BACKUP"
    printf '%s\n' "$BLOCK" >"$CONF.new"
    mv "$CONF.new" "$CONF"
    if ! said=$("$SSHD" -t 2>&1); then
        back
        fail "sshd -t refuses the new configuration, which was taken back: $said"
    fi
    missing=$(undecided)
    if [ -n "$missing" ]; then
        back
        fail "another Match block of sshd's configuration goes before ours, which was taken back; it must not decide: $missing"
    fi
    rm -f "$BACKUP"
}

# What sshd would decide otherwise than the block says.
undecided() {
    effective=$("$SSHD" -T -C "user=$USER,host=localhost,addr=127.0.0.1" 2>&1) || true
    printf '%s\n' "$WANTED" | while IFS= read -r want; do
        printf '%s\n' "$effective" | grep -qixF -- "$want" || printf '%s; ' "$want"
    done
}

back() {
    if [ -e "$BACKUP" ]; then mv "$BACKUP" "$CONF"; else rm -f "$CONF"; fi
}

# sshd keeps its connections when it reads its configuration again.
reload() {
    if [ -d /run/systemd/system ]; then
        systemctl reload ssh 2>/dev/null || systemctl reload sshd || fail "sshd could not be reloaded; run: systemctl status ssh"
    elif pid=$(cat /run/sshd.pid 2>/dev/null || cat /var/run/sshd.pid 2>/dev/null); then
        kill -HUP "$pid"
    else
        fail "sshd does not say its pid; make it read its configuration again (it is checked already)"
    fi
}

remove() {
    if [ -e "$CONF" ] && grep -qxF "Match User $USER" "$CONF"; then
        rm -f "$CONF"
        "$SSHD" -t
        reload
        say "sshd: restrictions removed"
    fi
    id "$USER" >/dev/null 2>&1 || return 0
    file=$(keys_file)
    no_link "${file%/*}" "$file"
    if [ -e "$file" ] && grep -qF -- "$KEY" "$file"; then
        others "$file" >"$file.new"
        chown "$USER:$(id -gn "$USER")" "$file.new"
        chmod 600 "$file.new"
        mv "$file.new" "$file"
        say "key: removed"
    fi
    # An account that was made for the tunnel goes with its last key.
    if [ "$(getent passwd "$USER" | cut -d: -f5)" = "$ABOUT" ] && ! grep -q . "$file" 2>/dev/null; then
        userdel -r "$USER" 2>/dev/null || userdel "$USER"
        say "account $USER: removed"
    fi
}

case $ACTION in
    apply)
        make_account
        restrict # before the key, so that the account is never open to it
        authorize
        ;;
    remove) remove ;;
esac
