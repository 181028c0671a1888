"""A journal replays: the recorded inputs give the recorded decisions again, to the last bit."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from candlewick.audit import AuditLogger, EventType, follow, read, verify
from candlewick.backtesting import Account, Run, prepare
from candlewick.data import Market, load_market
from candlewick.engine import StopPolicy, TradingEngine
from candlewick.errors import DataError
from candlewick.exchange import SimulatedExchange
from candlewick.live import SystemSettings, TradingSystem
from candlewick.live.network import NetworkDriver, NetworkSettings
from candlewick.live.replay import Replayed, replay
from candlewick.models import (
    Candle,
    CandleTable,
    Event,
    EventKind,
    Instrument,
    Order,
    Signal,
    StreamKind,
    StreamState,
    StreamStatus,
)
from candlewick.risk import RiskSettings
from candlewick.strategies import Strategy
from candlewick.venues import SimulatedVenue

COMMAND = [sys.executable, "-c", "from candlewick.cli.main import main; main()"]
SYMBOL = "BTCUSDT"


def run_simulated(
    directory: Path,
    market: Market,
    strategy: str | type[Strategy] = "sma_cross",
    *,
    policy: StopPolicy = StopPolicy.FLATTEN,
    risk: RiskSettings | None = None,
    before: Callable[[TradingSystem], None] | None = None,
    run_id: str = "sim1",
) -> None:
    async def main() -> None:
        journal = AuditLogger(directory, run_id=run_id)
        settings = SystemSettings(run_id=run_id, on_stop=policy)
        parts = prepare(strategy, market, account=Account(fee_taker=0.0005))
        system = TradingSystem.simulated(parts, journal, risk=risk, settings=settings)
        if before is not None:
            before(system)
        await system.run()

    asyncio.run(main())


@pytest.fixture(scope="module")
def market() -> Market:
    return load_market((), synthetic_candles=1_500, seed=3)


def _checked(result: Replayed, directory: Path) -> Replayed:
    """A replay has compared every decision that the journal holds."""
    assert result.first_difference is None
    planned = [*read(directory, types=[EventType.ORDER_PLANNED, EventType.SIGNAL_GENERATED])]
    assert result.compared >= len(planned)
    assert result.records == len([*read(directory)])
    return result


def test_a_real_month_replays(tmp_path: Path, btc_month: Path) -> None:
    market = load_market([str(btc_month)])
    run_simulated(tmp_path, market)
    result = _checked(replay(tmp_path), tmp_path)
    assert result.runs == 1
    assert result.inputs > 45_000
    assert result.compared > 5_000
    assert result.unrecorded == 0


@pytest.mark.parametrize(
    "settings",
    [
        {"policy": StopPolicy.KEEP},
        {"strategy": "donchian_breakout"},
        {"risk": RiskSettings(daily_loss=0.001)},
        {"risk": RiskSettings(max_orders_per_minute=1, max_position=500.0)},
    ],
)
def test_runs_of_all_kinds_replay(tmp_path: Path, market: Market, settings: dict[str, Any]) -> None:
    run_simulated(tmp_path, market, **settings)
    assert _checked(replay(tmp_path), tmp_path).compared > 10


class Fails(Strategy):
    """Buys, and raises a little later."""

    count = 0

    def on_candle(self, candle: Candle) -> None:
        self.count += 1
        if self.count == 5:
            self.buy(size=0.01, stop=candle.close * 0.9)
        if self.count == 9:
            raise ValueError("a fault of the strategy")


def test_a_strategy_that_raises_raises_again(tmp_path: Path, market: Market) -> None:
    run_simulated(tmp_path, market, Fails)
    assert "strategy_failed" in [r.type for r in read(tmp_path)]
    assert _checked(replay(tmp_path, strategy=Fails), tmp_path).compared > 5


def test_a_stop_in_the_middle_replays(tmp_path: Path, market: Market) -> None:
    class Eager(Strategy):
        def on_candle(self, candle: Candle) -> None:
            self.buy(size=0.01, stop=candle.close * 0.9)
            if candle.open_time > START:
                systems[0].request_stop("enough")

    systems: list[TradingSystem] = []
    START = int(market.tables[0].open_time[20])
    run_simulated(tmp_path, market, Eager, before=systems.append)
    assert _checked(replay(tmp_path, strategy=Eager), tmp_path).runs == 1


def test_signals_that_a_stop_has_thrown_away_are_not_missed(tmp_path: Path, market: Market) -> None:
    class Eager(Strategy):
        def on_candle(self, candle: Candle) -> None:
            self.buy(size=0.01, stop=candle.close * 0.9)

    def throw_away(system: TradingSystem) -> None:
        act = system.shell.act

        async def act_then_stop(decisions: Any) -> None:
            decisions = list(decisions)
            await act(decisions)
            if system.tally.candles == 20 and any(isinstance(d, Signal) for d in decisions):
                entries = system.bus.discard(lambda e: e.kind is EventKind.SIGNAL_GENERATED)
                system.recorder.discarded(entries)
                thrown.extend(entries)

        system.shell.act = act_then_stop  # type: ignore[method-assign]

    thrown: list[Event] = []
    run_simulated(tmp_path, market, Eager, before=throw_away)
    assert thrown
    assert _checked(replay(tmp_path, strategy=Eager), tmp_path).runs == 1


def test_several_runs_in_one_journal_replay_each_on_its_own(tmp_path: Path, market: Market) -> None:
    run_simulated(tmp_path, market, run_id="one")
    run_simulated(tmp_path, market, "donchian_breakout", run_id="two")
    both = _checked(replay(tmp_path), tmp_path)
    assert both.runs == 2
    one, two = replay(tmp_path, run_id="one"), replay(tmp_path, run_id="two")
    assert one.compared + two.compared == both.compared
    assert one.inputs + two.inputs == both.inputs
    with pytest.raises(DataError, match="no run 'three'"):
        replay(tmp_path, run_id="three")


def test_a_run_that_was_killed_and_continued_replays(tmp_path: Path, btc_month: Path) -> None:
    """A real process with kill -9, and the next one that goes on with its journal."""
    command = [*COMMAND, "run", "--data", str(btc_month), "--journal", str(tmp_path / "j")]
    process = subprocess.Popen(
        [*command, "--metrics-port", "0"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    for record in follow(tmp_path / "j", is_over=lambda: process.poll() is not None):
        if record.sequence == 3_000:
            os.kill(process.pid, signal.SIGKILL)
            break
    assert process.wait(20) == -signal.SIGKILL
    subprocess.run([*command, "--candles", "2000", "--metrics-port", "0"],
                   capture_output=True, check=True)  # fmt: skip
    assert verify(tmp_path / "j").ok
    result = _checked(replay(tmp_path / "j"), tmp_path / "j")
    assert result.runs == 2
    assert result.inputs > 4_000


# -- a venue over a network ------------------------------------------------------------------------


class SlowVenue(SimulatedVenue):
    """Answers a little later, so that commands and events cross."""

    async def submit(self, order: Order) -> None:
        await asyncio.sleep(0.001)
        await super().submit(order)
        asyncio.get_running_loop().call_later(
            0.001, lambda: self.tick(SYMBOL, self.price, self.time + 1)
        )

    async def cancel(self, order: Order, time: int) -> None:
        await asyncio.sleep(0.001)
        await super().cancel(order, time)

    price = 100.0
    time = 0


class Swings(Strategy):
    """Buys every fourth candle, sells every fourth."""

    count = 0

    def on_candle(self, candle: Candle) -> None:
        self.count += 1
        if self.count % 4 == 0:
            self.buy(size=1.0, stop=candle.close * 0.9, target=candle.close * 1.02)
        elif self.count % 4 == 2:
            self.sell(size=1.0, stop=candle.close * 1.1)


def test_a_run_over_a_network_replays_with_its_past_and_its_snapshots(tmp_path: Path) -> None:
    instruments = {SYMBOL: Instrument(SYMBOL, 0.1, 0.001)}
    prices = random.Random(4)
    minute = 60_000

    def candle(number: int, price: float) -> Candle:
        start = number * minute
        return Candle(
            SYMBOL, "1m", start, price, price, price, price, 1.0, start + minute - 1, True
        )  # fmt: skip

    async def main() -> None:
        nothing = np.array([])
        table = CandleTable(SYMBOL, "1m", nothing, nothing, nothing, nothing, nothing, nothing)
        market = Market((table,), dict(instruments), "slow venue")
        venue = SlowVenue(SimulatedExchange(instruments, 10_000.0), instruments)
        engine = TradingEngine(
            Swings(), instruments, balance=0.0, run_id="net1", awaits_snapshot=True
        )
        parts = Run(engine.strategy, "Swings", {}, market, dict(instruments), (), Account())
        past = [candle(number, 100.0) for number in range(10)]
        network = NetworkSettings(reconcile_every_s=0.02, retry_s=0.01)
        system = TradingSystem(
            parts, AuditLogger(tmp_path), engine, venue,
            lambda stopping: NetworkDriver(venue, [SYMBOL], "1m", network, stopping, past),
            SystemSettings(run_id="net1", drain_timeout_s=5.0), over_network=True,
        )  # fmt: skip
        running = asyncio.create_task(system.run())
        async with asyncio.timeout(60):
            while engine.symbols[SYMBOL].unknown:
                await system.shell.progress()
            for number in count(10):
                if number >= 60 and system.tally.fills > 5:
                    break
                venue.price += prices.choice((-0.5, 0.5, 1.0))
                made = candle(number, venue.price)
                venue.time = made.close_time
                system.shell.publish(Event(EventKind.CANDLE_CLOSED, made, made.close_time))
                if number % 20 == 0:
                    for state in (StreamState.LOST, StreamState.LIVE):
                        status = StreamStatus(StreamKind.ACCOUNT, state, made.close_time, "test")
                        system.shell.publish(Event(EventKind.STREAM_CHANGED, status))
                await system.shell.progress()
                await asyncio.sleep(0.004)
            system.request_stop("the test is over")
            await running

    asyncio.run(main())
    kinds = {r.type for r in read(tmp_path)}
    assert {"candle_shown", "account_snapshot", "stream_changed", "fill"} <= kinds
    result = _checked(replay(tmp_path, strategy=Swings), tmp_path)
    assert result.compared > 20


# -- differences -----------------------------------------------------------------------------------


class Rolls(Strategy):
    """Depends on chance, which is no input."""

    def on_candle(self, candle: Candle) -> None:
        if random.random() < 0.1:
            self.buy(size=round(random.random(), 2) + 0.01, stop=candle.close * 0.9)


def test_a_strategy_that_depends_on_chance_is_found_out(tmp_path: Path, market: Market) -> None:
    run_simulated(tmp_path, market, Rolls)
    difference = replay(tmp_path, strategy=Rolls).first_difference
    assert difference is not None
    assert "signal" in difference.reason
    first = next(read(tmp_path, types=["signal_generated"])).sequence
    assert difference.sequence <= first


def _change(directory: Path, at: int, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the data of one record and hash everything behind it anew: a perfect forgery."""
    previous = b"0" * 64
    for path in sorted(directory.glob("*.jsonl")):
        out = []
        for line in path.read_bytes().splitlines():
            record = json.loads(line)
            body = line[: line.rindex(b',"hash":"')]
            if record["seq"] == at:
                change(record["data"])
                del record["hash"]
                body = json.dumps(record, separators=(",", ":")).encode()[:-1]
            previous = hashlib.sha256(previous + body).hexdigest().encode()
            out.append(body + b',"hash":"' + previous + b'"}\n')
        path.write_bytes(b"".join(out))


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("order_planned", "quantity", 0.001),
        ("signal_generated", "stop", 1.0),
        ("trade_completed", "profit", 1e9),
        ("position_opened", "after", None),
        ("order_filled", "average_price", 5.0),
    ],
)
def test_a_forged_decision_is_the_first_difference(
    tmp_path: Path, market: Market, kind: str, field: str, value: Any
) -> None:
    """The chain was hashed anew and verifies; the engine does not decide what was put in."""
    run_simulated(tmp_path, market)
    victim = [*read(tmp_path, types=[kind])][2]
    _change(tmp_path, victim.sequence, lambda data: data.__setitem__(field, value))
    assert verify(tmp_path).ok
    difference = replay(tmp_path).first_difference
    assert difference is not None
    assert difference.sequence == victim.sequence
    assert difference.run_id == "sim1"


def test_a_forged_input_leads_to_other_decisions(tmp_path: Path, market: Market) -> None:
    run_simulated(tmp_path, market)
    signal_at = [*read(tmp_path, types=["signal_generated"])][3].sequence
    candle = [r for r in read(tmp_path, types=["candle_closed"]) if r.sequence < signal_at][-1]
    _change(tmp_path, candle.sequence, lambda data: data.__setitem__("close", 1.0))
    difference = replay(tmp_path).first_difference
    assert difference is not None
    assert candle.sequence <= difference.sequence <= signal_at + 5


def test_a_difference_says_that_records_were_lost(tmp_path: Path, market: Market) -> None:
    """What found no room on a full disk is missing as an input, too."""

    def lossy(system: TradingSystem) -> None:
        log = system.recorder._log
        count = 0

        def losing(kind: str, data: Any = None) -> int:
            nonlocal count
            count += kind == "candle_closed"
            if 100 < count <= 140:
                return 0
            if count == 141 and kind == "candle_closed":
                log("journal_recovered", {"lost": 87})
            return log(kind, data)

        system.recorder._log = losing  # type: ignore[method-assign]

    run_simulated(tmp_path, market, before=lossy)
    run_simulated(tmp_path, market, run_id="sim2")
    difference = replay(tmp_path).first_difference
    assert difference is not None
    assert difference.reason.endswith("; 87 records of this run were lost on a full disk")


def test_a_left_out_decision_is_a_difference_unless_the_process_was_killed(
    tmp_path: Path, market: Market
) -> None:
    run_simulated(tmp_path, market)
    (path,) = tmp_path.glob("*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    state = next(n for n in reversed(range(len(lines))) if b'"engine_state_changed"' in lines[n])
    path.write_bytes(b"".join(lines[:state] + lines[state + 1 :]))
    difference = replay(tmp_path).first_difference
    assert difference is not None
    assert "not recorded" in difference.reason
    assert difference.replayed[0] == "engine_state_changed"
    path.write_bytes(b"".join(lines[:state]))
    killed = replay(tmp_path)
    assert killed.same
    assert killed.unrecorded == 1


def test_an_input_that_cannot_be_read_is_named(tmp_path: Path, market: Market) -> None:
    run_simulated(tmp_path, market)
    candle = [*read(tmp_path, types=["candle_closed"])][7]
    _change(tmp_path, candle.sequence, lambda data: data.__setitem__("close", "many"))
    difference = replay(tmp_path).first_difference
    assert difference is not None
    assert difference.sequence == candle.sequence
    assert "cannot be read" in difference.reason


def test_a_journal_without_a_run_has_nothing_to_replay(tmp_path: Path) -> None:
    with AuditLogger(tmp_path) as journal:
        journal.log_event("order_planned", {})
    with pytest.raises(DataError, match="no run of an engine"):
        replay(tmp_path)
    with AuditLogger(tmp_path) as journal:
        journal.log_event(EventType.ENGINE_STARTED, {"run_id": "x"})
    with pytest.raises(DataError, match="does not describe an engine"):
        replay(tmp_path)
