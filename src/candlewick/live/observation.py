"""`observed`: metrics, health and status of a system, for as long as it runs.

What monitoring shows is read from the system here, at the moment somebody asks.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from candlewick.bus import Watchdog
from candlewick.engine import TradingEngine
from candlewick.errors import ConfigError
from candlewick.live.system import TradingSystem
from candlewick.models import (
    INTERVAL_MS,
    Event,
    EventKind,
    StreamState,
    StreamStatus,
    utc_now_ms,
)
from candlewick.monitoring import (
    Beacon,
    EngineAddress,
    EngineSample,
    Metrics,
    MetricsServer,
    MonitoringSettings,
    PositionSample,
    Sources,
    StreamSample,
    VenueSample,
)
from candlewick.venues import Venue

__all__ = ["StreamWatch", "observe", "observed", "venue_sample"]

_log = logging.getLogger(__name__)

_GRACE_S = 5.0  # a candle may come that much later than its interval and a half


@asynccontextmanager
async def observed(
    system: TradingSystem, settings: MonitoringSettings
) -> AsyncIterator[MetricsServer | None]:
    """Measure a system, and serve what is found, until the context ends.

    Raises:
        ConfigError: the address of the server cannot be used.
        LoopStalledError: the event loop stood still, and the settings are strict.
    """
    if not settings.enabled:
        yield None
        return
    with Metrics() as metrics:
        watchdog = Watchdog(system.bus, threshold_ms=settings.stall_ms, strict=settings.strict)
        sources = observe(system, metrics, watchdog)
        # realtime: allow RT101 - before the system runs; the dashboard's page from the package
        async with MetricsServer(settings, sources, metrics) as server, watchdog:
            # realtime: allow RT101 - before the system runs; one small file
            beacon = _light_beacon(system, server)
            _log.info("dashboard at %s, metrics at %s/metrics", server.url, server.url)
            try:
                yield server
            finally:
                if beacon is not None:
                    beacon.remove()


def _light_beacon(system: TradingSystem, server: MetricsServer) -> Beacon | None:
    """Make the engine findable; trading does not depend on it."""
    address = EngineAddress(
        os.getpid(),
        server.host,
        server.port,
        system.settings.run_id,
        system.run_parts.name,
        system.venue.name,
        str(Path(system.journal.directory).absolute()),
        utc_now_ms(),
    )
    try:
        return Beacon(address)
    except ConfigError as error:
        _log.warning("`candlewick status` will not find this engine: %s", error)
        return None


def observe(system: TradingSystem, metrics: Metrics, watchdog: Watchdog) -> Sources:
    """Let ``metrics`` watch a system that does not run yet; return where its figures are read."""
    system.shell.journey = metrics.journey
    reader, streams = _Reader(system), StreamWatch(system)
    metrics.on_beat.append(streams.look)
    if system.over_network:  # a simulated venue has no streams that could fail
        bus = system.bus
        bus.subscribe(EventKind.STREAM_CHANGED, streams.changed, name="metrics", mode="inline")
    return Sources(
        engine=reader.engine,
        status=system.status,
        story=system.tally.story.sample,
        bus=system.bus,
        reports=system.bus_reports,
        stalls=lambda: watchdog.count,
        journal=system.journal.stats,
        streams=streams.samples,
        venue=lambda: venue_sample(system.venue),
    )


def venue_sample(venue: Venue) -> VenueSample | None:
    """What a venue over a network keeps count of; None for one that keeps no count."""
    limits, tally = getattr(venue, "limits", None), getattr(venue, "tally", None)
    if limits is None or tally is None:
        return None
    return VenueSample(limits=limits.used(), blocked_s=limits.blocked_s, **tally.as_dict())


class _Reader:
    """Reads the figures of a system."""

    def __init__(self, system: TradingSystem) -> None:
        self._system = system

    def engine(self) -> EngineSample:
        """The engine's books and the tally of the run."""
        engine, tally = self._system.engine, self._system.tally
        positions = self._positions(engine)
        return EngineSample(
            state=str(engine.state),
            market_time=engine.now,
            equity=engine.equity,
            peak=max(tally.peak, engine.equity),
            balance=engine.balance,
            realized=sum(state.ledger.realized for state in engine.symbols.values()),
            unrealized=engine.equity - engine.balance,
            fees=tally.fees,
            funding=tally.funding,
            drawdown=max(0.0, 1.0 - engine.equity / tally.peak) if tally.peak > 0.0 else 0.0,
            max_drawdown=tally.max_drawdown,
            open_orders=sum(len(state.orders) for state in engine.symbols.values()),
            candles=tally.candles,
            signals=tally.signals,
            orders=tally.orders,
            fills=tally.fills,
            trades=tally.trades,
            rejections=tally.rejection_codes,
            denials=tally.denials,
            withheld=tally.withheld,
            alarms=tally.alarms,
            foreign_orders={s: len(state.foreign) for s, state in engine.symbols.items()},
            positions=positions,
            unknown={
                symbol: reason
                for symbol, state in engine.symbols.items()
                if (reason := state.is_unknown())
            },
        )

    def _positions(self, engine: TradingEngine) -> tuple[PositionSample, ...]:
        now = utc_now_ms() if self._system.over_network else engine.now
        return tuple(
            PositionSample(
                symbol,
                state.position.quantity,
                state.position.quantity * state.price,
                state.unrealized,
                max(1, now - since) / 1e3 if (since := state.unprotected_since) else 0.0,
            )
            for symbol, state in engine.symbols.items()
        )


class StreamWatch:
    """Knows when each candle stream last brought something, and what the venue says of its streams.

    It looks at the newest candles at every beat of the loop's clock, so that the way of a candle
    through the process is not burdened with it; ages are right to a tenth of a second.
    """

    def __init__(self, system: TradingSystem) -> None:
        now = time.monotonic_ns()
        self._histories = [
            history
            for state in system.engine.symbols.values()
            for history in state.histories.values()
        ]
        self._newest = [0] * len(self._histories)
        self._heard = [now] * len(self._histories)  # one that brings nothing is as old as the run
        self._pace = 1.0 if system.over_network else system.settings.speed
        self._venue: dict[str, StreamSample] = {}

    def look(self) -> None:
        """Note which streams have brought a candle since the last look."""
        now = time.monotonic_ns()
        for number, history in enumerate(self._histories):
            newest = int(history.close_time[-1]) if len(history) else 0
            if newest != self._newest[number]:
                self._newest[number] = newest
                self._heard[number] = now

    def changed(self, event: Event) -> None:
        """The venue says that one of its streams is live, lost or stale."""
        status: StreamStatus = event.payload
        name = f"{status.kind} {status.symbol}".rstrip()
        before = self._venue.get(name)
        reconnects = before.reconnects if before is not None else 0
        connected = status.state is not StreamState.LOST
        if before is not None and connected and not before.connected:
            reconnects += 1
        self._venue[name] = StreamSample(
            name,
            reconnects=reconnects,
            connected=connected,
            said_stale=status.state is StreamState.STALE,
        )

    def samples(self) -> list[StreamSample]:
        """The candle streams and those that the venue has told of, as they are now."""
        self.look()
        now = time.monotonic_ns()
        candles = [
            StreamSample(
                f"{history.symbol} {history.interval}",
                (now - heard) / 1e9,
                self._stale_after(history.interval),
            )
            for history, heard in zip(self._histories, self._heard, strict=True)
        ]
        return candles + list(self._venue.values())

    def _stale_after(self, interval: str) -> float:
        if self._pace is None:
            return 0.0  # as fast as it goes: nothing is expected at any time
        return 1.5 * INTERVAL_MS[interval] / 1e3 / self._pace + _GRACE_S
