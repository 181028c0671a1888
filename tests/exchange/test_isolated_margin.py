"""Margin set apart by hand, margin types of symbols beside each other, and deleveraging."""

from __future__ import annotations

from typing import Any

import pytest

from candlewick.errors import ValidationError
from candlewick.exchange import MarginType
from candlewick.models import Fill, Instrument, OrderStatus, OrderType, OrderUpdate, PositionSide

BOTH = PositionSide.BOTH
STOP = OrderType.STOP_MARKET


def free(*names: str) -> list[Instrument]:
    return [
        Instrument(name, 0.1, 0.001, fee_maker=0.0, fee_taker=0.0, liquidation_fee=0.0)
        for name in names
    ]


def isolated_long(open_account: Any, leverage: int = 10) -> Any:
    """One at 100 with a margin of 10, in a wallet of 1,000."""
    trader = open_account(
        1_000.0, instruments=free("BTCUSDT"), price=100.0, leverage=leverage,
        margin_type=MarginType.ISOLATED,
    )  # fmt: skip
    trader.buy(1.0)
    trader.flat_candle(100.0)
    return trader


def liquidation(trader: Any) -> float:
    trader.flat_candle(trader.exchange.book("BTCUSDT").last)
    (position,) = trader.exchange.positions()
    return float(position.liquidation_price)


def test_added_margin_is_bound_and_moves_the_liquidation_price(open_account: Any) -> None:
    trader = isolated_long(open_account)
    assert liquidation(trader) == pytest.approx(90.5, abs=0.1)
    assert trader.exchange.add_margin("BTCUSDT", BOTH, 20.0) is None
    assert trader.exchange.available() == pytest.approx(970.0)
    assert liquidation(trader) == pytest.approx(70.4, abs=0.1)
    trader.candle(100.0, 100.0, 75.0, 100.0)
    assert trader.quantity == 1.0
    trader.candle(100.0, 100.0, 70.0, 70.0)
    assert trader.quantity == 0.0
    assert trader.exchange.balance == pytest.approx(970.4, abs=0.2), "what was set apart is gone"
    assert trader.exchange.available() == trader.exchange.balance


def test_a_quiet_candle_does_not_pass_over_the_new_liquidation_price(open_account: Any) -> None:
    trader = isolated_long(open_account)
    trader.exchange.add_margin("BTCUSDT", BOTH, 20.0)
    trader.flat_candle(100.0)
    assert trader.exchange.add_margin("BTCUSDT", BOTH, -20.0) is None
    trader.candle(100.0, 100.0, 85.0, 100.0)
    assert trader.quantity == 0.0


def test_no_more_can_be_moved_than_is_there(open_account: Any) -> None:
    trader = isolated_long(open_account)
    exchange = trader.exchange
    assert exchange.add_margin("BTCUSDT", BOTH, 990.1)[0] == -4050
    assert exchange.add_margin("BTCUSDT", BOTH, -0.1)[0] == -4051
    assert exchange.add_margin("BTCUSDT", BOTH, 30.0) is None
    trader.flat_candle(80.0)  # 20 are lost, and 8 is what the position has to bind
    assert exchange.add_margin("BTCUSDT", BOTH, -12.1)[0] == -4051
    assert exchange.add_margin("BTCUSDT", BOTH, -12.0) is None
    trader.sell(1.0)
    trader.flat_candle(80.0)
    assert exchange.add_margin("BTCUSDT", BOTH, 1.0)[0] == -4054
    assert exchange.book("BTCUSDT").holding(BOTH).isolated_margin == 0.0
    exchange.change_margin_type(MarginType.CROSS, "BTCUSDT")
    assert exchange.add_margin("BTCUSDT", BOTH, 1.0)[0] == -4049


def test_what_was_added_stays_with_what_is_left_of_the_position(open_account: Any) -> None:
    trader = isolated_long(open_account)
    trader.exchange.add_margin("BTCUSDT", BOTH, 20.0)
    held = trader.exchange.book("BTCUSDT").holding(BOTH)
    trader.buy(1.0)
    trader.flat_candle(100.0)
    assert held.isolated_margin == pytest.approx(40.0)
    trader.sell(1.5)
    trader.flat_candle(100.0)
    assert held.isolated_margin == pytest.approx(10.0)
    trader.sell(1.0)  # through zero: a new position
    trader.flat_candle(100.0)
    assert held.isolated_margin == pytest.approx(5.0)


def test_higher_leverage_leaves_the_margin_with_the_position(open_account: Any) -> None:
    trader = isolated_long(open_account)
    trader.exchange.change_leverage("BTCUSDT", 20)
    assert trader.exchange.available() == pytest.approx(990.0)
    assert liquidation(trader) == pytest.approx(90.5, abs=0.1)
    assert trader.exchange.add_margin("BTCUSDT", BOTH, -5.0) is None
    assert trader.exchange.available() == pytest.approx(995.0)


def both_types(open_account: Any) -> Any:
    """BTCUSDT isolated, ETHUSDT in cross margin; 1 and 50 held at 100."""
    trader = open_account(1_000.0, instruments=free("BTCUSDT", "ETHUSDT"), price=100.0, leverage=10)
    trader.exchange.change_margin_type(MarginType.ISOLATED, "BTCUSDT")
    trader.buy(1.0)
    trader.buy(50.0, symbol="ETHUSDT")
    for symbol in ("BTCUSDT", "ETHUSDT"):
        trader.flat_candle(100.0, symbol=symbol)
    return trader


def prices(trader: Any) -> dict[str, float]:
    return {p.symbol: p.liquidation_price for p in trader.exchange.positions()}


def test_symbols_have_margin_types_of_their_own(open_account: Any) -> None:
    trader = both_types(open_account)
    assert trader.exchange.available() == pytest.approx(490.0)
    assert prices(trader)["BTCUSDT"] == pytest.approx(90.5, abs=0.1)
    # 990 of the wallet back 50: 100 - 990 / 50 = 80.2, and half a percent
    assert prices(trader)["ETHUSDT"] == pytest.approx(80.7, abs=0.1)
    trader.flat_candle(95.0)
    assert trader.exchange.available() == pytest.approx(490.0), "no profit of an isolated one"
    trader.flat_candle(95.0, symbol="ETHUSDT")
    assert trader.exchange.available() == pytest.approx(490.0 - 250.0 + 25.0)
    with pytest.raises(ValidationError, match="margin type"):
        trader.exchange.change_margin_type(MarginType.CROSS, "ETHUSDT")


def test_an_isolated_loss_is_its_own(open_account: Any) -> None:
    trader = both_types(open_account)
    trader.candle(100.0, 100.0, 50.0, 50.0)
    assert [p.symbol for p in trader.exchange.positions()] == ["ETHUSDT"]
    assert trader.exchange.balance == pytest.approx(990.5, abs=0.2)


def test_margin_set_apart_is_taken_from_what_backs_the_others(open_account: Any) -> None:
    trader = both_types(open_account)
    trader.exchange.add_margin("BTCUSDT", BOTH, 240.0)
    # 750 back 50: 100 - 750 / 50 = 85, and half a percent
    assert prices(trader)["ETHUSDT"] == pytest.approx(85.5, abs=0.1)
    trader.candle(100.0, 100.0, 84.0, 84.0, symbol="ETHUSDT")
    assert [p.symbol for p in trader.exchange.positions()] == ["BTCUSDT"]


@pytest.mark.parametrize("margin_type", list(MarginType))
def test_a_liquidation_cancels_the_limit_orders_on_the_same_margin(
    open_account: Any, margin_type: MarginType
) -> None:
    trader = open_account(
        100.0, instruments=free("BTCUSDT", "ETHUSDT"), price=100.0, leverage=10,
        margin_type=margin_type,
    )  # fmt: skip
    trader.buy(5.0)
    trader.flat_candle(100.0)
    own = trader.buy(0.1, OrderType.LIMIT, price=50.0)
    others = trader.buy(0.1, OrderType.LIMIT, price=50.0, symbol="ETHUSDT")
    stop = trader.buy(0.1, STOP, trigger_price=150.0)
    told = trader.candle(100.0, 100.0, 60.0, 60.0)
    assert trader.quantity == 0.0
    assert trader.status(own) is OrderStatus.CANCELED
    assert isinstance(told[0], OrderUpdate), "it comes before the liquidation"
    isolated = margin_type is MarginType.ISOLATED
    assert trader.resting == ([others, stop] if isolated else [stop])


# -- deleveraging -------------------------------------------------------------------------------


def test_a_position_is_taken_over_in_part_and_in_whole(open_account: Any) -> None:
    trader = open_account(1_000.0, instruments=free("BTCUSDT"), price=100.0)
    trader.buy(3.0)
    trader.flat_candle(100.0)
    stop = trader.sell(3.0, STOP, trigger_price=80.0, close_position=True)
    fill, update = trader.exchange.deleverage("BTCUSDT", BOTH, 1.0, 110.0, trader.now)
    assert isinstance(fill, Fill)
    assert (fill.quantity, fill.price, fill.realized) == (1.0, 110.0, 10.0)
    assert isinstance(update, OrderUpdate)
    assert update.order is not None
    assert update.order.client_id.startswith("adl_autoclose")
    assert update.order.reduce_only
    assert trader.exchange.balance == 1_010.0
    *_, ended = trader.exchange.deleverage("BTCUSDT", BOTH, 0.0, 110.0, trader.now)
    assert (ended.client_id, ended.status) == (stop, OrderStatus.EXPIRED)
    assert trader.quantity == 0.0
    with pytest.raises(ValidationError, match="no BOTH position"):
        trader.exchange.deleverage("BTCUSDT", BOTH, 0.0, 110.0, trader.now)


def test_only_whole_steps_are_taken_over(open_account: Any) -> None:
    trader = isolated_long(open_account)
    with pytest.raises(ValidationError, match="whole steps"):
        trader.exchange.deleverage("BTCUSDT", BOTH, 0.0005, 100.0, trader.now)
