#!/usr/bin/env bash
# Ends what start-ai-services.sh started, and nothing else. Events that were accepted wait on disk for the next start.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
load_settings

# The relay first, so that it hands over nothing more; Ollama last, since a review may need it.
for name in relay claude-endpoint ollama-endpoint stand-ins ollama; do
    case $name in
        *-endpoint) stop "$name" ;;
        *) [ ! -e "$RUN_DIR/$name.pid" ] || stop "$name" ;;
    esac
done

# What is installed would only be started again by the system.
for name in claude-endpoint ollama-endpoint; do
    ! is_installed "$name" ||
        say "$name: is installed and kept running by the system; ./scripts/start-ai-services.sh --restart starts it anew, --uninstall ends that"
done
