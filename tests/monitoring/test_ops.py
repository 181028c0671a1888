"""What ships in ``ops/``: rules that Prometheus accepts, and only metrics that there are."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Engine

OPS = Path(__file__).parents[2] / "ops"

# Metrics that only a venue over a network has, or that come after some minutes.
LATER = {
    *(f"candlewick_venue_limit_{part}" for part in ("used", "size")),
    *(f"candlewick_venue_{what}_total" for what in ("messages", "events")),
    *(f"candlewick_venue_{what}_messages_total" for what in ("unknown", "malformed")),
    "candlewick_venue_blocked_seconds",
    "candlewick_process_memory_growth_bytes_per_hour",
    "candlewick_order_rejections_total",
}


@pytest.mark.parametrize(
    "arguments",
    [("check", "rules", "candlewick.rules.yml"), ("check", "config", "prometheus.yml"),
     ("test", "rules", "candlewick.test.yml")],
)  # fmt: skip
def test_promtool_accepts_what_ships(promtool: str, arguments: tuple[str, ...]) -> None:
    done = subprocess.run([promtool, *arguments], cwd=OPS, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def expressions() -> dict[str, str]:
    """Every query of the dashboard and of the rules, by where it stands."""
    board = json.loads((OPS / "grafana-dashboard.json").read_text(encoding="utf-8"))
    found = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in board["panels"]
        for target in panel.get("targets", [])
    }
    rules = (OPS / "candlewick.rules.yml").read_text(encoding="utf-8")
    found |= dict(re.findall(r"- alert: (\w+)\n +expr: (.+)", rules))
    return found


def test_every_query_asks_for_a_metric_that_there_is(start_engine: Callable[..., Engine]) -> None:
    engine = start_engine("--candles", "5000", "--speed", "6000")
    _, text = engine.get("/metrics")
    known = {line.split("{")[0].split(" ")[0] for line in text.splitlines()} | LATER
    queries = expressions()
    assert len(queries) > 60
    for where, query in queries.items():
        names = re.findall(r"\b(?:candlewick|process)_\w+", query)
        assert names or query.startswith("up{"), where
        assert set(names) <= known, where
    # the other way round: an operator should see all of them somewhere
    shown = set(re.findall(r"\b(?:candlewick|process)_\w+", " ".join(queries.values())))
    assert len(known & shown) > 50


def test_the_dashboard_has_no_overlaps_and_no_double_ids() -> None:
    board = json.loads((OPS / "grafana-dashboard.json").read_text(encoding="utf-8"))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
