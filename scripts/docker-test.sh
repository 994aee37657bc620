#!/usr/bin/env bash
# Puts the relay into the image of deploy/ and tries it in a Docker engine of its own: what its cage leaves it, that it is
# healthy while the Mac is away, that deployments under load lose nothing, and the commands of docs/coolify.md. Needs Linux,
# root, docker.io and docker-compose, and says so where it cannot run. Nothing of the machine's own Docker is touched.
# docker-test.sh [--deployments N] [--required]
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

MOST_MB=20

has_musl() { # TARGET
    have musl-gcc && { [ -d "$(rustc --print target-libdir --target "$1")" ] || rustup target add "$1" >/dev/null 2>&1; }
}

# As the Dockerfile builds it, for musl. Where that cannot be had: with the system's own C library, linked statically.
static_relay() { # -> STATIC_RELAY
    local target
    target=$(uname -m)-unknown-linux-musl
    if has_musl "$target"; then
        TARGET_CC=musl-gcc cargo build --release --locked --package relay --target "$target"
        STATIC_RELAY=${CARGO_TARGET_DIR:-target}/$target/release/relay
        return
    fi
    say "NOTE: without musl-gcc (package musl-tools) and the Rust target $target the relay gets the system's C library"
    linked_statically --release
}

linked_statically() { # [CARGO FLAG]: the binary of the system's target, its libraries in it -> STATIC_RELAY
    STATIC_RELAY=${CARGO_TARGET_DIR:-target}/docker-test/relay
    mkdir -p "${STATIC_RELAY%/*}"
    cargo rustc --locked --package relay --bin relay "$@" -- -C target-feature=+crt-static -C relocation-model=static
    cp "${CARGO_TARGET_DIR:-target}/$([ "${1:-}" = --release ] && echo release || echo debug)/relay" "$STATIC_RELAY"
}

if [ "$(uname)" != Linux ]; then
    say "SKIPPED: no Docker engine was tried: only Linux runs containers without a virtual machine"
    exit 0
fi
if [ -n "$BIN_DIR_GIVEN" ]; then
    # What the tests have built already; its size means nothing.
    linked_statically
    set -- --deployments 1 "$@"
else
    build testkit
    static_relay
    set -- --most-mb "$MOST_MB" "$@"
fi
exec "$BIN_DIR/testkit" docker --relay "$STATIC_RELAY" "$@"
