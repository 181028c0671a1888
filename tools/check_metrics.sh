#!/bin/sh
# check_metrics.sh PYTHON: let promtool check the alert rules in ops/, their tests, and the metrics
# of a running engine. Says so, and does not fail, where promtool cannot be had.
set -eu
cd "$(dirname "$0")/.."
python=$1

status=0
promtool=$(tools/promtool.sh) || status=$?
if [ "$status" = 69 ]; then
    echo "alert rules and metrics were not checked" >&2
    exit 0
fi
"$promtool" check config ops/prometheus.yml
"$promtool" check rules ops/*.rules.yml
"$promtool" test rules ops/*.test.yml

metrics=$(mktemp)
trap 'rm -f "$metrics"' EXIT
"$python" -m tools.scrape >"$metrics"
"$promtool" check metrics <"$metrics"
echo "$(grep -c '^# TYPE' "$metrics") metrics of a running engine: SUCCESS"
