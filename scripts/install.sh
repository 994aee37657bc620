#!/bin/sh
# Installs AI Relay's programs from a release: finds out what this machine is, downloads that archive, and installs nothing
# unless its SHA-256 is the one that the release names. Download it, read it, run it:
#
#   curl -fsSLO https://github.com/OWNER/NAME/releases/latest/download/install.sh && sh install.sh
#
# All of it is in functions, and only the whole last line calls them: half a download does nothing.
set -eu

# Where the releases are. The release workflow writes its own repository here.
RELEASES=${AI_RELAY_RELEASES:-}
PROGRAMS="relay claude-endpoint ollama-endpoint ai-relay-home"
# Bytes of an archive; more is not what we published.
LARGEST=100000000

usage() {
    cat <<EOF
usage: install.sh [--to FOLDER] [--version VERSION] [--only PROGRAM] [--from PLACE]
  --to FOLDER        installs into FOLDER/bin and FOLDER/share (root: /usr/local, others: ~/.local)
  --version VERSION  that release, such as 0.1.0; without it the newest
  --only PROGRAM     one of: $PROGRAMS (may be given several times)
  --from PLACE       where the releases are (or AI_RELAY_RELEASES): https://github.com/OWNER/NAME/releases,
                     or a folder with what was downloaded of one: the archive and SHA256SUMS
EOF
}

say() { printf '%s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

platform() {
    case $(uname -s)/$(uname -m) in
        Linux/x86_64 | Linux/amd64) say x86_64-unknown-linux-musl ;;
        Linux/aarch64 | Linux/arm64) say aarch64-unknown-linux-musl ;;
        Darwin/arm64) say aarch64-apple-darwin ;;
        Darwin/x86_64)
            # A program under Rosetta is told that the machine is an Intel one.
            [ "$(sysctl -n sysctl.proc_translated 2>/dev/null)" = 1 ] || return 1
            say aarch64-apple-darwin
            ;;
        *) return 1 ;;
    esac
}

fetch() { # URL-OR-FILE FILE
    # Redirects of an https URL must not lead to one that is none, which wget cannot promise.
    case $1 in
        https://*) only='=https' ;;
        http://*) only='=http,https' ;;
        *) cp "$1" "$2" 2>/dev/null || fail "there is no $1"; return ;;
    esac
    have curl || fail "curl is missing; install it, or download the release yourself and give --from FOLDER"
    curl --fail --silent --show-error --location --proto "$only" --max-filesize "$LARGEST" --max-time 600 --output "$2" "$1" ||
        fail "cannot download $1; is that release there, and is this machine online?"
}

sum_of() { # FILE
    if have sha256sum; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1
}

check() { # FILE NAME SUMS: fails unless SUMS has exactly the sum of FILE for NAME
    wanted=$(awk -v name="$2" '$2 == name || $2 == "*" name { print $1 }' "$3")
    case $wanted in
        '') fail "the release has no checksum of $2; nothing was installed" ;;
        *[!0-9a-f]*) fail "the release has no single SHA-256 of $2; nothing was installed" ;;
    esac
    found=$(sum_of "$1")
    [ "$wanted" = "$found" ] || fail "$2 is damaged or was changed; nothing was installed
  its SHA-256 is   $found
  and should be    $wanted
  Try again; if it stays so, tell the maintainers."
}

version_of() { # PROGRAM -> its version; nothing where it does not run
    "$1" --version 2>/dev/null | cut -d ' ' -f 2- || true
}

look_at() { # NAME FILE: fails unless it is a program that runs here
    [ -f "$2" ] || fail "the archive has no $1; nothing was installed"
    [ -n "$(version_of "$2")" ] || fail "$1 does not run on this machine; nothing was installed"
}

install_program() { # NAME FILE FOLDER
    old=''
    [ ! -e "$3/$1" ] || old=$(version_of "$3/$1")
    # A program that runs keeps its file, and nobody ever sees half of one.
    mv -f "$2" "$3/$1"
    say "$3/$1: ${old:+$old -> }$(version_of "$3/$1")"
    replaced=$replaced$old
}

install_texts() { # FROM TO: man pages and completions, of what was installed
    for name in $wanted_programs; do
        mkdir -p "$2/man/man1" "$2/bash-completion/completions" "$2/zsh/site-functions" "$2/fish/vendor_completions.d"
        cp "$1/man/$name.1" "$1/man/$name"-*.1 "$2/man/man1/"
        cp "$1/completions/$name.bash" "$2/bash-completion/completions/$name"
        cp "$1/completions/$name.zsh" "$2/zsh/site-functions/_$name"
        cp "$1/completions/$name.fish" "$2/fish/vendor_completions.d/$name.fish"
    done
    # The unit, the proxies' snippets and the settings, for a machine without a clone.
    mkdir -p "$2/ai-relay"
    cp -R "$1/deploy" "$1/.env.example" "$2/ai-relay/"
}

main() {
    to='' version='' wanted_programs=''
    while [ $# -gt 0 ]; do
        case $1 in
            -h | --help) usage && return ;;
            --to | --version | --only | --from) [ $# -ge 2 ] || fail "$1 needs a value; see --help" ;;
            *) usage >&2 && exit 2 ;;
        esac
        case $1 in
            --to) to=$2 ;;
            --version) version=${2#v} ;;
            --only) wanted_programs="$wanted_programs $2" ;;
            --from) RELEASES=$2 ;;
        esac
        shift 2
    done
    [ -n "$RELEASES" ] || fail "where are the releases? Give --from https://github.com/OWNER/NAME/releases"
    wanted_programs=${wanted_programs:-$PROGRAMS}
    for name in $wanted_programs; do
        case " $PROGRAMS " in *" $name "*) ;; *) fail "there is no $name; --only takes one of: $PROGRAMS" ;; esac
    done
    if [ -z "$to" ]; then
        if [ "$(id -u)" -eq 0 ]; then to=/usr/local; else to=${HOME:?}/.local; fi
    fi
    have sha256sum || have shasum || fail "there is neither sha256sum nor shasum, and nothing is installed unchecked; install coreutils"
    platform=$(platform) || fail "there is no release for $(uname -s) on $(uname -m); build from the sources instead: cargo build --release --locked"
    archive=ai-relay-$platform.tar.gz
    if [ -d "$RELEASES" ]; then place=$RELEASES; else
        place=$RELEASES/latest/download
        [ -z "$version" ] || place=$RELEASES/download/v$version
    fi

    # Whoever runs the services must be able to read and start what root installs.
    umask 022
    scratch=$(mktemp -d) unpacked=''
    trap 'rm -rf "$scratch" ${unpacked:+"$unpacked"}' EXIT
    trap 'exit 130' INT TERM HUP
    fetch "$place/SHA256SUMS" "$scratch/SHA256SUMS"
    fetch "$place/$archive" "$scratch/$archive"
    check "$scratch/$archive" "$archive" "$scratch/SHA256SUMS"
    say "$archive: its SHA-256 is the release's"
    # Where they are to run: nothing may be started below a /tmp that is mounted noexec.
    mkdir -p "$to/bin"
    unpacked=$(mktemp -d "$to/.ai-relay.XXXXXX")
    tar -xzf "$scratch/$archive" -C "$unpacked" --no-same-owner

    new=$unpacked/ai-relay replaced=''
    for name in $wanted_programs; do look_at "$name" "$new/bin/$name"; done
    for name in $wanted_programs; do install_program "$name" "$new/bin/$name" "$to/bin"; done
    install_texts "$new" "$to/share"
    [ -z "$replaced" ] || say "what runs is the former version until it is restarted"
    case ":$PATH:" in *":$to/bin:"*) ;; *) say "$to/bin is not in your PATH; add it, or name the programs with their folder" ;; esac
}

{ main "$@"; exit; }
