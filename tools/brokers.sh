#!/usr/bin/env bash
# Puts the brokers in place that the tests run against, where they are not there yet. `make test` calls it.
set -euo pipefail

# need COMMAND PACKAGE...: installs Debian packages where a command is missing and this is root; else says what to do.
need() {
    local command=$1
    shift
    [ -n "$(command -v "$command" || ls "/usr/sbin/$command" 2>/dev/null)" ] && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "Installing $* ..."
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
    else
        echo "The tests run against real brokers and need $command; on Debian: apt install $*" >&2
        exit 1
    fi
}

need mosquitto mosquitto
