"""The running system on the simulated venue: same fills as a backtest, clean in every ending."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from candlewick.audit import AuditLogger
from candlewick.backtesting import Run, prepare, run_backtest
from candlewick.data import Market, load_market
from candlewick.engine import EngineState, StateChanged, StopPolicy
from candlewick.errors import ExitCode
from candlewick.live import Outcome, SystemSettings, TradingSystem
from candlewick.live.replay import replay
from candlewick.models import Candle, Event, Order
from candlewick.risk import RiskSettings
from candlewick.strategies import Strategy

ReadRecords = Callable[[Path], list[dict[str, Any]]]


def run_system(
    parts: Run,
    directory: Path,
    *,
    risk: RiskSettings | None = None,
    settings: SystemSettings | None = None,
    before: Callable[[TradingSystem], None] | None = None,
) -> Outcome:
    """Run a system to its end in an event loop of its own."""

    async def main() -> Outcome:
        journal = AuditLogger(directory, run_id="sim0")
        system = TradingSystem.simulated(parts, journal, risk=risk, settings=settings)
        if before is not None:
            before(system)
        return await system.run()

    return asyncio.run(main())


def fills_of(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record["data"] for record in records if record["type"] == "fill"]


def without_client_id(fills: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The run's name is part of client ids; all the rest must be equal."""
    return [
        {**fill, "client_id": fill["client_id"].split("-", 2)[-1]}
        if fill["client_id"].startswith("cw-")
        else fill
        for fill in fills
    ]


class Holds(Strategy):
    """Buys once, with a stop, and holds."""

    at = 10

    def on_start(self) -> None:
        self.seen = 0

    def on_candle(self, candle: Candle) -> None:
        self.seen += 1
        if self.seen == self.at:
            self.buy(stop=candle.close * 0.9, reason="hold")


class RaisesWhileHolding(Holds):
    """Raises some candles after its entry."""

    def on_candle(self, candle: Candle) -> None:
        super().on_candle(candle)
        if self.seen == self.at + 20:
            raise ValueError("a bug in the strategy")


@pytest.fixture(scope="module")
def market() -> Market:
    return load_market([], candles=400, seed=3)


@pytest.mark.parametrize(
    ("strategy", "interval"),
    [("sma_cross", ""), ("donchian_breakout", "15m"), ("donchian_breakout", "")],
)
def test_live_and_backtest_make_the_same_fills_on_the_real_month(
    btc_month: Path, tmp_path: Path, read_records: ReadRecords, strategy: str, interval: str
) -> None:
    market = load_market([btc_month], interval=interval)
    expected = run_backtest(prepare(strategy, market))
    outcome = run_system(prepare(strategy, market), tmp_path)

    fills = fills_of(read_records(tmp_path))
    wanted = msgspec.to_builtins(expected.fill_list)
    assert len(fills) == len(wanted) > 20
    for fill, other in zip(without_client_id(fills), without_client_id(wanted), strict=True):
        assert fill == other
    ours, theirs = outcome.summary.as_json(), expected.as_json()
    for name in theirs.keys() - {"venue", "elapsed_s", "journal"}:
        assert ours[name] == theirs[name], name
    assert outcome.exit_code is ExitCode.OK


def test_ten_pairs_run_as_one_portfolio_with_the_fills_of_the_backtest(
    ten_pairs: list[Path], tmp_path: Path, read_records: ReadRecords
) -> None:
    market = load_market(ten_pairs)
    params = {"fast": 50, "slow": 200}
    expected = run_backtest(prepare("sma_cross", market, params=params))
    outcome = run_system(prepare("sma_cross", market, params=params), tmp_path)

    assert market.missing_candles == outcome.summary.missing_candles == 52
    assert {Path(problem.source).name.split("-")[0] for problem in market.problems} == {
        "adabtc", "dashbtc", "trxbtc", "xmrbtc", "zecbtc",
    }  # fmt: skip
    fills = without_client_id(fills_of(read_records(tmp_path)))
    assert fills == without_client_id(msgspec.to_builtins(expected.fill_list))
    assert {fill["symbol"] for fill in fills} == set(market.symbols)
    for name in ("max_drawdown", "sharpe", "final_equity"):
        assert getattr(outcome.summary, name) == getattr(expected, name), name


def test_two_runs_with_one_seed_write_identical_fills(
    tmp_path: Path, read_records: ReadRecords
) -> None:
    found = []
    for name in ("first", "second"):
        run_system(prepare("sma_cross", load_market([], candles=2_000, seed=7)), tmp_path / name)
        found.append(json.dumps(fills_of(read_records(tmp_path / name))).encode())
    other = load_market([], candles=2_000, seed=8)
    run_system(prepare("sma_cross", other), tmp_path / "other")
    assert len(found[0]) > 10_000
    assert found[0] == found[1]
    assert found[0] != json.dumps(fills_of(read_records(tmp_path / "other"))).encode()


def test_an_interrupt_that_a_strategy_raises_is_no_ctrl_c(tmp_path: Path) -> None:
    class Interrupts(Strategy):
        def on_candle(self, candle: Candle) -> None:
            if self.position.is_flat:
                self.buy(size=0.01)
            else:
                raise KeyboardInterrupt

    outcome = run_system(prepare(Interrupts, load_market([], candles=50)), tmp_path)
    assert outcome.exit_code is ExitCode.UNEXPECTED
    assert outcome.error == "KeyboardInterrupt()"
    assert outcome.problems == ()
    assert (outcome.summary.fills, outcome.summary.trades) == (2, 1), "closed, and verified"


def test_a_strategy_that_raises_is_halted_and_its_position_closed(
    market: Market, tmp_path: Path, read_records: ReadRecords
) -> None:
    parts = prepare(RaisesWhileHolding, market)
    outcome = run_system(parts, tmp_path, settings=SystemSettings(on_stop=StopPolicy.KEEP))
    records = read_records(tmp_path)

    assert outcome.exit_code is ExitCode.STRATEGY_FAILED
    assert "a bug in the strategy" in outcome.summary.failure
    assert outcome.summary.candles == 30
    assert outcome.summary.trades == 1
    failed = next(record["data"] for record in records if record["type"] == "strategy_failed")
    assert "test_system.py" in failed["traceback"]
    reconciled = [record["data"] for record in records if record["type"] == "reconciled"]
    assert reconciled == [{"verified": True, "problems": []}]


class UnspeakableError(Exception):
    def __len__(self) -> int:
        return 0

    def __str__(self) -> str:
        raise AttributeError("what the message is made of is missing")

    __repr__ = __str__


class RaisesTheUnspeakable(RaisesWhileHolding):
    def on_candle(self, candle: Candle) -> None:
        try:
            super().on_candle(candle)
        except ValueError:
            raise UnspeakableError from None


def test_an_error_that_cannot_be_shown_is_cleaned_up_after_like_any_other(
    market: Market, tmp_path: Path
) -> None:
    outcome = run_system(prepare(RaisesTheUnspeakable, market), tmp_path)
    assert outcome.exit_code is ExitCode.STRATEGY_FAILED
    assert outcome.summary.trades == 1
    assert "UnspeakableError (whose repr raised AttributeError)" in outcome.summary.failure
    assert outcome.summary.ended_by == "the strategy raised"
    assert replay(tmp_path, strategy=RaisesTheUnspeakable).same
    tested = run_backtest(prepare(RaisesTheUnspeakable, market))
    assert tested.failure == outcome.summary.failure


def test_keep_leaves_the_position_with_its_stop(market: Market, tmp_path: Path) -> None:
    systems: list[TradingSystem] = []
    settings = SystemSettings(on_stop=StopPolicy.KEEP)
    outcome = run_system(prepare(Holds, market), tmp_path, settings=settings, before=systems.append)

    assert outcome.exit_code is ExitCode.OK
    assert outcome.summary.trades == 0
    exchange = systems[0].venue.exchange  # type: ignore[attr-defined]
    (held,) = exchange.positions()
    (stop,) = exchange.open_orders()
    assert stop.reduce_only
    assert stop.trigger_price < held.entry_price
    assert stop.quantity == held.quantity


def test_keep_without_the_stop_is_told_and_not_called_verified(
    market: Market, tmp_path: Path
) -> None:
    def lose_the_stop(system: TradingSystem) -> None:
        snapshot = system.venue.snapshot

        async def broken(since: int = 0) -> Any:
            return msgspec.structs.replace(await snapshot(since), orders=())

        system.venue.snapshot = broken  # type: ignore[method-assign]

    settings = SystemSettings(on_stop=StopPolicy.KEEP)
    outcome = run_system(prepare(Holds, market), tmp_path, settings=settings, before=lose_the_stop)
    assert outcome.exit_code is ExitCode.ACCOUNT_UNVERIFIED
    assert "without a stop" in outcome.problems[0]


def test_an_error_in_the_venue_stops_the_system_and_cleans_up(
    market: Market, tmp_path: Path, read_records: ReadRecords
) -> None:
    def break_once(system: TradingSystem) -> None:
        submit = system.venue.submit
        sent: list[Order] = []

        async def broken(order: Order) -> None:
            sent.append(order)
            if len(sent) == 3:
                raise RuntimeError("the venue broke")
            await submit(order)

        system.venue.submit = broken  # type: ignore[method-assign]

    outcome = run_system(prepare("sma_cross", market), tmp_path, before=break_once)
    assert outcome.exit_code is ExitCode.UNEXPECTED
    assert "the venue broke" in outcome.error
    errors = [record["data"] for record in read_records(tmp_path) if record["type"] == "error"]
    assert "RuntimeError" in errors[0]["traceback"]


def test_entries_are_withheld_while_the_journal_has_no_room(
    market: Market, tmp_path: Path, read_records: ReadRecords
) -> None:
    def no_room(system: TradingSystem) -> None:
        type(system.recorder).has_room = property(lambda _: False)  # type: ignore[assignment]

    from candlewick.live.recording import Recorder

    original = Recorder.has_room
    try:
        outcome = run_system(prepare("sma_cross", market), tmp_path, before=no_room)
    finally:
        Recorder.has_room = original  # type: ignore[method-assign]
    withheld = [r["data"] for r in read_records(tmp_path) if r["type"] == "order_withheld"]
    assert outcome.summary.fills == 0
    assert {item["code"] for item in withheld} == {"journal_unavailable"}
    assert len(withheld) == outcome.summary.orders > 3


def test_what_a_stuck_subscriber_did_not_handle_is_listed_in_the_journal(
    market: Market, tmp_path: Path, read_records: ReadRecords
) -> None:
    """The stop waits no longer than its deadline; what is left stands there by kind."""

    def watched(system: TradingSystem) -> None:
        async def stuck(event: Event) -> None:
            if event.payload == StateChanged(EngineState.STOPPED, "stopped"):
                await asyncio.Event().wait()

        system.bus.subscribe("engine_state_changed", stuck, name="stuck", drain_timeout_s=0.05)

    outcome = run_system(prepare("sma_cross", market), tmp_path, before=watched)
    assert outcome.exit_code is ExitCode.OK
    left = [r["data"] for r in read_records(tmp_path) if r["type"] == "events_discarded"]
    assert left == [{"not_handled": {"engine_state_changed": 1}}]


def test_a_stop_request_ends_a_paced_run_at_once(market: Market, tmp_path: Path) -> None:
    async def main() -> Outcome:
        system = TradingSystem.simulated(
            prepare("sma_cross", market),
            AuditLogger(tmp_path),
            settings=SystemSettings(speed=0.001),  # the first candle is hours away
        )
        asyncio.get_running_loop().call_soon(system.request_stop, "test")
        return await system.run()

    outcome = asyncio.run(main())
    assert outcome.summary.candles == 0
    assert outcome.summary.ended_by == "test"
    assert outcome.exit_code is ExitCode.OK


def test_status_shows_the_position_with_its_confirmed_stop(market: Market, tmp_path: Path) -> None:
    seen = []

    class Watched(Holds):
        def on_candle(self, candle: Candle) -> None:
            super().on_candle(candle)
            if self.seen == self.at + 5:
                seen.append(systems[0].status())

    systems: list[TradingSystem] = []
    run_system(prepare(Watched, market), tmp_path, before=systems.append)
    (status,) = seen
    (held,) = status.positions
    assert status.state == "running"
    assert held.quantity > 0.0
    assert 0.0 < held.stop < held.entry_price
    assert status.progress == pytest.approx(14 / 400)
