#!/usr/bin/env bash
# Builds a release from a clean commit, so that whoever builds it again gets the same bytes; and shows that this is so.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PROGRAMS="relay claude-endpoint ollama-endpoint ai-relay-home"
DIST=${DIST:-$ROOT/dist}

usage() {
    say "usage: release.sh build [TARGET]         the archive ai-relay-TARGET.tar.gz with its checksum, in DIST=$DIST"
    say "       release.sh pack TARGET FOLDER    the same, of programs that are built already"
    say "       release.sh sbom [TARGET]          what each program is made of, as CycloneDX, in DIST"
    say "       release.sh prove [CRATE] [TARGET] builds it twice, in two places, and compares (relay; takes some minutes)"
    say "       release.sh version                the version, as the tag of a release must have it after its v"
    say "TARGET is one of rustc's, such as x86_64-unknown-linux-musl; without it this machine's."
}

host() { rustc --version --verbose | sed -n 's/^host: //p'; }

version() { sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml"; }

# Everything that would otherwise tell one machine from another: the time, the folders, and what the environment adds.
reproducibly() { # FOLDER COMMAND...
    local root=$1 cargo_home=${CARGO_HOME:-$HOME/.cargo} sysroot commit
    shift
    sysroot=$(rustc --print sysroot)
    commit=$(rustc --version --verbose | sed -n 's/^commit-hash: //p')
    local target=${CARGO_TARGET_DIR:-$root/target}
    env -u RUSTFLAGS \
        SOURCE_DATE_EPOCH="$(time_of "$root")" \
        CARGO_ENCODED_RUSTFLAGS="--remap-path-prefix=$root=/ai-relay"$'\x1f'"--remap-path-prefix=$target=/target"$'\x1f'"--remap-path-prefix=$cargo_home=/cargo"$'\x1f'"--remap-path-prefix=$sysroot/lib/rustlib/src/rust=/rustc/$commit" \
        CFLAGS="-ffile-prefix-map=$root=/ai-relay -ffile-prefix-map=$target=/target -ffile-prefix-map=$cargo_home=/cargo" \
        CARGO_INCREMENTAL=0 LC_ALL=C TZ=UTC "$@"
}

time_of() { git -C "$1" log -1 --format=%ct; } # FOLDER -> when its commit was made

need_clean() {
    git -C "$ROOT" rev-parse HEAD >/dev/null 2>&1 || fail "this is no clone of a repository; a release is built from a commit"
    [ -z "$(git -C "$ROOT" status --porcelain)" ] || fail "there are changes that are in no commit; commit or remove them, since nobody else could build this release again"
}

gnu_tar() { # only it sorts and takes times
    if tar --version 2>/dev/null | grep -q GNU; then echo tar; elif have gtar; then echo gtar; else
        fail "there is no GNU tar; on macOS run: brew install gnu-tar"
    fi
}

built_with() { # what else makes the bytes, for whoever builds them again
    say "commit $(git -C "$ROOT" rev-parse HEAD)"
    rustc --version --verbose
    "${TARGET_CC:-cc}" --version | head -n 1
    ld --version 2>/dev/null | head -n 1 || ld -v 2>&1 | head -n 1
    gzip --version 2>&1 | head -n 1
}

pack() { # TARGET FOLDER-OF-PROGRAMS
    local name=ai-relay-$1 tar stage epoch program shell
    tar=$(gnu_tar)
    stage=$(mktemp -d)
    epoch=$(time_of "$ROOT")
    mkdir -p "$stage/ai-relay/bin" "$stage/ai-relay/completions" "$DIST"
    for program in $PROGRAMS; do
        cp "$2/$program" "$stage/ai-relay/bin/"
        "$2/$program" man "$stage/ai-relay/man" >/dev/null
        for shell in bash zsh fish; do "$2/$program" completions "$shell" >"$stage/ai-relay/completions/$program.$shell"; done
    done
    (cd "$ROOT" && cp README.md CHANGELOG.md LICENSE-APACHE LICENSE-MIT .env.example "$stage/ai-relay/" && cp -R deploy "$stage/ai-relay/")
    built_with >"$stage/ai-relay/BUILD-INFO"
    find "$stage" -type d -exec chmod 755 {} +
    find "$stage" -type f -exec chmod 644 {} +
    chmod 755 "$stage"/ai-relay/bin/*
    "$tar" --create --format=gnu --sort=name --mtime="@$epoch" --owner=0 --group=0 --numeric-owner -C "$stage" ai-relay |
        gzip -n -9 >"$DIST/$name.tar.gz"
    rm -rf "$stage"
    (cd "$DIST" && sum "$name.tar.gz" >"$name.tar.gz.sha256" && cat "$name.tar.gz.sha256")
}

sum() { if have sha256sum; then sha256sum "$@"; else shasum -a 256 "$@"; fi; }

build_release() { # TARGET
    local target=$1 program packages=''
    need_clean
    need_system
    for program in $PROGRAMS; do packages="$packages -p $program"; done
    # shellcheck disable=SC2086  # a list of words
    (cd "$ROOT" && reproducibly "$ROOT" cargo build --release --locked --target "$target" $packages)
    pack "$target" "${CARGO_TARGET_DIR:-$ROOT/target}/$target/release"
}

sbom() { # TARGET
    local program
    have cargo-cyclonedx || fail "cargo-cyclonedx is missing; run: cargo install --locked cargo-cyclonedx"
    mkdir -p "$DIST"
    (cd "$ROOT" && SOURCE_DATE_EPOCH=$(time_of .) cargo cyclonedx --format json --spec-version 1.5 --target "$1" --override-filename sbom --quiet)
    for program in $PROGRAMS; do
        # Its names of our own crates have the folder in which they lie.
        sed "s|file://$ROOT|file:///ai-relay|g" "$(folder_of "$program")/sbom.json" >"$DIST/$program-$1.cdx.json"
        say "$DIST/$program-$1.cdx.json"
    done
    # It writes one beside each crate of the workspace, also of those that are not shipped.
    find "$ROOT" -maxdepth 2 -name sbom.json -exec rm {} +
}

folder_of() { # PACKAGE
    (cd "$ROOT" && cargo pkgid --offline -p "$1") | sed 's|^[^/]*//||; s|#.*||'
}

# Two clones in folders of different names and depths, each with a copy of the registry and a home of its own.
prove() { # CRATE TARGET
    local crate=$1 target=$2 place clone registry=${CARGO_HOME:-$HOME/.cargo}/registry
    # rustup looks for the toolchain, which is part of what makes the bytes, below the real home.
    export RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup}
    need_clean
    need_system
    place=$(mktemp -d)
    for clone in one another/place/two; do
        say "== $crate in $place/$clone"
        git clone --quiet --no-hardlinks "$ROOT" "$place/$clone"
        mkdir -p "$place/$clone.cargo/registry" "$place/$clone.home"
        (cd "$ROOT" && cargo fetch --locked --quiet --target "$target")
        cp -R "$registry/cache" "$registry/index" "$place/$clone.cargo/registry/"
        (cd "$place/$clone" && CARGO_HOME=$place/$clone.cargo CARGO_TARGET_DIR=$PWD/target reproducibly "$PWD" \
            env HOME="$place/$clone.home" cargo build --release --locked --quiet --target "$target" -p "$crate")
        mv "$place/$clone/target/$target/release/$crate" "$place/$(basename "$clone").program"
        rm -rf "${place:?}/$clone/target"
    done
    (cd "$place" && sum one.program two.program)
    cmp "$place/one.program" "$place/two.program" ||
        fail "the two builds of $crate differ; this shows where: diffoscope $place/one.program $place/two.program"
    if LC_ALL=C grep -q -a -F "$place" "$place/one.program"; then
        fail "$place/one.program names the folder that it was built in"
    fi
    "$place/one.program" --version
    say "equal: $crate, $(wc -c <"$place/one.program") bytes, built twice from $(git -C "$ROOT" rev-parse --short=12 HEAD)"
    rm -rf "$place"
}

case ${1:-} in
    build) build_release "${2:-$(host)}" ;;
    pack) [ $# -eq 3 ] && pack "$2" "$3" ;;
    sbom) sbom "${2:-$(host)}" ;;
    prove) prove "${2:-relay}" "${3:-$(host)}" ;;
    version) version ;;
    -h | --help) usage ;;
    *) usage >&2 && exit 2 ;;
esac
