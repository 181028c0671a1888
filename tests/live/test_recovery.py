"""What a restart knows: the books at any moment of a kill, indicators, saved state, the day."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from candlewick.audit import AuditLogger
from candlewick.audit.chain import Record
from candlewick.data.market import market_of
from candlewick.engine import EngineState, StopPolicy
from candlewick.errors import ExitCode
from candlewick.indicators import ATR, EMA, RSI, SMA
from candlewick.live import SystemSettings, TradingSystem
from candlewick.live.assembly import network_system, new_run_id
from candlewick.live.network import NetworkSettings
from candlewick.live.recovery import recover
from candlewick.models import Candle, CandleTable, OrderStatus
from candlewick.risk import RiskSettings
from candlewick.sandbox import Limits, Sandbox, SandboxSettings
from candlewick.sandbox.keys import Client
from candlewick.strategies import Strategy
from candlewick.venues.binance import ApiKeys, BinanceSettings, BinanceVenue
from tests.live.conftest import records_of
from tests.live.late_venue import SYMBOL, LateVenue, is_protected, play, until

PLENTY = 1_000_000_000


# -- killed at any record -------------------------------------------------------------------------


class TurnsAround(Strategy):
    """Long and short in turn, so that a position is opened, turned round and closed."""

    def on_candle(self, candle: Candle) -> None:
        if self.position.quantity > 0.0:
            self.sell(size=1.0, stop=candle.close * 1.1)
        else:
            self.buy(size=1.0, stop=candle.close * 0.9)


def test_at_whatever_record_the_process_is_killed_its_books_are_of_one_piece(
    tmp_path: Path,
) -> None:
    """The position is what the booked fills come to; what is not booked is fetched again."""

    async def script(system: Any, venue: LateVenue) -> None:
        for number in range(1, 5):
            venue.candle(100.0 + number)
            await until(system, lambda n=number: system.tally.fills >= 2 * n - 1)
            await until(system, lambda: is_protected(system))

    _, venue = play(tmp_path, script, strategy=TurnsAround(), reconcile_every_s=600.0)
    records = [msgspec.convert(line, Record) for line in records_of(tmp_path)]
    signed = {fill.trade_id: fill.side.sign * fill.quantity for fill in venue.fills}
    assert len(signed) >= 8
    seen = set()
    for end in range(1, len(records) + 1):
        memory = recover(records[:end], "late")
        known = memory.symbols.get(SYMBOL) if memory is not None else None
        if known is None:
            continue
        booked = sum(signed[trade_id] for trade_id in known.trade_ids)
        assert known.position.quantity == pytest.approx(booked), records[end - 1]
        sent = {r.data["client_id"] for r in records[:end] if r.type == "order_sent"}
        ended = {
            r.data["client_id"]
            for r in records[:end]
            if r.type in ("order_filled", "order_canceled", "order_rejected", "order_expired")
        }
        assert sent - ended <= {order.client_id for order in known.orders}
        seen.add(len(known.trade_ids))
    assert seen >= set(range(len(signed)))


# -- as if never stopped --------------------------------------------------------------------------


class Watches(Strategy):
    """Keeps indicators, and counts what the history does not hold."""

    def on_start(self) -> None:
        self.seen: dict[int, tuple[float, ...]] = {}
        self.counted = 0
        self.sma, self.ema, self.rsi, self.atr = SMA(20), EMA(15), RSI(14), ATR(14)

    def on_candle(self, candle: Candle) -> None:
        self.counted += 1
        self.seen[candle.open_time] = (
            self.sma.update(candle.close), self.ema.update(candle.close),
            self.rsi.update(candle.close), self.atr.update(candle),
            float(self.counted),
        )  # fmt: skip

    def save_state(self) -> Mapping[str, Any]:
        return {"counted": self.counted}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.counted = int(state["counted"])


def moving_market() -> Sandbox:
    """A minute takes a tenth of a second."""
    chance = np.random.default_rng(3)
    closes = np.round(50_000.0 + np.cumsum(chance.normal(0.0, 20.0, 4_000)), 1)
    opens = np.concatenate((closes[:1], closes[:-1]))
    table = CandleTable(
        SYMBOL, "1m", 60_000 * np.arange(len(closes)), opens, np.maximum(opens, closes) + 5.0,
        np.minimum(opens, closes) - 5.0, closes, np.ones(len(closes)),
    )  # fmt: skip
    limits = Limits(weight=PLENTY, orders_10s=PLENTY, orders_1m=PLENTY)
    settings = SandboxSettings(speed=600.0, history=1_200, limits=limits)
    return Sandbox(market_of([table]), settings)


class Watching:
    """A run of `Watches` on an account of its own."""

    def __init__(self, strategy: Watches, system: TradingSystem, venue: BinanceVenue) -> None:
        self.strategy = strategy
        self.system = system
        self.venue = venue
        self.running = asyncio.create_task(system.run())

    @classmethod
    async def start(
        cls, sandbox: Sandbox, client: Client, journal: Path, kind: type[Watches] = Watches
    ) -> Watching:
        keys = ApiKeys(client.api_key, client.secret)
        venue = BinanceVenue(BinanceSettings.at(sandbox.rest_url, sandbox.ws_url), keys)
        strategy = kind()
        system = await network_system(
            venue, AuditLogger(journal), strategy=strategy, name="watches", symbols=[SYMBOL],
            interval="1m", risk=RiskSettings(),
            settings=SystemSettings(run_id=new_run_id(), account=client.api_key),
            network=NetworkSettings(),
        )  # fmt: skip
        return cls(strategy, system, venue)

    async def see(self, candles: int) -> None:
        """Wait for so many more candles."""
        wanted = self.system.tally.candles + candles
        async with asyncio.timeout(60):
            while self.system.tally.candles < wanted:
                await self.system.shell.progress()

    async def stop(self) -> None:
        self.system.request_stop("seen enough")
        outcome = await self.running
        assert outcome.exit_code is ExitCode.OK, outcome.problems

    async def abandon(self) -> None:
        """Leave it without an end, as a process that is killed does."""
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        await self.venue.close()
        self.system.journal.stop()


@pytest.mark.parametrize("killed", [False, True])
async def test_indicators_and_state_are_as_if_never_stopped(tmp_path: Path, killed: bool) -> None:
    """Stopped, or killed, and started again after some candles, beside a run that goes on."""
    async with moving_market() as sandbox:
        one, other = sandbox.world.add_client(), sandbox.world.add_client()
        whole = await Watching.start(sandbox, one, tmp_path / "whole")
        await whole.see(5)
        first = await Watching.start(sandbox, other, tmp_path / "parts")
        await first.see(15)
        await (first.abandon() if killed else first.stop())
        await whole.see(15)
        second = await Watching.start(sandbox, other, tmp_path / "parts")
        await second.see(15)
        await second.stop()
        await whole.see(5)
        await whole.stop()
    seen, expected = second.strategy.seen, whole.strategy.seen
    warm = sorted(seen)[400:]  # the indicators have forgotten where they began
    stopped = max(first.strategy.seen)
    assert warm[0] < stopped < warm[-1]  # before, during and after the time when nobody looked
    for time in warm:
        assert seen[time][:-1] == pytest.approx(expected[time][:-1], rel=1e-9), time
    counted = int(first.strategy.seen[stopped][-1])
    gone_on = [int(seen[time][-1]) for time in warm if time > stopped]
    assert gone_on == list(range(counted + 1, counted + 1 + len(gone_on)))


class RaisesAtThePast(Watches):
    """Has a bug that the first candle from before the start brings out."""

    def on_candle(self, candle: Candle) -> None:
        raise ValueError("a bug")


async def test_a_strategy_that_raises_at_the_past_ends_the_run_at_once(tmp_path: Path) -> None:
    async with moving_market() as sandbox:
        run = await Watching.start(sandbox, sandbox.first, tmp_path, RaisesAtThePast)
        outcome = await asyncio.wait_for(run.running, 30)
    assert outcome.exit_code is ExitCode.STRATEGY_FAILED


# -- the day's loss -------------------------------------------------------------------------------


async def first_half(system: Any, venue: LateVenue) -> None:
    """Enter, and lose a part of what the day may cost."""
    venue.candle(100.0)
    await until(system, lambda: is_protected(system))
    venue.candle(97.0)
    await until(system, lambda: system.tally.candles == 2)


class BuysMuch(Strategy):
    """Holds most of the account, with a stop that is far away."""

    def on_candle(self, candle: Candle) -> None:
        if self.position.is_flat and not self.orders:
            self.buy(size=90.0, stop=candle.close * 0.5)


def test_the_loss_of_the_day_counts_over_a_restart(tmp_path: Path) -> None:
    """3 % are lost before it and 3 % after: together they break the limit of 5 %."""
    limits: dict[str, Any] = {"daily_loss": 0.05, "max_leverage": 5.0}
    _, venue = play(
        tmp_path / "1", first_half, strategy=BuysMuch(), policy=StopPolicy.KEEP, **limits
    )
    records = [msgspec.convert(line, Record) for line in records_of(tmp_path / "1")]
    memory = recover(records, "late")
    assert memory is not None
    assert memory.day_start_equity == pytest.approx(10_000.0, rel=0.01)

    async def again(system: Any, late: LateVenue) -> None:
        late.candle(97.0)
        await until(system, lambda: system.tally.candles == 1)
        assert system.engine.state is EngineState.RUNNING
        late.candle(94.0)
        await until(system, lambda: system.engine.state is EngineState.HALTED)
        await until(system, lambda: system.engine.is_settled)
        late.candle(94.0)
        await until(system, lambda: system.tally.denials["daily_loss"] >= 0)

    outcome, venue = play(
        tmp_path / "2", again, venue=venue, memory=memory, strategy=BuysMuch(), **limits
    )
    assert outcome.exit_code is ExitCode.OK, outcome.problems
    assert not venue.exchange.positions()


def test_a_candle_before_the_account_is_known_is_no_loss(tmp_path: Path) -> None:
    """The equity is 0.0 until the exchange has told it: that must not halt a resumed day."""
    limits: dict[str, Any] = {"daily_loss": 0.05, "max_leverage": 5.0}
    _, venue = play(
        tmp_path / "1", first_half, strategy=BuysMuch(), policy=StopPolicy.KEEP, **limits
    )
    records = [msgspec.convert(line, Record) for line in records_of(tmp_path / "1")]
    memory = recover(records, "late")
    assert memory is not None

    class CandleFirst(LateVenue):
        async def snapshot(self, since: int = 0) -> Any:
            if not self.early:
                self.early = True
                self.candle(97.0)
            return await super().snapshot(since)

        early = False

    early = CandleFirst()
    early.exchange, early.fills, early.known = venue.exchange, venue.fills, venue.known
    early.minute = venue.minute

    async def again(system: Any, late: LateVenue) -> None:
        await until(system, lambda: system.tally.candles == 1)
        assert system.engine.state is EngineState.RUNNING
        assert is_protected(system)

    outcome, _ = play(
        tmp_path / "2", again, venue=early, memory=memory, strategy=BuysMuch(),
        policy=StopPolicy.KEEP, **limits,
    )  # fmt: skip
    assert outcome.exit_code is ExitCode.OK, outcome.problems
    assert all(update.status is not OrderStatus.REJECTED for update in early.known.values())
