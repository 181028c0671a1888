"""A mark price apart from the last price: what waits for it, and what is valued at it."""

from __future__ import annotations

from typing import Any

import pytest

from candlewick.exchange import MarginType
from candlewick.models import Instrument, OrderStatus, OrderType, Side, TriggerPrice

MARK = TriggerPrice.MARK
STOP, TARGET = OrderType.STOP_MARKET, OrderType.TAKE_PROFIT_MARKET
TRAILING = OrderType.TRAILING_STOP_MARKET
FREE = Instrument("BTCUSDT", 0.1, 0.001, fee_maker=0.0, fee_taker=0.0, liquidation_fee=0.0)


def long_at_100(open_account: Any, basis: float, **settings: Any) -> Any:
    trader = open_account(1_000.0, instruments=[FREE], price=100.0, **settings)
    trader.buy(1.0)
    trader.flat_candle(100.0)
    trader.exchange.set_basis("BTCUSDT", basis)
    return trader


def test_a_wick_of_the_last_price_sets_off_only_what_waits_for_it(open_account: Any) -> None:
    trader = long_at_100(open_account, 5.0)
    by_last = trader.sell(0.5, STOP, trigger_price=95.0, reduce_only=True)
    by_mark = trader.sell(0.5, STOP, trigger_price=95.0, reduce_only=True, trigger_by=MARK)
    trader.candle(100.0, 100.0, 91.0, 100.0)  # the mark price falls to 96
    assert trader.fill(by_last).price == 95.0
    assert trader.status(by_mark) is OrderStatus.ACKNOWLEDGED
    trader.candle(100.0, 100.0, 89.0, 100.0)
    assert trader.fill(by_mark).price == 90.0, "it trades at the last price"


@pytest.mark.parametrize(
    ("type", "side", "trigger", "basis"),
    [
        (STOP, Side.SELL, 97.0, -5.0),
        (STOP, Side.BUY, 103.0, 5.0),
        (TARGET, Side.SELL, 103.0, 5.0),
        (TARGET, Side.BUY, 97.0, -5.0),
    ],
)
def test_a_mark_price_that_moves_alone_sets_off_what_it_reaches(
    open_account: Any, type: OrderType, side: Side, trigger: float, basis: float
) -> None:
    trader = open_account(1_000.0, instruments=[FREE], price=100.0)
    waiting = trader.send(side, 1.0, type, trigger_price=trigger, trigger_by=MARK)
    by_last = trader.send(side, 1.0, type, trigger_price=trigger)
    trader.flat_candle(100.0)
    assert not trader.fills()
    trader.exchange.set_basis("BTCUSDT", basis)
    trader.flat_candle(100.0)
    assert trader.fill(waiting).price == 100.0
    assert not trader.fills(by_last)


def test_the_side_of_a_trigger_is_checked_against_its_own_price(open_account: Any) -> None:
    trader = long_at_100(open_account, -3.0)
    code = trader.update(trader.sell(1.0, STOP, trigger_price=98.0, trigger_by=MARK)).code
    assert code == -2021, "the mark price is at 97"
    assert trader.update(trader.sell(1.0, STOP, trigger_price=98.0)).code == 0


def test_a_trailing_stop_follows_the_mark_price(open_account: Any) -> None:
    trader = long_at_100(open_account, 10.0)
    stop = trader.sell(1.0, TRAILING, callback_rate=0.1, reduce_only=True, trigger_by=MARK)
    trader.candle(100.0, 110.0, 100.0, 110.0)  # mark up to 120: it waits at 108, 98 of the last
    trader.candle(110.0, 110.0, 98.1, 105.0)
    assert not trader.fills(stop)
    trader.exchange.set_basis("BTCUSDT", 0.0)
    trader.candle(109.0, 109.0, 107.0, 107.0)
    assert trader.fill(stop).price == 108.0


def test_profit_and_liquidation_go_by_the_mark_price(open_account: Any) -> None:
    trader = open_account(1_000.0, instruments=[FREE], price=100.0, leverage=10)
    trader.buy(50.0)
    trader.flat_candle(100.0)
    (position,) = trader.exchange.positions()
    assert position.liquidation_price == pytest.approx(80.5, abs=0.1)
    trader.exchange.set_basis("BTCUSDT", -10.0)
    assert trader.exchange.equity() == pytest.approx(500.0)
    trader.candle(100.0, 100.0, 91.0, 100.0)
    assert trader.quantity == 50.0, "the mark price was at 81"
    trader.candle(100.0, 100.0, 90.0, 100.0)
    assert trader.quantity == 0.0


def test_isolated_positions_are_liquidated_by_the_mark_price(open_account: Any) -> None:
    trader = long_at_100(open_account, 4.0, leverage=20, margin_type=MarginType.ISOLATED)
    trader.candle(100.0, 100.0, 93.0, 100.0)  # 95.5 of the mark price is 91.5 of the last
    assert trader.quantity == 1.0
    trader.candle(100.0, 100.0, 91.0, 91.0)
    assert trader.quantity == 0.0


def test_funding_is_paid_at_the_mark_price(open_account: Any) -> None:
    trader = open_account(
        1_000.0, instruments=[FREE], price=100.0, funding={"BTCUSDT": [(180_000, 0.01)]}
    )
    trader.buy(1.0)
    trader.flat_candle(100.0)
    trader.exchange.set_basis("BTCUSDT", 20.0)
    trader.flat_candle(100.0)
    trader.flat_candle(100.0)
    assert [paid.amount for paid in trader.funding()] == [pytest.approx(-1.2)]


def test_the_distance_is_put_on_ticks(open_account: Any) -> None:
    trader = long_at_100(open_account, -0.26)
    assert trader.exchange.book("BTCUSDT").mark == 99.7
    trader.exchange.set_basis("BTCUSDT", 0.0)
    assert trader.exchange.book("BTCUSDT").mark == 100.0
