# shellcheck shell=sh
# Runs on the VPS as root, below the values that are put in front: ACTION USER CONF KEY LINE BLOCK WANTED.
# It may be run any number of times, and leaves sshd as it was if sshd does not like the result. It comes by standard input,
# so nothing that is started here may read that.
set -eu
umask 022
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin # not everywhere on root's own

ABOUT="AI Relay tunnel"
SSHD=$(command -v sshd) || SSHD=
PID_FILE=/run/sshd.pid
BACKUP=$CONF.before-ai-relay

say() { printf 'vps: %s\n' "$*"; }
fail() { printf 'error: on the VPS: %s\n' "$*" >&2; exit 1; }

exists() { getent passwd "$USER" >/dev/null; }
field() { getent passwd "$USER" | cut -d: -f"$1"; }
keys() { printf '%s/.ssh/authorized_keys\n' "$(field 6)"; }

make_account() {
    if exists; then
        spare_people
        say "account $USER: exists"
        return
    fi
    command -v useradd >/dev/null || fail "useradd is missing; install it (on Alpine: apk add shadow)"
    useradd --system --create-home --shell /usr/sbin/nologin --comment "$ABOUT" "$USER"
    usermod -p '*' "$USER" # no password, but not locked either: sshd refuses locked accounts
    say "account $USER: made"
}

# Nobody can log in to the account any more once it is restricted: it must be no person's, least of all the administrator's.
spare_people() {
    [ "$(id -u "$USER")" -ne 0 ] || refuse "it is root under another name"
    [ "$USER" != "${SUDO_USER:-$(id -un)}" ] || refuse "you administer the VPS by it"
    [ "$(field 5)" != "$ABOUT" ] || return 0
    case $(field 7) in */nologin | */false) ;; *) refuse "it has a login shell" ;; esac
    for group in $(id -Gn "$USER"); do
        case $group in sudo | wheel | admin) refuse "it is in the group $group" ;; esac
    done
    for file in "$(keys)" "$(keys)2"; do
        if [ -f "$file" ] && grep -vF -e 'command="/bin/false"' -e "$KEY" -- "$file" | grep -q '^[^#]'; then
            refuse "$file has somebody's key"
        fi
    done
}

refuse() { # WHY
    fail "the account $USER is not the tunnel's own, and would be locked out: $1. Choose another name with --user; setup makes that account"
}

included() {
    grep -qiE '^[[:space:]]*Include[[:space:]]+.*sshd_config\.d' /etc/ssh/sshd_config
}

# Puts the block in effect; what was there before comes back if sshd refuses it, or would not do what it is for.
restrict() {
    [ -n "$SSHD" ] || fail "sshd is not installed"
    included || fail "/etc/ssh/sshd_config has no Include of sshd_config.d; append the Match block to it by hand"
    if [ -e "$CONF" ] && ! grep -qxF "Match User $USER" "$CONF"; then
        fail "$CONF is about another account; remove it, or choose that account"
    fi
    rm -f "$BACKUP"
    [ ! -e "$CONF" ] || cp -p "$CONF" "$BACKUP"
    printf '%s\n' "$BLOCK" >"$CONF.new"
    mv "$CONF.new" "$CONF"
    trouble=$(trouble)
    if [ -n "$trouble" ]; then
        if [ -e "$BACKUP" ]; then mv "$BACKUP" "$CONF"; else rm -f "$CONF"; fi
        fail "$trouble. What was new in $CONF was taken back"
    fi
    rm -f "$BACKUP"
    reload # also when the file was there: the running sshd may never have read it
    say "sshd: restrictions are in $CONF, checked and in effect"
}

# What is wrong with sshd's configuration as it is now; nothing if it is as it must be.
trouble() {
    if ! said=$("$SSHD" -t 2>&1); then
        printf 'sshd -t refuses the configuration: %s' "$said"
        return
    fi
    effective=$("$SSHD" -T -C "user=$USER,host=localhost,addr=127.0.0.1,laddr=127.0.0.1,lport=22" 2>&1) || true
    missing=$(undecided)
    if [ -n "$missing" ]; then
        printf "another Match block of sshd's configuration goes before %s; it must not decide: %s" "$CONF" "${missing%; }"
        return
    fi
    shut_out
}

# What sshd would decide otherwise than the block says.
undecided() {
    printf '%s\n' "$WANTED" | while IFS= read -r want; do
        printf '%s\n' "$effective" | grep -qixF -- "$want" || printf '%s; ' "$want"
    done
}

values() { printf '%s\n' "$effective" | sed -n "s/^$1 //p"; } # KEYWORD

# What keeps the account out whatever its key, as sshd goes through it. From which hosts a pattern is for, is not judged.
shut_out() {
    groups=$(id -Gn "$USER")
    users=$(values allowusers) allowed_groups=$(values allowgroups)
    if named "$USER" "$(values denyusers | grep -v @)"; then
        by DenyUsers "take $USER out of that line"
    elif [ -n "$users" ] && ! named "$USER" "$(printf '%s\n' "$users" | sed 's/@.*//')"; then
        by AllowUsers "add $USER to that line"
    elif named "$groups" "$(values denygroups)"; then
        by DenyGroups "take $USER out of that group"
    elif [ -n "$allowed_groups" ] && ! named "$groups" "$allowed_groups"; then
        by AllowGroups "add $(id -gn "$USER") to that line"
    elif ! read_by_sshd "$(keys)"; then
        by AuthorizedKeysFile "add .ssh/authorized_keys to that line"
    fi
}

by() { # KEYWORD REMEDY
    found=$(grep -rnisE "^[[:space:]]*$1[[:space:]]" /etc/ssh/sshd_config /etc/ssh/sshd_config.d | head -n 1)
    printf 'sshd would not let %s in with its key, by %s: %s' "$USER" "${found:-$1}" "$2"
}

# Whether one of the names is meant by one of the patterns.
named() ( # NAMES PATTERNS
    set -f
    for pattern in $2; do
        for name in $1; do
            # shellcheck disable=SC2254  # a pattern
            case $name in $pattern) return 0 ;; esac
        done
    done
    return 1
)

read_by_sshd() { # FILE
    for file in $(values authorizedkeysfile | sed "s|%h|$(field 6)|g; s|%u|$USER|g"); do
        case $file in /*) ;; *) file=$(field 6)/$file ;; esac
        [ "$file" != "$1" ] || return 0
    done
    return 1
}

# sshd keeps its connections when it reads its configuration again, and is back at its door when its pid is written anew.
reload() {
    before=$(stamp)
    if [ -d /run/systemd/system ]; then
        systemctl reload ssh 2>/dev/null || systemctl reload sshd || fail "sshd could not be reloaded; run: systemctl status ssh"
    elif [ -n "$before" ]; then
        kill -HUP "$(cat "$PID_FILE")"
    else
        fail "sshd does not say its pid; make it read its configuration again (it is checked already)"
    fi
    [ -n "$before" ] || return 0
    for _ in $(seq 50); do
        now=$(stamp)
        [ -z "$now" ] || [ "$now" = "$before" ] || return 0
        sleep 0.1
    done
}

stamp() { stat -c '%i %z' "$PID_FILE" 2>/dev/null || true; }

authorize() {
    file=$(keys)
    if [ -f "$file" ] && grep -qxF -- "$LINE" "$file" && [ "$(grep -cF -- "$KEY" "$file")" -eq 1 ]; then
        say "key: in place"
        return
    fi
    edit_keys "$LINE"
    say "key: written to $file"
}

forget() {
    exists && [ -f "$(keys)" ] && grep -qF -- "$KEY" "$(keys)" || return 0
    edit_keys ''
    say "key: removed"
}

# Drops our key and adds a line, as the account: a link that it planted leads no further than it may go by itself.
edit_keys() { # LINE, or nothing
    [ -d "$(field 6)" ] || fail "the account $USER has no home folder; make it, owned by $USER"
    run_as=$(command -v runuser || command -v su)
    KEYS=$(keys) KEY=$KEY ADD=$1 "$run_as" -s /bin/sh "$USER" -c "$EDIT" </dev/null ||
        fail "as $USER, $(keys) could not be written, and was left as it was; is what is in its home folder its own?"
}

# shellcheck disable=SC2016  # a script of its own
EDIT='set -eu
umask 077
mkdir -p "${KEYS%/*}"
chmod 700 "${KEYS%/*}"
rm -f "$KEYS.new"
{
    [ ! -f "$KEYS" ] || grep -vF -- "$KEY" "$KEYS" || [ $? -eq 1 ]
    [ -z "$ADD" ] || printf "%s\n" "$ADD"
} >"$KEYS.new"
mv -f "$KEYS.new" "$KEYS"'

remove() {
    forget # before the restrictions go, so that the account is never open to it
    if exists && grep -q '^[^#]' "$(keys)" 2>/dev/null; then
        say "account $USER: stays with its restrictions, for the other keys that it has"
        return
    fi
    if [ -e "$CONF" ] && grep -qxF "Match User $USER" "$CONF"; then
        rm -f "$CONF"
        "$SSHD" -t
        reload
        say "sshd: restrictions removed"
    fi
    # An account that was made for the tunnel goes with its last key.
    if exists && [ "$(field 5)" = "$ABOUT" ]; then
        userdel -r "$USER" 2>/dev/null || ! exists || userdel "$USER" ||
            fail "the account $USER could not be removed; a connection that was cut may hold it for half a minute. Run uninstall again"
        say "account $USER: removed"
    fi
}

# An empty one would stand for every line.
[ -n "$KEY" ] || fail "no key was given"
case $ACTION in
    apply)
        make_account
        restrict # before the key, so that the account is never open to it
        authorize
        ;;
    forget) forget ;;
    remove) remove ;;
esac
