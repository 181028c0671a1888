"""Collectors: from the figures of a running system to Prometheus' metrics, at scrape time.

Names and units follow https://prometheus.io/docs/practices/naming/: base units, counters end in
``_total``, fractions in ``_ratio``. Money has the account's quote currency as its unit and no
suffix. A counter whose labels are known starts at zero: an increase from nothing is none to
Prometheus.
"""

from __future__ import annotations

import gc
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

import candlewick
from candlewick.audit import JournalState, JournalStats
from candlewick.bus import HandlerInfo, ReportKind
from candlewick.engine import AlarmKind, EngineState
from candlewick.monitoring.exposition import Collector
from candlewick.monitoring.health import CHECKS, problems
from candlewick.monitoring.journey import Journey
from candlewick.monitoring.metrics import Metrics
from candlewick.monitoring.process import read_process
from candlewick.monitoring.sources import EngineSample, Sources
from candlewick.risk import DenialCode

__all__ = ["collectors_of"]

_FIRST_BIT, _LAST_BIT = 10, 34  # 1 microsecond to 17 seconds
_MANY = 2  # where each handler has a histogram, every second bound must do


def collectors_of(sources: Sources, metrics: Metrics) -> dict[str, Collector]:
    """Return all collectors of a running system, by name."""
    process = ProcessCollector(registry=CollectorRegistry())
    return {
        "build": _build,
        "ready": partial(_ready, sources, metrics),
        "loop": partial(_loop, sources, metrics),
        "garbage": partial(_garbage, metrics),
        "process": partial(_process, metrics, process),
        "bus": partial(_bus, sources),
        "latency": partial(_latency, metrics),
        "journal": partial(_journal, sources),
        "engine": partial(_engine, sources),
        "streams": partial(_streams, sources),
        "venue": partial(_venue, sources),
    }


# -- families --------------------------------------------------------------------------------------


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"candlewick_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"candlewick_{name}", text, value=value)


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"candlewick_{name}", text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _counters(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(f"candlewick_{name}", text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _buckets(counts: Sequence[int], step: int = 1) -> list[tuple[str, float]]:
    """Cumulate counts by bit length of nanoseconds; the bounds are in seconds."""
    total = 0
    found: list[tuple[str, float]] = []
    for bits, count in enumerate(counts):
        total += count
        if _FIRST_BIT <= bits <= _LAST_BIT and (bits - _FIRST_BIT) % step == 0:
            found.append((repr((1 << bits) / 1e9), total))
    return [*found, ("+Inf", total)]


def _histogram(name: str, text: str, counts: Sequence[int], sum_ns: int) -> Metric:
    family = HistogramMetricFamily(f"candlewick_{name}_seconds", text)
    family.add_metric([], _buckets(counts), sum_ns / 1e9)
    return family


# -- the process -----------------------------------------------------------------------------------


def _build() -> Iterator[Metric]:
    yield InfoMetricFamily(
        "candlewick_build",
        "The version that runs.",
        value={"version": candlewick.__version__, "python": platform.python_version()},
    )


def _ready(sources: Sources, metrics: Metrics) -> Iterator[Metric]:
    failing = {problem.check for problem in problems(sources, metrics)}
    yield _gauges(
        "ready", "1 when a check of /ready holds, 0 when it does not.", "check",
        {check: float(check not in failing) for check in CHECKS},
    )  # fmt: skip


def _loop(sources: Sources, metrics: Metrics) -> Iterator[Metric]:
    lag = metrics.lag
    yield _histogram(
        "event_loop_lag", "How late the event loop came to what was due.",
        lag.histogram.counts, lag.histogram.sum_ns,
    )  # fmt: skip
    yield _gauge(
        "event_loop_lag_worst_seconds", "The worst lag since the start.", lag.worst_ns / 1e9
    )
    yield _counter(
        "event_loop_stalls", "Times the watchdog saw the event loop stand still.", sources.stalls()
    )


def _garbage(metrics: Metrics) -> Iterator[Metric]:
    watch = metrics.garbage
    family = HistogramMetricFamily(
        "candlewick_gc_pause_seconds",
        "How long a garbage collection stopped the process.",
        labels=["generation"],
    )
    for generation, pauses in enumerate(watch.pauses):
        family.add_metric([str(generation)], _buckets(pauses.counts), pauses.sum_ns / 1e9)
    yield family
    yield _counters(
        "gc_collections", "Garbage collections.", "generation",
        {str(number): pauses.count for number, pauses in enumerate(watch.pauses)},
    )  # fmt: skip
    yield _counter("gc_collected_objects", "Objects found in cycles.", watch.collected)
    yield _gauge("gc_frozen_objects", "Objects that collections pass over.", gc.get_freeze_count())


def _process(metrics: Metrics, process: ProcessCollector) -> Iterator[Metric]:
    yield from process.collect()
    figures = read_process()
    if figures.resident:
        yield _gauge("process_threads", "Threads of the process.", figures.threads)
        yield _gauge(
            "process_anonymous_memory_bytes",
            "Resident memory without mapped files such as the journal.",
            figures.anonymous,
        )
    growth = metrics.growth.per_hour
    if growth is not None:
        yield _gauge(
            "process_memory_growth_bytes_per_hour",
            "Slope of the anonymous memory through the last hour.",
            growth,
        )


# -- bus, latencies, journal -----------------------------------------------------------------------


def _bus(sources: Sources) -> Iterator[Metric]:
    bus = sources.bus
    handlers = bus.handlers()
    yield _counter("bus_published_events", "Events that were published.", bus.published)
    yield _counter("bus_refused_events", "Events not taken because a queue was full.", bus.refused)
    yield _counters(
        "bus_reports", "What the bus found amiss.", "kind",
        {str(kind): sources.reports.get(kind, 0) for kind in ReportKind},
    )  # fmt: skip

    def by_handler(read: str) -> dict[str, float]:
        return {info.name: getattr(info, read) for info in handlers}

    yield _gauges("bus_queue_depth", "Events that wait.", "handler", by_handler("depth"))
    yield _gauges("bus_queue_size", "Events that may wait.", "handler", by_handler("queue_size"))
    yield _gauges(
        "bus_queue_oldest_age_seconds", "Age of the oldest event that waits.", "handler",
        {info.name: info.oldest_ms / 1e3 for info in handlers},
    )  # fmt: skip
    for read, text in (
        ("offered", "Events put into the queue."),
        ("handled", "Events the handler has taken."),
        ("failed", "Events on which the handler raised."),
        ("dropped", "Events lost to a full queue."),
        ("conflated", "Events replaced by a newer one of the same key."),
        ("discarded", "Events taken out of the queue by a stop."),
    ):
        yield _counters(f"bus_{read}_events", text, "handler", by_handler(read))
    yield _handler_latency(handlers)


def _handler_latency(handlers: Iterable[HandlerInfo]) -> Metric:
    family = HistogramMetricFamily(
        "candlewick_bus_handler_duration_seconds",
        "How long the handler took for an event.",
        labels=["handler"],
    )
    for info in handlers:
        family.add_metric([info.name], _buckets(info.latency_ns, _MANY), info.busy_ns / 1e9)
    return family


def _latency(metrics: Metrics) -> Iterator[Metric]:
    journey = metrics.journey
    for name, text, found in (
        (
            "candle_to_decision",
            "From the arrival of a closed candle to the engine's answer; 640 a second are timed.",
            journey.candle_to_decision,
        ),
        (
            "decision_to_sent",
            "From the engine's answer to the hand-over of an order to the venue.",
            journey.decision_to_sent,
        ),
        (
            "order_round_trip",
            "From the hand-over of an order to the exchange's first word on it.",
            journey.round_trip,
        ),
    ):
        yield _histogram(name, text, found.counts, found.sum_ns)
    yield _protection(journey)
    yield _gauge("orders_unanswered", "Orders sent and not answered yet.", journey.unanswered)


def _protection(journey: Journey) -> Metric:
    family = HistogramMetricFamily(
        "candlewick_protection_seconds",
        "From the arrival of a fill to the exchange's word that a stop covers it, or to the close.",
        labels=["end"],
    )
    for end, found in (("stop", journey.protected), ("close", journey.closed)):
        family.add_metric([end], _buckets(found.counts), found.sum_ns / 1e9)
    return family


def _journal(sources: Sources) -> Iterator[Metric]:
    stats: JournalStats = sources.journal()
    yield _gauge(
        "journal_writable", "1 when records reach the journal, 0 when they cannot.",
        float(stats.state is JournalState.OK),
    )  # fmt: skip
    yield _counter("journal_records", "Records made.", stats.records)
    yield _counter("journal_bytes", "Bytes of records made.", stats.bytes)
    yield _counter("journal_segments", "Files begun.", stats.segments)
    yield _gauge("journal_held_records", "Records that wait for room.", stats.held)
    yield _gauge("journal_lost_records", "Records lost since there was no room.", stats.lost)
    yield _counter("journal_encoding_failures", "Data with no JSON form.", stats.encoding_failures)
    yield _histogram(
        "journal_write", "Time one record took its caller; one in 64 is timed.",
        stats.write_latency, stats.write_ns_total,
    )  # fmt: skip
    yield _histogram("journal_sync", "Time the disk took.", stats.sync_latency, stats.sync_ns_total)
    yield _gauge("journal_sync_worst_seconds", "The most the disk took.", stats.sync_ns_max / 1e9)
    yield _gauge(
        "journal_unsynced_age_seconds", "Age of the oldest record that is not on the disk.",
        stats.sync_lag_s,
    )  # fmt: skip


# -- trading ---------------------------------------------------------------------------------------


def _engine(sources: Sources) -> Iterator[Metric]:
    engine = sources.engine()
    yield _gauges(
        "engine_state", "1 for the state the engine is in.", "state",
        {str(state): float(state == engine.state) for state in EngineState},
    )  # fmt: skip
    yield _gauge("market_time_seconds", "Time of the last event, UTC.", engine.market_time / 1e3)
    yield from _books(engine)
    yield from _positions(engine)
    for name, text in (
        ("candles", "Closed base candles taken."),
        ("signals", "Signals of the strategy taken up."),
        ("orders", "Orders planned."),
        ("fills", "Fills booked."),
        ("trades", "Positions opened and closed."),
    ):
        yield _counter(name, text, getattr(engine, name))
    yield _counters(
        "order_rejections", "Orders refused, by the exchange's code; local: it has none.", "code",
        engine.rejections,
    )  # fmt: skip
    yield _counters(
        "denials", "Signals that did not become an order.", "code",
        {str(code): engine.denials.get(code, 0) for code in DenialCode},
    )  # fmt: skip
    yield _counters(
        "orders_withheld", "Orders decided on and not sent.", "code",
        {str(code): engine.withheld.get(code, 0) for code in DenialCode},
    )  # fmt: skip
    yield _counters(
        "alarms", "What a person had to know at once.", "kind",
        {str(kind): engine.alarms.get(kind, 0) for kind in AlarmKind},
    )  # fmt: skip
    yield _gauges(
        "foreign_orders", "Orders at the exchange that are not ours; they are left alone.",
        "symbol", engine.foreign_orders,
    )  # fmt: skip


def _books(engine: EngineSample) -> Iterator[Metric]:
    for name, text, value in (
        ("equity", "Wallet and open profit, quote currency.", engine.equity),
        ("equity_peak", "The highest equity so far, quote currency.", engine.peak),
        ("balance", "Wallet, quote currency.", engine.balance),
        (
            "realized_profit",
            "Closed profit before fees and funding, quote currency.",
            engine.realized,
        ),
        ("unrealized_profit", "Open profit, quote currency.", engine.unrealized),
        ("fees_paid", "Fees less rebates, quote currency.", engine.fees),
        ("funding_received", "Funding; negative was paid, quote currency.", engine.funding),
        ("drawdown_ratio", "Fall of equity from its peak.", engine.drawdown),
        ("max_drawdown_ratio", "The largest fall of equity from a peak.", engine.max_drawdown),
        ("open_orders", "Orders that are not final.", engine.open_orders),
        (
            "unknown_symbols",
            "Symbols whose orders or position are not known for sure.",
            len(engine.unknown),
        ),
    ):
        yield _gauge(name, text, value)


def _positions(engine: EngineSample) -> Iterator[Metric]:
    held = engine.positions
    for name, text, read in (
        ("position_quantity", "Signed position, base units.", "quantity"),
        ("position_notional", "Signed value of the position, quote currency.", "notional"),
        ("position_unrealized_profit", "Open profit, quote currency.", "unrealized"),
        (
            "position_unprotected_seconds",
            "How long a fill has waited for a confirmed stop; 0 when it does not.",
            "unprotected_s",
        ),
    ):
        yield _gauges(name, text, "symbol", {one.symbol: getattr(one, read) for one in held})


def _streams(sources: Sources) -> Iterator[Metric]:
    streams = sources.streams()
    yield _gauges(
        "stream_data_age_seconds", "Time since the stream brought anything.", "stream",
        {stream.name: stream.age_s for stream in streams if stream.age_s is not None},
    )  # fmt: skip
    yield _gauges(
        "stream_stale", "1 when the stream is silent for longer than it may be.", "stream",
        {stream.name: float(stream.is_stale) for stream in streams},
    )  # fmt: skip
    yield _gauges(
        "stream_connected", "1 when the stream is connected.", "stream",
        {stream.name: float(stream.connected) for stream in streams},
    )  # fmt: skip
    yield _counters(
        "stream_reconnects", "Times the stream was connected again.", "stream",
        {stream.name: stream.reconnects for stream in streams},
    )  # fmt: skip


def _venue(sources: Sources) -> Iterator[Metric]:
    venue = sources.venue()
    if venue is None:
        return
    for name, text, part in (
        ("used", "Used part of a rate limit.", 0),
        ("size", "A rate limit.", 1),
    ):
        values = {limit: pair[part] for limit, pair in venue.limits.items()}
        yield _gauges(f"venue_limit_{name}", text, "limit", values)
    yield _gauge(
        "venue_blocked_seconds", "How long the exchange wants nothing sent.", venue.blocked_s
    )
    yield _counters("venue_messages", "Messages of the exchange.", "kind", venue.messages)
    yield _counters("venue_unknown_messages", "Messages not known.", "kind", venue.unknown)
    yield _counters(
        "venue_malformed_messages", "Messages that could not be read.", "source", venue.malformed
    )
    yield _counters("venue_events", "What happened to the connections.", "event", venue.events)
