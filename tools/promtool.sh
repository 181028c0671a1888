#!/bin/sh
# promtool.sh [ARGUMENT ...]: run Prometheus's promtool, fetched from Debian where it is missing.
# Without arguments it only says where promtool is. Exit code 69: there is none to be had here.
set -eu
kept="$(dirname "$0")/../.venv/prometheus"

if promtool=$(command -v promtool); then :
elif [ -x "$kept/usr/bin/promtool" ]; then promtool="$kept/usr/bin/promtool"
else
    # `download` and `dpkg -x` need no root, install no service and leave the system as it was
    mkdir -p "$kept"
    if command -v apt-get >/dev/null 2>&1 && command -v dpkg >/dev/null 2>&1 &&
        (cd "$kept" && apt-get download -qq prometheus >/dev/null 2>&1 &&
            dpkg -x prometheus_*.deb . && rm -f prometheus_*.deb); then
        promtool="$kept/usr/bin/promtool"
    else
        rm -rf "$kept"
        echo "promtool is not installed, and apt-get cannot fetch the package prometheus" >&2
        exit 69
    fi
fi
if [ $# = 0 ]; then echo "$promtool"; else exec "$promtool" "$@"; fi
