"""Metrics, health, readiness and status over real sockets, of a real system."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from candlewick.audit import AuditLogger, JournalState
from candlewick.backtesting import prepare
from candlewick.data import load_market
from candlewick.engine import EngineState
from candlewick.errors import ConfigError
from candlewick.live import SystemSettings, TradingSystem, observed
from candlewick.live.observation import StreamWatch, venue_sample
from candlewick.models import Candle, Event, EventKind, StreamKind, StreamState, StreamStatus
from candlewick.monitoring import MetricsServer, MonitoringSettings, Sources, find_engines, health
from candlewick.monitoring.collectors import _venue
from candlewick.strategies import Strategy
from candlewick.venues.binance import BinanceSettings, BinanceVenue

pytestmark = pytest.mark.usefixtures("runtime")

Fetch = Callable[[str], Awaitable[tuple[int, str]]]


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine makes any loop late; only the test of the lag looks at it."""
    monkeypatch.setattr(health, "_LAG_LIMIT_NS", 3_600_000_000_000)


class Holds(Strategy):
    """Buys on the tenth candle, and holds."""

    def on_start(self) -> None:
        self.seen = 0

    def on_candle(self, candle: Candle) -> None:
        self.seen += 1
        if self.seen == 10:
            self.buy(stop=candle.close * 0.9)


def system_in(directory: Path, *, speed: float | None = None, **journal: Any) -> TradingSystem:
    parts = prepare(Holds, load_market([], candles=60, seed=3))
    return TradingSystem.simulated(
        parts, AuditLogger(directory, **journal), settings=SystemSettings(speed=speed)
    )


async def asked_in_the_middle(
    system: TradingSystem, ask: Callable[[MetricsServer, Fetch], Awaitable[None]]
) -> None:
    """Run a system; when it holds a position, stop the market, ask, and let it go on."""
    feed = system.driver._feed  # type: ignore[attr-defined]
    original = feed.candles

    async def paused() -> Any:
        number = 0
        async for candle in original():
            number += 1
            if number == 30:
                async with aiohttp.ClientSession() as session:

                    async def fetch(path: str) -> tuple[int, str]:
                        async with session.get(server.url + path) as answer:
                            return answer.status, await answer.text()

                    await ask(server, fetch)
            yield candle

    feed.candles = paused
    async with observed(system, MonitoringSettings()) as server:
        assert server is not None
        outcome = await system.run()
    assert outcome.exit_code == 0, outcome.error


def values_of(text: str) -> dict[str, float]:
    """All samples by name and labels, read by Prometheus' own Python parser."""
    return {
        sample.name + "".join(f"{{{key}={value}}}" for key, value in sorted(sample.labels.items())):
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }  # fmt: skip


async def test_metrics_tell_what_the_journal_tells(tmp_path: Path) -> None:
    system = system_in(tmp_path / "journal")

    async def ask(server: MetricsServer, fetch: Fetch) -> None:
        status, text = await fetch("/metrics")
        assert status == 200
        values = values_of(text)
        assert values["candlewick_candles_total"] == 29
        assert values["candlewick_signals_total"] == values["candlewick_fills_total"] == 1
        assert values["candlewick_orders_total"] == 2  # the entry and its stop
        assert values["candlewick_open_orders"] == 1
        assert values["candlewick_order_round_trip_seconds_count"] == 2
        assert values["candlewick_decision_to_sent_seconds_count"] == 2
        assert values["candlewick_candle_to_decision_seconds_count"] == 29
        assert values["candlewick_engine_state{state=running}"] == 1
        held = system.engine.symbols["BTCUSDT"]
        assert values["candlewick_position_quantity{symbol=BTCUSDT}"] == held.position.quantity > 0
        assert values["candlewick_position_notional{symbol=BTCUSDT}"] == pytest.approx(
            held.position.quantity * held.price
        )
        assert values["candlewick_position_unprotected_seconds{symbol=BTCUSDT}"] == 0.0
        assert values["candlewick_equity"] == system.engine.equity
        assert values["candlewick_unrealized_profit"] == pytest.approx(held.unrealized)
        assert values["candlewick_equity"] == pytest.approx(
            10_000.0
            + values["candlewick_realized_profit"]
            + values["candlewick_unrealized_profit"]
            - values["candlewick_fees_paid"]
            + values["candlewick_funding_received"]
        )
        records = sum(
            path.read_bytes().rstrip(b"\0").count(b"\n")
            for path in (tmp_path / "journal").glob("*.jsonl")
        )
        assert values["candlewick_journal_records_total"] == records
        assert values["candlewick_journal_writable"] == 1
        handled = values["candlewick_bus_handled_events_total{handler=engine}"]
        assert handled == values["candlewick_bus_offered_events_total{handler=engine}"] > 29
        assert handled <= values["candlewick_bus_published_events_total"]
        timed = values["candlewick_bus_handler_duration_seconds_count{handler=engine}"]
        assert timed == handled
        assert all(values[f"candlewick_ready{{check={check}}}"] == 1 for check in ("data", "loop"))
        assert values["candlewick_denials_total{code=max_leverage}"] == 0
        assert values["process_open_fds"] > 0

    await asked_in_the_middle(system, ask)


async def test_promtool_finds_nothing_to_blame(tmp_path: Path, promtool: str) -> None:
    async def ask(server: MetricsServer, fetch: Fetch) -> None:
        _, text = await fetch("/metrics")
        done = await asyncio.to_thread(
            subprocess.run,
            [promtool, "check", "metrics"],
            input=text, capture_output=True, text=True,
        )  # fmt: skip
        assert (done.returncode, done.stdout + done.stderr) == (0, "")

    await asked_in_the_middle(system_in(tmp_path), ask)


async def test_health_and_status_answer_in_the_middle_of_a_run(tmp_path: Path) -> None:
    system = system_in(tmp_path)

    async def ask(server: MetricsServer, fetch: Fetch) -> None:
        status, text = await fetch("/health")
        assert status == 200
        assert json.loads(text)["alive"] is True
        status, text = await fetch("/ready")
        assert (status, json.loads(text)) == (200, {"ready": True, "not_ready": []})
        status, text = await fetch("/status")
        body = json.loads(text)
        assert status == 200
        assert body["state"] == "running"
        assert body["candles"] == 29
        assert body["positions"][0]["stop"] > 0.0
        assert body["process"]["threads"] >= 1
        assert body["not_ready"] == []
        assert (await fetch("/nothing"))[0] == 404

    await asked_in_the_middle(system, ask)


async def test_ready_says_that_the_journal_has_no_room(
    tmp_path: Path, without_file_space: Callable[[], AbstractContextManager[None]]
) -> None:
    full, free = threading.Event(), threading.Event()

    def told(state: JournalState, reason: str) -> None:
        (free if state is JournalState.OK else full).set()

    system = system_in(tmp_path, segment_bytes=65_536, on_state=told)

    def fill() -> None:
        while not full.is_set():
            system.journal.log_event("error", {"text": "x" * 4_000})

    async def ask(server: MetricsServer, fetch: Fetch) -> None:
        with without_file_space():
            await asyncio.to_thread(fill)
            assert system.journal.state is JournalState.WITHOUT_ROOM
            status, text = await fetch("/ready")
            (found,) = json.loads(text)["not_ready"]
            assert status == 503
            assert found["check"] == "journal"
            assert "no room on the disk" in found["problem"]
            values = values_of((await fetch("/metrics"))[1])
            assert values["candlewick_journal_writable"] == 0
            assert values["candlewick_ready{check=journal}"] == 0
            free.clear()
        assert await asyncio.to_thread(free.wait, 30.0)  # there is room again
        assert (await fetch("/ready"))[0] == 200

    await asked_in_the_middle(system, ask)


async def test_ready_says_that_data_is_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = system_in(tmp_path, speed=60_000.0)  # a candle a millisecond
    monkeypatch.setattr("candlewick.live.observation._GRACE_S", 0.0)

    async def ask(server: MetricsServer, fetch: Fetch) -> None:
        while (answer := await fetch("/ready"))[0] == 200:
            pass  # the market stands still meanwhile
        (found,) = json.loads(answer[1])["not_ready"]
        assert found["check"] == "data"
        assert "BTCUSDT 1m is silent for" in found["problem"]
        values = values_of((await fetch("/metrics"))[1])
        assert values["candlewick_stream_stale{stream=BTCUSDT 1m}"] == 1
        assert values["candlewick_stream_data_age_seconds{stream=BTCUSDT 1m}"] > 0.0

    await asked_in_the_middle(system, ask)


async def test_ready_says_that_a_position_has_no_stop_and_an_order_no_answer(
    tmp_path: Path,
) -> None:
    system = system_in(tmp_path)

    async def ask(server: MetricsServer, fetch: Fetch) -> None:
        state = system.engine.symbols["BTCUSDT"]
        state.unprotected_since = system.engine.now - 2_500
        state.unknown = "the position is not known"
        body = json.loads((await fetch("/ready"))[1])
        assert [problem["check"] for problem in body["not_ready"]] == ["account", "protection"]
        assert body["not_ready"][0]["problem"] == "BTCUSDT: the position is not known"
        assert "without a confirmed stop for 2.5 s" in body["not_ready"][1]["problem"]
        values = values_of((await fetch("/metrics"))[1])
        assert values["candlewick_position_unprotected_seconds{symbol=BTCUSDT}"] == 2.5
        assert values["candlewick_unknown_symbols"] == 1
        state.unprotected_since, state.unknown = 0, ""

    await asked_in_the_middle(system, ask)


async def test_ready_says_that_the_loop_was_blocked_and_the_engine_is_halted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_LAG_LIMIT_NS", 250_000_000)
    system = system_in(tmp_path)

    async def ask(server: MetricsServer, fetch: Fetch) -> None:
        time.sleep(0.5)  # noqa: ASYNC251 - the culprit
        system.engine.state = EngineState.HALTED
        body = json.loads((await fetch("/ready"))[1])
        system.engine.state = EngineState.RUNNING
        assert [problem["check"] for problem in body["not_ready"]] == ["engine", "loop"]
        assert body["not_ready"][0]["problem"] == "the engine is halted"
        assert "ms late in the last seconds" in body["not_ready"][1]["problem"]
        values = values_of((await fetch("/metrics"))[1])
        assert values["candlewick_event_loop_stalls_total"] >= 1
        assert values["candlewick_bus_reports_total{kind=loop_stalled}"] >= 1
        assert values["candlewick_event_loop_lag_worst_seconds"] > 0.25

    await asked_in_the_middle(system, ask)


async def test_a_collector_that_raises_takes_only_itself_down(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    system = system_in(tmp_path)

    async def ask(server: MetricsServer, fetch: Fetch) -> None:
        journal = system.journal
        stats = journal._keeper
        del journal._keeper
        try:
            first = values_of((await fetch("/metrics"))[1])
            second = values_of((await fetch("/metrics"))[1])
        finally:
            journal._keeper = stats
        assert "candlewick_journal_records_total" not in first
        assert first["candlewick_candles_total"] == 29
        assert first["candlewick_collector_errors_total{collector=journal}"] == 1
        assert second["candlewick_collector_errors_total{collector=journal}"] == 2
        assert "candlewick_journal_records_total" in values_of((await fetch("/metrics"))[1])

    await asked_in_the_middle(system, ask)
    told = [record for record in caplog.records if "collector 'journal'" in record.message]
    assert len(told) == 1


async def test_a_foreign_name_for_the_loopback_address_is_refused(tmp_path: Path) -> None:
    async def ask(server: MetricsServer, fetch: Fetch) -> None:
        async with aiohttp.ClientSession() as session:
            for host, wanted in (
                ("evil.example", 403),
                (f"evil.example:{server.port}", 403),
                (f"127.0.0.1:{server.port}", 200),
                (f"localhost:{server.port}", 200),
                ("[::1]", 200),
            ):
                async with session.get(server.url + "/status", headers={"Host": host}) as answer:
                    assert answer.status == wanted, host

    await asked_in_the_middle(system_in(tmp_path), ask)


async def test_a_port_that_is_taken_is_told_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        system = system_in(tmp_path)
        with pytest.raises(ConfigError, match=rf"127\.0\.0\.1:{port}.*monitoring\.port"):
            async with observed(system, MonitoringSettings(port=port)):
                raise AssertionError("it must not get here")
        system.journal.stop()


async def test_turned_off_it_measures_and_serves_nothing(tmp_path: Path) -> None:
    system = system_in(tmp_path)
    async with observed(system, MonitoringSettings(enabled=False)) as server:
        await system.run()
    assert server is None
    assert system.shell.journey is None
    assert find_engines() == []


def test_a_venue_over_a_network_tells_its_limits_and_counts() -> None:
    venue = BinanceVenue(BinanceSettings(), None)
    venue.tally.messages["trade"] += 3
    venue.tally.saw_malformed("market", "no JSON", b"{")
    venue.tally.saw_unknown("somethingNew")
    venue.tally.events["market_lost"] += 1
    venue.limits.block(30.0)
    sample = venue_sample(venue)
    assert sample is not None
    assert sample.limits["request_weight_1M"] == (0, 2_400)
    assert 29.0 < sample.blocked_s <= 30.0
    families = {
        found.name: {tuple(item.labels.values()): item.value for item in found.samples}
        for found in _venue(Sources(*[None] * 6, venue=lambda: sample))  # type: ignore[arg-type]
    }
    assert families["candlewick_venue_limit_size"]["orders_10S",] == 300
    assert families["candlewick_venue_messages"]["trade",] == 3
    assert families["candlewick_venue_malformed_messages"]["market",] == 1
    assert families["candlewick_venue_unknown_messages"]["somethingNew",] == 1
    assert families["candlewick_venue_events"]["market_lost",] == 1
    assert families["candlewick_venue_blocked_seconds"][()] == sample.blocked_s


def test_streams_of_a_venue_are_followed_through_loss_and_return(tmp_path: Path) -> None:
    system = system_in(tmp_path)
    watch = StreamWatch(system)

    def changed(state: StreamState) -> dict[str, Any]:
        status = StreamStatus(StreamKind.ACCOUNT, state, 1)
        watch.changed(Event(EventKind.STREAM_CHANGED, status, 1))
        (sample,) = [sample for sample in watch.samples() if sample.name == "account"]
        return {
            "connected": sample.connected, "stale": sample.is_stale, "again": sample.reconnects
        }  # fmt: skip

    assert changed(StreamState.LIVE) == {"connected": True, "stale": False, "again": 0}
    assert changed(StreamState.LOST) == {"connected": False, "stale": False, "again": 0}
    assert changed(StreamState.LOST) == {"connected": False, "stale": False, "again": 0}
    assert changed(StreamState.STALE) == {"connected": True, "stale": True, "again": 1}
    assert changed(StreamState.LIVE) == {"connected": True, "stale": False, "again": 1}
    system.journal.stop()
