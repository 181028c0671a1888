"""Whether the engine is ready to trade, and what it lacks. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from candlewick.audit import JournalState
from candlewick.monitoring.metrics import Metrics
from candlewick.monitoring.sources import EngineSample, Sources, StreamSample

__all__ = ["CHECKS", "Problem", "problems"]

CHECKS = ("engine", "account", "protection", "data", "journal", "loop")

_LAG_LIMIT_NS = 250_000_000
_SYNC_LIMIT_S = 10.0


class Problem(msgspec.Struct, frozen=True):
    """One reason not to rely on the engine; ``check`` is one of `CHECKS`."""

    check: str
    problem: str


def problems(sources: Sources, metrics: Metrics) -> list[Problem]:
    """Say what is not as it should be; empty when the engine is ready."""
    engine = sources.engine()
    found = [
        *_engine(engine),
        *(Problem("data", text) for stream in sources.streams() for text in _stream(stream)),
        *(Problem("journal", text) for text in _journal(sources)),
        *(Problem("loop", text) for text in _loop(metrics)),
    ]
    return sorted(found, key=lambda problem: CHECKS.index(problem.check))


def _engine(engine: EngineSample) -> Iterator[Problem]:
    if engine.state != "running":
        yield Problem("engine", f"the engine is {engine.state}")
    for symbol, reason in engine.unknown.items():
        yield Problem("account", f"{symbol}: {reason}")
    for held in engine.positions:
        if held.unprotected_s:
            text = f"{held.symbol} {held.quantity:+g} without a confirmed stop"
            yield Problem("protection", f"{text} for {held.unprotected_s:.1f} s")


def _stream(stream: StreamSample) -> Iterator[str]:
    if not stream.connected:
        yield f"{stream.name} is not connected"
    elif stream.said_stale:
        yield f"{stream.name}: the venue says that its data is old"
    elif stream.is_stale:
        limit = f"{stream.stale_after_s:g} are allowed"
        yield f"{stream.name} is silent for {stream.age_s:.1f} s, {limit}"


def _journal(sources: Sources) -> Iterator[str]:
    journal = sources.journal()
    if journal.state is JournalState.WITHOUT_ROOM:
        yield f"no room on the disk: {journal.held} records wait in memory, {journal.lost} are lost"
    elif journal.state is not JournalState.OK:
        yield f"the journal is {journal.state}"
    if journal.sync_lag_s > _SYNC_LIMIT_S:
        yield f"the disk is {journal.sync_lag_s:.0f} s behind"


def _loop(metrics: Metrics) -> Iterator[str]:
    recent = metrics.lag.recent_ns
    if recent > _LAG_LIMIT_NS:
        yield f"the event loop was {recent / 1e6:.0f} ms late in the last seconds"
