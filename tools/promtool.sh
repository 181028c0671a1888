#!/bin/sh
# promtool.sh [ARGUMENT ...]: run Prometheus's promtool, fetched from Debian where it is missing.
# Without arguments it only says where promtool is; the server is beside it.
# Exit code 69: there is none to be had here.
set -eu
kept="$(dirname "$0")/../.venv/prometheus"

# All in one folder: this needs no root, installs no service and leaves the system as it was. Where
# the system knows no packages yet, as in a fresh container, apt-get gets the lists into the folder.
fetch() {
    mkdir -p "$kept" && cd "$kept" || return 1
    apt-get download -qq prometheus || {
        mkdir -p lists/partial cache/archives/partial || return 1
        own="-o Dir::State::Lists=$PWD/lists -o Dir::Cache=$PWD/cache"
        # shellcheck disable=SC2086 # several words
        apt-get $own update -qq && apt-get $own download -qq prometheus || return 1
    }
    dpkg -x prometheus_*.deb . && rm -rf prometheus_*.deb lists cache
}

if promtool=$(command -v promtool); then :
elif [ -x "$kept/usr/bin/promtool" ]; then promtool="$kept/usr/bin/promtool"
elif command -v apt-get >/dev/null 2>&1 && (fetch) >/dev/null 2>&1; then
    promtool="$kept/usr/bin/promtool"
else
    rm -rf "$kept"
    echo "promtool is not installed, and apt-get cannot fetch the package prometheus" >&2
    exit 69
fi
if [ $# = 0 ]; then echo "$promtool"; else exec "$promtool" "$@"; fi
