"""What a strategy can say and see, through a real engine; and the promise of twelve lines."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from candlewick.backtesting import backtest
from candlewick.data import aggregate, synthetic_market
from candlewick.engine import TradingEngine
from candlewick.errors import StrategyError, ValidationError
from candlewick.models import Candle, Fill, Instrument, Signal, SignalAction
from candlewick.strategies import DonchianBreakout, Each, SmaCross, Strategy


class Silent(Strategy):
    """Does nothing by itself."""

    intervals = ("5m",)

    def on_candle(self, candle: Candle) -> None: ...


def started(*symbols: str) -> Silent:
    """A strategy attached to an engine that has seen one candle of each symbol."""
    strategy = Silent()
    names = symbols or ("BTCUSDT",)
    engine = TradingEngine(strategy, {name: Instrument(name) for name in names}, balance=1_000.0)
    engine.start(0)
    for name in names:
        engine.on_candle(Candle(name, "1m", 60_000, 100.0, 101.0, 99.0, 100.5, 5.0, 119_999, True))
    return strategy


def said(strategy: Strategy) -> list[Signal]:
    return list(strategy._signals)


# -- each --------------------------------------------------------------------------------------


def test_each_makes_one_object_for_each_symbol_when_it_is_first_asked_for() -> None:
    made: list[list[int]] = []

    def make() -> list[int]:
        made.append([])
        return made[-1]

    each = Each(make)
    assert len(each) == 0
    each["BTCUSDT"].append(1)
    each["ETHUSDT"].append(2)
    each["BTCUSDT"].append(3)
    assert each == {"BTCUSDT": [1, 3], "ETHUSDT": [2]}
    assert len(made) == 2
    assert each.get("XRPUSDT") is None
    assert started().each(list)["A"] == []


# -- what it says ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("say", "expected"),
    [
        (lambda s: s.buy(), Signal("ETHUSDT", SignalAction.BUY, 119_999)),
        (
            lambda s: s.buy("BTCUSDT", size=2.0, price=99.0, stop=90.0, target=120.0, reason="up"),
            Signal("BTCUSDT", SignalAction.BUY, 119_999, 2.0, 0.0, 99.0, 90.0, 120.0, 0.0, "up"),
        ),
        (
            lambda s: s.sell(risk=0.01, stop=110.0, trail=0.02),
            Signal("ETHUSDT", SignalAction.SELL, 119_999, 0.0, 0.01, 0.0, 110.0, 0.0, 0.02),
        ),
        (
            lambda s: s.close(size=0.5, reason="half"),
            Signal("ETHUSDT", SignalAction.CLOSE, 119_999, 0.5, reason="half"),
        ),
        (
            lambda s: s.move_stop(95.0, "BTCUSDT"),
            Signal("BTCUSDT", SignalAction.MOVE_STOP, 119_999, stop=95.0),
        ),
        (
            lambda s: s.cancel_entries(reason="stale"),
            Signal("ETHUSDT", SignalAction.CANCEL, 119_999, reason="stale"),
        ),
    ],
)
def test_what_a_strategy_asks_for_is_a_signal_of_the_symbol_at_hand(
    say: Callable[[Strategy], None], expected: Signal
) -> None:
    strategy = started("BTCUSDT", "ETHUSDT")
    say(strategy)
    assert said(strategy) == [msgspec.structs.replace(expected, held=0.0)]


def test_size_and_risk_together_are_refused() -> None:
    strategy = started()
    with pytest.raises(StrategyError, match=r"Silent\.buy: give size=1\.0 or risk=0\.01, not both"):
        strategy.buy(size=1.0, risk=0.01)
    assert said(strategy) == []


@pytest.mark.parametrize("size", [math.nan, math.inf, -1.0])
def test_an_exit_of_no_quantity_is_refused_rather_than_lost(size: float) -> None:
    strategy = started()
    with pytest.raises(StrategyError, match=rf"Silent\.close: size={size!r} is no quantity"):
        strategy.close(size=size)


@pytest.mark.parametrize(
    "wish",
    [
        {"stop": math.nan}, {"size": math.nan}, {"price": math.nan}, {"target": math.inf},
        {"size": -1.0}, {"trail": math.nan}, {"price": -5.0},
    ],
)  # fmt: skip
def test_an_entry_with_a_number_that_is_none_is_denied(wish: dict[str, float]) -> None:
    """An indicator that is not ready gives nan; it must not become a market order."""

    class Eager(Strategy):
        def on_candle(self, candle: Candle) -> None:
            self.buy(**wish)

    result = backtest(Eager, candles=5)
    assert result.fills == result.orders == 0
    assert result.denials == {"size_invalid": 5}


# -- what it sees ------------------------------------------------------------------------------


def test_what_a_strategy_sees_at_the_start() -> None:
    strategy = started("BTCUSDT", "ETHUSDT")
    assert strategy.symbols == ("BTCUSDT", "ETHUSDT")
    assert (strategy.interval, strategy.now) == ("1m", 119_999)
    assert (strategy.balance, strategy.equity) == (1_000.0, 1_000.0)
    assert strategy.position.is_flat
    assert strategy.position_of("BTCUSDT").is_flat
    assert list(strategy.orders) == list(strategy.orders_of("BTCUSDT")) == []
    assert strategy.history.symbol == "ETHUSDT"
    assert strategy.history[-1].close == 100.5
    assert len(strategy.history_of("BTCUSDT", "5m")) == 0
    assert (dict(strategy.save_state()), strategy.load_state({})) == ({}, None)


def test_what_the_run_does_not_have_is_named() -> None:
    strategy = started()
    with pytest.raises(ValidationError, match=r"no symbol 'ETHUSDT' \(it has: BTCUSDT\)"):
        strategy.position_of("ETHUSDT")
    with pytest.raises(ValidationError, match="no history of BTCUSDT 1h: the run has 1m, 5m"):
        strategy.history_of("BTCUSDT", "1h")


def test_a_strategy_sees_every_candle_once_in_order_closed_and_nothing_later() -> None:
    """Two symbols, two intervals; after each candle no history holds anything of the future."""
    tables = synthetic_market(["BTCUSDT", "ETHUSDT"], "1m", 180, seed=4)
    seen: list[Candle] = []

    class Watcher(Strategy):
        intervals = ("15m",)

        def on_candle(self, candle: Candle) -> None:
            assert candle.is_closed
            assert candle.close_time == self.now
            seen.append(candle)
            assert self.history_of(candle.symbol, candle.interval)[-1] == candle
            for symbol in self.symbols:
                for interval in ("1m", "15m"):
                    history = self.history_of(symbol, interval)
                    if len(history):
                        assert history.close_time[-1] <= self.now
                    wanted = [c for c in seen if (c.symbol, c.interval) == (symbol, interval)]
                    assert history.close.tolist() == [c.close for c in wanted]

    backtest(Watcher, tables)
    expected = [c for table in tables for c in (*table, *aggregate(table, "15m"))]
    assert len(seen) == len(expected) == 2 * (180 + 12)
    assert sorted(seen, key=repr) == sorted(expected, key=repr)
    assert [c.close_time for c in seen] == sorted(c.close_time for c in expected)
    # what closes together comes with the longer interval first
    ends = [c.interval for c in seen if c.close_time == seen[-1].close_time]
    assert ends == ["15m", "15m", "1m", "1m"]


def test_fills_come_after_the_position_has_changed() -> None:
    seen: list[tuple[Fill, float, int]] = []
    ended: list[int] = []

    class Once(Strategy):
        def on_candle(self, candle: Candle) -> None:
            if self.position.is_flat and len(self.history) == 3:
                self.buy(size=0.5)
            elif len(self.history) == 6:
                self.close()

        def on_fill(self, fill: Fill) -> None:
            seen.append((fill, self.position.quantity, self.now))

        def on_stop(self) -> None:
            ended.append(self.now)
            self.buy()  # not acted on

    table = synthetic_market(["BTCUSDT"], "1m", 10, seed=1)[0]
    result = backtest(Once, table, cash=100_000.0)
    assert [quantity for _, quantity, _ in seen] == [0.5, 0.0]
    # decided on the third close, executed at the fourth open
    assert [fill.price for fill, _, _ in seen] == [table.open[3], table.open[6]]
    assert [fill for fill, _, _ in seen] == result.fill_list
    assert ended == [table.close_time[-1]]
    assert result.trades == 1


# -- the built-in ones -------------------------------------------------------------------------


def code_lines(cls: type) -> list[str]:
    """The lines of a class, without blank ones and docstrings."""
    source, doc = inspect.getsource(cls), inspect.getdoc(cls) or ""
    lines = [line for line in source.splitlines() if line.strip()]
    return [
        ln for ln in lines if ln.strip().strip('"') not in {d.strip() for d in doc.splitlines()}
    ]


def test_an_sma_cross_takes_at_most_twelve_lines() -> None:
    check = code_lines(SmaCross.check_parameters)  # what trading needs stands beside it
    assert len(code_lines(SmaCross)) - len(check) <= 12


def test_an_sma_cross_trades_where_the_averages_cross() -> None:
    table = synthetic_market(["BTCUSDT"], "1m", 2_000, seed=9)[0]
    result = backtest(SmaCross, table, params={"fast": 5, "slow": 20})
    view = np.lib.stride_tricks.sliding_window_view
    fast = view(table.close, 5).mean(axis=1)[15:]
    slow = view(table.close, 20).mean(axis=1)
    above = np.where(np.abs(fast - slow) < 1e-9, 0, np.sign(fast - slow))
    side, turns = 0, []
    for row, sign in enumerate(above.tolist(), 19):
        if sign and sign != side and row + 1 < len(table):
            side = sign
            turns.append((int(table.open_time[row + 1]), float(table.open[row + 1]), side))
    # a reversal is two fills: the old position closed, the new one opened
    found = [(f.time, f.price, f.side.sign) for f in result.fill_list[:-1]]
    assert list(dict.fromkeys(found)) == turns
    assert len(turns) > 20


def test_a_breakout_enters_outside_the_channel_with_stop_and_target() -> None:
    table = synthetic_market(["BTCUSDT"], "5m", 4_000, seed=3)[0]
    result = backtest(DonchianBreakout, table)
    assert result.trades > 5
    entries = [fill for fill in result.fill_list if "entry" in fill.client_id]
    assert entries
    times = table.open_time.tolist()
    for fill in entries:
        row = times.index(fill.time)
        before = slice(row - 56, row - 1)
        close = table.close[row - 1]
        if fill.side.sign > 0:
            assert close > table.high[before].max()
        else:
            assert close < table.low[before].min()


def test_a_breakout_risks_about_what_it_was_told() -> None:
    table = synthetic_market(["BTCUSDT"], "5m", 4_000, seed=3)[0]
    result = backtest(DonchianBreakout, table, params={"risk": 0.005}, fee_taker=0.0, fee_maker=0.0)
    losses = [trade.profit for trade in result.trade_list if trade.profit < 0.0]
    assert losses
    typical = float(np.median(losses)) / 10_000.0
    assert -0.0075 < typical < -0.003
