"""The page of the docs that lists the metrics, made of the collectors themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client.core import Metric

from candlewick.audit import JournalState, JournalStats
from candlewick.bus import EventBus
from candlewick.monitoring import EngineSample, Metrics, Sources, VenueSample
from candlewick.monitoring.collectors import collectors_of

__all__ = ["metrics_page"]

_PARTS = {
    "build": "The process",
    "ready": "",
    "loop": "The event loop and the collector",
    "garbage": "",
    "process": "The process, as the kernel sees it",
    "bus": "The event bus",
    "latency": "Latencies",
    "journal": "The journal",
    "engine": "Trading",
    "streams": "Data",
    "venue": "The exchange's side, on a venue over a network",
}
_MINUTE_NS = 60_000_000_000


def metrics_page(note: str) -> list[str]:
    """Return the lines of the page; ``note`` says where it comes from."""
    lines = [
        "# Metrics",
        "",
        note,
        "",
        "What `/metrics` of a running engine tells; see [Operations](operations.md). Units are in",
        "the names: seconds, bytes, ratios. Money is in the account's quote currency.",
    ]
    for part, families in _families():
        if _PARTS[part]:
            lines += ["", f"## {_PARTS[part]}", ""]
            lines += ["| metric | labels | type | what it is |", "|---|---|---|---|"]
        lines += [_row(family) for family in families]
    return lines


def _families() -> Iterator[tuple[str, list[Metric]]]:
    """Every metric there is, by collector."""
    metrics = Metrics()
    for minute in range(10):  # growth is told once some minutes are known
        metrics.growth.add(minute * _MINUTE_NS, 1)
    zeros: dict[str, Any] = {
        name: () if name.endswith("latency") else 0 for name in JournalStats.__struct_fields__
    }
    zeros["state"] = JournalState.OK
    journal = JournalStats(**zeros)
    sources = Sources(
        engine=EngineSample,
        status=EngineSample,
        story=EngineSample,
        bus=EventBus(),
        reports={},
        journal=lambda: journal,
        venue=VenueSample,
    )
    for name, collect in collectors_of(sources, metrics).items():
        yield name, list(collect())


def _row(family: Metric) -> str:
    name, kind = family.name, family.type
    if kind == "counter":
        name += "_total"
    elif kind == "info":
        name, kind = f"{name}_info", "gauge"
    given = getattr(family, "_labelnames", ()) or {
        label for sample in family.samples for label in sample.labels if label != "le"
    }
    labels = ", ".join(f"`{label}`" for label in sorted(given))
    return f"| `{name}` | {labels} | {kind} | {family.documentation.rstrip('.')} |"
