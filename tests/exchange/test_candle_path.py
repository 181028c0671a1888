"""What happens inside a candle: the worst order of events that its four prices allow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from candlewick.models import Fill, OrderStatus, OrderType, Side

LIMIT = OrderType.LIMIT
STOP = OrderType.STOP_MARKET
TAKE_PROFIT = OrderType.TAKE_PROFIT_MARKET


def with_exits(trader: Any, side: Side, stop: float, target: float) -> Sequence[str]:
    """Send a stop and a target for a position of 1.0; returns their ids, the stop's first."""
    exit_ = side.opposite
    return (
        trader.send(exit_, 1.0, STOP, trigger_price=stop, reduce_only=True),
        trader.send(exit_, 1.0, TAKE_PROFIT, trigger_price=target, reduce_only=True),
    )


@pytest.mark.parametrize(
    ("side", "stop", "target"), [(Side.BUY, 95.0, 105.0), (Side.SELL, 105.0, 95.0)]
)
def test_the_stop_comes_first_when_stop_and_target_lie_inside_one_candle(
    open_account: Any, side: Side, stop: float, target: float
) -> None:
    trader = open_account(price=100.0)
    trader.send(side)
    stop_id, target_id = with_exits(trader, side, stop, target)
    trader.flat_candle(100.0)
    trader.candle(100.0, 106.0, 94.0, 104.0)
    assert trader.fill(stop_id).price == stop
    assert trader.status(target_id) is OrderStatus.EXPIRED, "it came by later and found nothing"


@pytest.mark.parametrize(
    ("side", "stop", "target", "open_"),
    [(Side.BUY, 95.0, 105.0, 107.0), (Side.SELL, 105.0, 95.0, 93.0)],
)
def test_a_target_that_the_open_is_beyond_comes_before_the_stop(
    open_account: Any, side: Side, stop: float, target: float, open_: float
) -> None:
    trader = open_account(price=100.0)
    trader.send(side)
    _, target_id = with_exits(trader, side, stop, target)
    trader.flat_candle(100.0)
    trader.candle(open_, 108.0, 92.0, 100.0)
    assert trader.fill(target_id).price == open_, "the open is known to be the first price"


def test_exits_sent_at_the_entrys_open_are_active_in_the_same_candle(open_account: Any) -> None:
    trader = open_account(price=100.0)
    entry = trader.buy()
    exits: list[str] = []

    def react(report: Any) -> None:
        if isinstance(report, Fill) and report.client_id == entry:
            exits.extend(with_exits(trader, Side.BUY, 97.0, 103.0))

    trader.candle(100.0, 104.0, 96.0, 102.0, react=react)
    assert trader.fill(exits[0]).price == 97.0


def test_a_target_sent_at_the_open_can_fill_in_the_same_candle(open_account: Any) -> None:
    trader = open_account(price=100.0)
    entry = trader.buy()
    exits: list[str] = []

    def react(report: Any) -> None:
        if isinstance(report, Fill) and report.client_id == entry:
            exits.extend(with_exits(trader, Side.BUY, 90.0, 103.0))

    trader.candle(100.0, 104.0, 96.0, 102.0, react=react)
    assert trader.fill(exits[1]).price == 103.0, "the stop was never touched"


def test_a_stop_sent_in_mid_candle_is_active_and_a_target_waits_for_the_next(
    open_account: Any,
) -> None:
    """After an entry inside the candle, whether a better price came later is not known."""
    trader = open_account(price=100.0)
    bid = trader.buy(1.0, LIMIT, price=98.0)
    exits: list[str] = []

    def react(report: Any) -> None:
        if isinstance(report, Fill) and report.client_id == bid:
            exits.extend(with_exits(trader, Side.BUY, 90.0, 103.0))

    trader.candle(100.0, 105.0, 97.0, 100.0, react=react)
    assert trader.fills(exits[1]) == [], "105 may have come before 98"
    trader.candle(100.0, 103.0, 99.0, 101.0)
    assert trader.fill(exits[1]).price == 103.0


def test_the_stop_of_an_entry_inside_the_candle_is_hit_in_the_same_candle(
    open_account: Any,
) -> None:
    trader = open_account(price=100.0)
    bid = trader.buy(1.0, LIMIT, price=98.0)
    exits: list[str] = []

    def react(report: Any) -> None:
        if isinstance(report, Fill) and report.client_id == bid:
            exits.extend(with_exits(trader, Side.BUY, 96.0, 103.0))

    trader.candle(100.0, 105.0, 95.0, 104.0, react=react)
    assert trader.fill(exits[0]).price == 96.0


def test_a_breakout_entry_is_assumed_to_turn_against_its_buyer(open_account: Any) -> None:
    """Only the high opens a position, so the high comes first, and the low can hurt it."""
    trader = open_account(price=100.0)
    entry = trader.buy(1.0, STOP, trigger_price=104.0)
    exits: list[str] = []

    def react(report: Any) -> None:
        if isinstance(report, Fill) and report.client_id == entry:
            exits.extend(with_exits(trader, Side.BUY, 99.0, 120.0))

    trader.candle(100.0, 105.0, 98.0, 104.5, react=react)
    assert trader.fill(entry).price == 104.0
    assert trader.fill(exits[0]).price == 99.0


def test_of_two_entries_the_nearer_to_the_open_fills_first(open_account: Any) -> None:
    trader = open_account(price=100.0)
    breakout = trader.buy(1.0, STOP, trigger_price=103.0)
    dip = trader.buy(1.0, LIMIT, price=98.0)
    trader.candle(100.0, 104.0, 97.0, 100.0)
    assert [fill.client_id for fill in trader.fills()] == [dip, breakout]


def test_stops_come_before_limits_at_the_same_price_and_older_before_younger(
    open_account: Any,
) -> None:
    trader = open_account(price=100.0)
    trader.buy(3.0)
    trader.flat_candle(100.0)
    bid = trader.buy(1.0, LIMIT, price=95.0)
    first = trader.sell(1.0, STOP, trigger_price=95.0, reduce_only=True)
    second = trader.sell(1.0, STOP, trigger_price=95.0, reduce_only=True)
    trader.candle(100.0, 100.0, 94.0, 96.0)
    assert [fill.client_id for fill in trader.fills()[1:]] == [first, second, bid]


def test_a_resting_order_at_the_open_comes_before_what_arrived_after_it(open_account: Any) -> None:
    trader = open_account(price=100.0)
    trader.buy(1.0)
    trader.flat_candle(100.0)
    stop = trader.sell(1.0, STOP, trigger_price=95.0, reduce_only=True)
    late = trader.sell(1.0, reduce_only=True)
    trader.flat_candle(94.0)
    assert trader.status(stop) is OrderStatus.FILLED
    assert trader.status(late) is OrderStatus.EXPIRED


def test_many_orders_of_one_candle_fill_along_its_path(open_account: Any) -> None:
    trader = open_account(price=100.0)
    grid = {price: trader.buy(1.0, LIMIT, price=float(price)) for price in (97, 99, 98)}
    trader.candle(100.0, 101.0, 97.5, 100.0)
    assert [fill.client_id for fill in trader.fills()] == [grid[99], grid[98]]
    assert trader.resting == [grid[97]]


def test_a_quiet_candle_only_moves_the_last_price(open_account: Any) -> None:
    trader = open_account(price=100.0)
    trader.buy()
    trader.sell(1.0, STOP, trigger_price=90.0, reduce_only=True)
    trader.flat_candle(100.0)
    assert trader.candle(100.0, 120.0, 90.1, 110.0) == []
    fees = trader.exchange.fees_paid
    assert trader.exchange.equity() == pytest.approx(100_000.0 + 10.0 - fees, abs=1e-9)


def test_fills_inside_a_candle_carry_its_close_time_and_at_its_open_the_open_time(
    open_account: Any,
) -> None:
    trader = open_account(price=100.0)
    bought = trader.buy()
    stop = trader.sell(1.0, STOP, trigger_price=95.0, reduce_only=True)
    trader.candle(100.0, 100.0, 94.0, 95.0)
    assert trader.fill(bought).time == 60_000
    assert trader.fill(stop).time == 119_999
