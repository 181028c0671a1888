"""Exit rules, on hand-made candles through the whole engine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import pytest

from candlewick.backtesting import Result, backtest
from candlewick.errors import ConfigError
from candlewick.models import Candle, CandleTable, Order, Position
from candlewick.strategies import (
    BreakEven,
    ExitRule,
    ExitRules,
    NativeTrailing,
    PartialTargets,
    Strategy,
    TimeExit,
    Trailing,
)


def table_of(closes: Sequence[float], higher: Mapping[int, float] | None = None) -> CandleTable:
    """Candles with these closes, each opening where the one before closed."""
    opens = [closes[0], *closes[:-1]]
    highs = [max(pair) for pair in zip(opens, closes, strict=True)]
    for number, price in (higher or {}).items():
        highs[number] = price
    lows = [min(pair) for pair in zip(opens, closes, strict=True)]
    times = [60_000 * n for n in range(len(closes))]
    return CandleTable("BTCUSDT", "1m", times, opens, highs, lows, closes, [1.0] * len(closes))


def run(
    closes: Sequence[float],
    *rules: ExitRule,
    short: bool = False,
    stop: float = 0.0,
    highs: Mapping[int, float] | None = None,
) -> Result:
    """Enter at the first candle's close (so at the second's open), without fees."""

    class WithRules(Strategy):
        def on_start(self) -> None:
            self.exits = ExitRules(self, *rules)
            self.entered = False

        def on_candle(self, candle: Candle) -> None:
            self.exits.on_candle(candle)
            if not self.entered:
                self.entered = True
                (self.sell if short else self.buy)(size=1.0, stop=stop)

    table = table_of(closes, highs or {})
    return backtest(WithRules, table, fee_taker=0.0, fee_maker=0.0)


def test_trailing_follows_up_and_never_back() -> None:
    result = run([100, 100, 110, 120, 115, 119, 100, 90], Trailing(0.1), stop=80.0)
    (trade,) = result.trade_list
    assert trade.exit_price == 108.0  # 10 % below the best close, 120
    assert trade.profit == pytest.approx(8.0)


def test_trailing_works_for_shorts() -> None:
    result = run([100, 100, 90, 80, 82, 100], Trailing(0.1), short=True, stop=120.0)
    assert result.trade_list[0].exit_price == pytest.approx(88.0)


def test_trailing_starts_from_the_entry_when_that_is_tighter() -> None:
    result = run([100, 100, 97, 92, 85, 80], Trailing(0.1), stop=50.0)
    assert result.trade_list[0].exit_price == 90.0


def test_break_even_moves_the_stop_to_the_entry_once() -> None:
    result = run([100, 100, 104, 106, 101, 95, 90], BreakEven(0.05), stop=80.0)
    assert result.trade_list[0].exit_price == 100.0
    with_offset = run([100, 100, 104, 106, 103, 95], BreakEven(0.05, offset=0.01), stop=80.0)
    assert with_offset.trade_list[0].exit_price == 101.0


def test_break_even_never_loosens_a_trailing_stop() -> None:
    result = run([100, 100, 120, 106, 95], Trailing(0.05), BreakEven(0.05), stop=80.0)
    assert result.trade_list[0].exit_price == 114.0


def test_native_trailing_follows_the_prices_between_closes() -> None:
    """The candle that rises to 120 and closes at 112 has taken the stop along to 108."""
    closes = [100, 100, 106, 112, 112, 100]
    result = run(closes, NativeTrailing(0.1, after=0.05), stop=80.0, highs={3: 120.0})
    (trade,) = result.trade_list
    assert trade.exit_price == 108.0
    assert trade.exit_reason == "trailing stop"


def test_until_its_profit_is_there_native_trailing_leaves_the_stop_where_it_is() -> None:
    result = run([100, 100, 104, 90, 80], NativeTrailing(0.1, after=0.05), stop=85.0)
    assert (result.trade_list[0].exit_price, result.trade_list[0].exit_reason) == (85.0, "stop")


def test_other_rules_leave_a_stop_that_trails_at_the_exchange_alone() -> None:
    result = run(
        [100, 100, 106, 110, 110, 98], NativeTrailing(0.1, after=0.05), Trailing(0.01), stop=80.0
    )
    assert result.trade_list[0].exit_reason == "trailing stop"
    assert result.trade_list[0].exit_price == 99.0


def test_a_target_that_trails_lets_the_profit_run() -> None:
    class LetsRun(Strategy):
        entered = False

        def on_candle(self, candle: Candle) -> None:
            if not self.entered:
                self.entered = True
                self.buy(size=1.0, stop=80.0, target=110.0, target_trail=0.05)

    result = backtest(LetsRun, table_of([100, 100, 109, 104, 112, 120, 113]), fee_taker=0.0)
    (trade,) = result.trade_list
    assert trade.exit_price == 114.0, "5 % below 120, and nothing before 110 was reached"
    assert trade.exit_reason == "trailing target"


def test_rules_take_up_after_a_restart_where_they_were() -> None:
    """A strategy that is made anew gets the state of the one before it."""

    class Asked(Strategy):
        def __init__(self) -> None:
            self.exits = ExitRules(
                self, Trailing(0.1), PartialTargets(((0.1, 0.5), (0.2, 0.5))), TimeExit(5)
            )
            self.asked: list[tuple[float, float]] = []

        def position_of(self, symbol: str) -> Position:
            return Position(symbol, 1.0, 100.0, opened_time=1)

        def orders_of(self, symbol: str) -> Sequence[Order]:
            return ()

        def close(self, symbol: str = "", *, size: float = 0.0, reason: str = "") -> None:
            self.asked.append((size, 0.0))

        def move_stop(
            self, stop: float = 0.0, symbol: str = "", *, trail: float = 0.0, reason: str = ""
        ) -> None:
            self.asked.append((0.0, stop))

    def close_at(strategy: Asked, price: float) -> list[tuple[float, float]]:
        strategy.exits.on_candle(Candle("BTCUSDT", "1m", 0, price, price, price, price, 1.0, 1))
        asked, strategy.asked = strategy.asked, []
        return asked

    first = Asked()
    assert close_at(first, 112.0) == [(0.5, 0.0), (0.0, pytest.approx(100.8))]
    second = Asked()
    second.exits.load_state(json.loads(json.dumps(first.exits.save_state())))
    assert close_at(second, 111.0) == [(0.0, pytest.approx(100.8))], "no second half at 10 %"
    assert close_at(second, 120.0) == [(0.5, 0.0), (0.0, pytest.approx(108.0))]
    close_at(second, 120.0)
    assert (0.0, 0.0) in close_at(second, 120.0), "the fifth candle, two of them before"


def test_time_exit_closes_at_the_next_open_after_so_many_candles() -> None:
    result = run([100, 100, 101, 102, 103, 104, 105], TimeExit(3), stop=50.0)
    (trade,) = result.trade_list
    assert trade.exit_price == 102.0  # the open after the third candle held
    assert trade.exit_reason == "held for 3 candles"


def test_partial_targets_close_their_shares_and_the_stop_shrinks() -> None:
    result = run(
        [100, 100, 110, 120, 120, 85, 80], PartialTargets(((0.1, 0.5), (0.2, 0.25))), stop=90.0
    )
    sells = [(fill.price, fill.quantity) for fill in result.fill_list if fill.side == "sell"]
    assert sells == [(110.0, 0.5), (120.0, 0.25), (90.0, 0.25)]


def test_steps_jumped_over_are_closed_in_one_order() -> None:
    result = run([100, 100, 130, 130, 130], PartialTargets(((0.1, 0.5), (0.2, 0.5))), stop=90.0)
    sells = [fill.quantity for fill in result.fill_list if fill.side == "sell"]
    assert sells == [1.0]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Trailing(0.0),
        lambda: Trailing(2.0),
        lambda: BreakEven(0.01, offset=0.02),
        lambda: TimeExit(0),
        lambda: NativeTrailing(0.0005),
        lambda: NativeTrailing(0.2),
        lambda: NativeTrailing(0.01, after=1.0),
        lambda: PartialTargets(((0.2, 0.5), (0.1, 0.5))),
        lambda: PartialTargets(((0.1, 1.5),)),
    ],
)
def test_values_that_make_no_sense_are_refused(make: object) -> None:
    with pytest.raises(ConfigError):
        make()  # type: ignore[operator]
