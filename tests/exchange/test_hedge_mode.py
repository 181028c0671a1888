"""Hedge mode: a long and a short position of one symbol side by side."""

from __future__ import annotations

from typing import Any

import pytest

from candlewick.exchange import MarginType
from candlewick.models import OrderStatus, OrderType, PositionSide, Side

LONG, SHORT, BOTH = PositionSide.LONG, PositionSide.SHORT, PositionSide.BOTH
STOP = OrderType.STOP_MARKET


def both_sides(open_account: Any) -> Any:
    trader = open_account(price=100.0, hedge_mode=True)
    trader.buy(2.0, position_side=LONG)
    trader.sell(3.0, position_side=SHORT)
    trader.flat_candle(100.0)
    return trader


def held(trader: Any) -> dict[PositionSide, float]:
    return {position.side: position.quantity for position in trader.exchange.positions()}


def test_long_and_short_are_held_at_the_same_time(open_account: Any) -> None:
    trader = both_sides(open_account)
    assert held(trader) == {LONG: 2.0, SHORT: -3.0}
    fees = trader.exchange.fees_paid
    trader.flat_candle(110.0)
    assert trader.exchange.equity() == pytest.approx(100_000.0 + 20.0 - 30.0 - fees, abs=1e-9)


def test_an_order_closes_only_its_own_side_and_never_through_zero(open_account: Any) -> None:
    trader = both_sides(open_account)
    over = trader.sell(5.0, position_side=LONG)
    trader.flat_candle(105.0)
    assert trader.fill(over).quantity == 2.0
    assert trader.fill(over).position_side is LONG
    assert held(trader) == {SHORT: -3.0}
    assert trader.update(trader.sell(1.0, position_side=LONG)).code == -2022


def test_each_side_has_its_own_stop(open_account: Any) -> None:
    trader = both_sides(open_account)
    long_stop = trader.sell(2.0, STOP, trigger_price=95.0, position_side=LONG)
    short_stop = trader.buy(3.0, STOP, trigger_price=105.0, position_side=SHORT)
    trader.candle(100.0, 100.0, 94.0, 95.0)
    assert trader.status(long_stop) is OrderStatus.FILLED
    assert held(trader) == {SHORT: -3.0}
    trader.candle(95.0, 106.0, 95.0, 100.0)
    assert trader.fill(short_stop).price == 105.0
    assert held(trader) == {}


def test_a_close_position_order_ends_with_its_own_side_only(open_account: Any) -> None:
    trader = both_sides(open_account)
    mine = trader.sell(0.0, STOP, trigger_price=90.0, close_position=True, position_side=LONG)
    other = trader.buy(0.0, STOP, trigger_price=120.0, close_position=True, position_side=SHORT)
    trader.sell(2.0, position_side=LONG)
    trader.flat_candle(100.0)
    assert trader.status(mine) is OrderStatus.EXPIRED
    assert trader.resting == [other]


@pytest.mark.parametrize(("hedge_mode", "side"), [(True, BOTH), (False, LONG), (False, SHORT)])
def test_a_position_side_that_does_not_fit_the_mode_is_refused(
    open_account: Any, hedge_mode: bool, side: PositionSide
) -> None:
    trader = open_account(price=100.0, hedge_mode=hedge_mode)
    refused = trader.send(Side.BUY, position_side=side)
    assert trader.update(refused).code == -4061


def test_each_side_is_liquidated_for_itself(open_account: Any) -> None:
    trader = open_account(
        300.0, price=100.0, hedge_mode=True, leverage=20, margin_type=MarginType.ISOLATED
    )
    trader.buy(10.0, position_side=LONG)
    trader.sell(10.0, position_side=SHORT)
    trader.flat_candle(100.0)
    trader.candle(100.0, 100.0, 94.0, 94.0)
    assert held(trader) == {SHORT: -10.0}
