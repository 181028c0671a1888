"""Exit rules, on hand-made candles through the whole engine."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from candlewick.backtesting import Result, backtest
from candlewick.errors import ConfigError
from candlewick.models import Candle, CandleTable
from candlewick.strategies import (
    BreakEven,
    ExitRule,
    ExitRules,
    PartialTargets,
    Strategy,
    TimeExit,
    Trailing,
)


def run(
    closes: Sequence[float], *rules: ExitRule, short: bool = False, stop: float = 0.0
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

    opens = [closes[0], *closes[:-1]]
    highs = [max(pair) for pair in zip(opens, closes, strict=True)]
    lows = [min(pair) for pair in zip(opens, closes, strict=True)]
    times = [60_000 * n for n in range(len(closes))]
    table = CandleTable("BTCUSDT", "1m", times, opens, highs, lows, closes, [1.0] * len(closes))
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
        lambda: PartialTargets(((0.2, 0.5), (0.1, 0.5))),
        lambda: PartialTargets(((0.1, 1.5),)),
    ],
)
def test_values_that_make_no_sense_are_refused(make: object) -> None:
    with pytest.raises(ConfigError):
        make()  # type: ignore[operator]
