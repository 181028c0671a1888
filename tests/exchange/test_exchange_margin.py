"""Leverage, available balance, liquidation in tiers: figures worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candlewick.exchange import MarginType
from candlewick.exchange.margin import liquidation_price
from candlewick.models import Instrument, MarginBracket, OrderStatus, OrderType, Side

LIMIT = OrderType.LIMIT
STOP = OrderType.STOP_MARKET

FREE = Instrument("BTCUSDT", 0.1, 0.001, fee_maker=0.0, fee_taker=0.0, liquidation_fee=0.0)
"""Without fees and with a maintenance margin of 0.5 %, so that figures come out round."""

TIERS = (
    MarginBracket(0.0, 50_000.0, 0.004, 0.0, 125),
    MarginBracket(50_000.0, 600_000.0, 0.005, 50.0, 100),
    MarginBracket(600_000.0, 3_000_000.0, 0.01, 3_050.0, 75),
)
TIERED = Instrument(
    "BTCUSDT", 0.1, 0.001, fee_maker=0.0, fee_taker=0.0, liquidation_fee=0.001, brackets=TIERS
)


def two(**fees: Any) -> list[Instrument]:
    return [
        Instrument(name, 0.1, 0.001, **({"fee_taker": 0.0, "liquidation_fee": 0.0} | fees))
        for name in ("BTCUSDT", "ETHUSDT")
    ]


# -- what an order needs ------------------------------------------------------------------------


def test_an_entry_needs_its_initial_margin_and_fee(open_account: Any) -> None:
    # 10 at 100 with leverage 10: margin 100, fee 0.5
    assert open_account(100.5, price=100.0, leverage=10).buy(10.0)
    for balance, expected in ((100.5, OrderStatus.ACKNOWLEDGED), (100.4, OrderStatus.REJECTED)):
        trader = open_account(balance, price=100.0, leverage=10)
        assert trader.status(trader.buy(10.0)) is expected


def test_resting_entries_and_arrivals_bind_margin_and_exits_do_not(open_account: Any) -> None:
    trader = open_account(1_000.0, instruments=[FREE], price=100.0, leverage=10)
    trader.buy(20.0)
    assert trader.exchange.available() == pytest.approx(800.0)
    trader.flat_candle(100.0)
    assert trader.exchange.available() == pytest.approx(800.0), "now it is the position's"
    bid = trader.buy(40.0, LIMIT, price=90.0)
    assert trader.exchange.available() == pytest.approx(440.0)
    trader.sell(20.0, LIMIT, price=120.0, reduce_only=True)
    trader.sell(20.0, STOP, trigger_price=80.0, reduce_only=True)
    assert trader.exchange.available() == pytest.approx(440.0)
    assert trader.update(trader.buy(50.0, LIMIT, price=90.0)).code == -2019
    trader.cancel(bid)
    assert trader.exchange.available() == pytest.approx(800.0)


def test_an_opposite_entry_needs_margin_only_for_what_it_opens(open_account: Any) -> None:
    trader = open_account(1_000.0, instruments=[FREE], price=100.0, leverage=10)
    trader.buy(95.0)
    trader.flat_candle(100.0)
    assert trader.exchange.available() == pytest.approx(50.0)
    asking = trader.sell(95.0, LIMIT, price=110.0)
    assert trader.status(asking) is OrderStatus.ACKNOWLEDGED, "it only closes"
    assert trader.exchange.available() == pytest.approx(50.0)
    trader.cancel(asking)
    turned = trader.sell(190.0)
    assert trader.status(turned) is OrderStatus.ACKNOWLEDGED, "95 the other way bind the same"
    assert trader.update(trader.sell(20.0)).code == -2019


def test_open_profit_counts_as_available_in_cross_and_not_in_isolated_margin(
    open_account: Any,
) -> None:
    figures = {}
    for margin_type in MarginType:
        trader = open_account(
            1_000.0, instruments=[FREE], price=100.0, leverage=10, margin_type=margin_type
        )
        trader.buy(10.0)
        trader.flat_candle(100.0)
        trader.flat_candle(120.0)
        figures[margin_type] = trader.exchange.available()
    assert figures[MarginType.CROSS] == pytest.approx(1_000.0 + 200.0 - 120.0)
    assert figures[MarginType.ISOLATED] == pytest.approx(1_000.0 - 100.0)


def test_a_stop_entry_is_checked_for_margin_when_it_triggers(open_account: Any) -> None:
    trader = open_account(100.0, instruments=[FREE], price=100.0, leverage=10)
    entry = trader.buy(11.0, STOP, trigger_price=105.0)
    assert trader.status(entry) is OrderStatus.ACKNOWLEDGED, "no margin is bound before"
    trader.candle(100.0, 106.0, 100.0, 106.0)
    assert (trader.status(entry), trader.update(entry).code) == (OrderStatus.EXPIRED, -2019)
    assert trader.quantity == 0.0
    assert trader.resting == []


# -- liquidation --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("margin_type", "side", "expected"),
    [
        # isolated: 10,000 +- 1,000 of own margin; cross: the wallet of 5,000 stands behind it
        (MarginType.ISOLATED, Side.BUY, 9_000.0 / 0.995),
        (MarginType.ISOLATED, Side.SELL, 11_000.0 / 1.005),
        (MarginType.CROSS, Side.BUY, 5_000.0 / 0.995),
        (MarginType.CROSS, Side.SELL, 15_000.0 / 1.005),
    ],
)
def test_a_position_is_liquidated_where_its_margin_is_used_up(
    open_account: Any, margin_type: MarginType, side: Side, expected: float
) -> None:
    trader = open_account(
        5_000.0, instruments=[FREE], price=10_000.0, leverage=10, margin_type=margin_type
    )
    trader.send(side)
    trader.flat_candle(10_000.0)
    (held,) = trader.exchange.positions()
    assert held.liquidation_price == pytest.approx(expected, abs=0.1), "to the safe tick"
    long = side is Side.BUY
    assert (held.liquidation_price >= expected) is long
    near = held.liquidation_price + (0.1 if long else -0.1)
    trader.candle(10_000.0, max(near, 10_000.0), min(near, 10_000.0), near)
    assert trader.exchange.positions(), "a tick away"
    beyond = held.liquidation_price + (-50.0 if long else 50.0)
    trader.candle(near, max(near, beyond), min(near, beyond), beyond)
    assert trader.exchange.positions() == []
    fill = trader.fills()[-1]
    assert fill.client_id.startswith("autoclose-")
    assert fill.price == held.liquidation_price
    assert trader.update(fill.client_id).order.reduce_only, "the engine has never seen it before"
    expected_loss = abs(10_000.0 - held.liquidation_price)
    assert trader.exchange.balance == pytest.approx(5_000.0 - expected_loss, abs=1e-6)


def test_the_liquidation_fee_is_charged_on_what_is_closed(open_account: Any) -> None:
    instrument = Instrument("BTCUSDT", 0.1, 0.001, fee_taker=0.0, liquidation_fee=0.001)
    trader = open_account(
        5_000.0, instruments=[instrument], price=10_000.0, leverage=10,
        margin_type=MarginType.ISOLATED,
    )  # fmt: skip
    trader.buy()
    trader.flat_candle(10_000.0)
    trader.candle(10_000.0, 10_000.0, 9_000.0, 9_000.0)
    fill = trader.fills()[-1]
    assert fill.fee == pytest.approx(fill.price * 0.001, rel=1e-12)
    assert trader.exchange.balance == pytest.approx(5_000.0 - (10_000.0 - fill.price) - fill.fee)


@pytest.mark.parametrize("margin_type", list(MarginType))
def test_a_gap_beyond_bankruptcy_costs_no_more_than_the_margin(
    open_account: Any, margin_type: MarginType
) -> None:
    """The insurance fund bears the rest, and the exchange's books say how much."""
    trader = open_account(
        1_500.0, instruments=[FREE], price=10_000.0, leverage=10, margin_type=margin_type
    )
    trader.buy()
    trader.flat_candle(10_000.0)
    trader.flat_candle(8_000.0)
    assert trader.fills()[-1].price == 8_000.0
    lost = 1_000.0 if margin_type is MarginType.ISOLATED else 1_500.0
    assert trader.exchange.balance == pytest.approx(1_500.0 - lost, abs=1e-9)
    assert trader.exchange.insurance == pytest.approx(2_000.0 - lost, abs=1e-9)


def test_liquidation_goes_down_tier_by_tier_as_far_as_needed(open_account: Any) -> None:
    """100 at 10,000 are worth a million: the third tier, until a part of them is closed."""
    trader = open_account(50_000.0, instruments=[TIERED], price=10_000.0, leverage=50)
    trader.buy(100.0)
    trader.flat_candle(10_000.0)
    (held,) = trader.exchange.positions()
    # 50,000 + 100 (p - 10,000) = 100 p * 0.01 - 3,050  =>  p = 946,950 / 99
    assert held.liquidation_price == pytest.approx(946_950.0 / 99.0, abs=0.1)
    trader.candle(10_000.0, 10_000.0, 9_560.0, 9_600.0)
    (fill,) = trader.fills()[1:]
    kept = math.floor(600_000.0 / held.liquidation_price * 1_000.0) / 1_000.0
    assert fill.quantity == pytest.approx(100.0 - kept, abs=1e-9)
    (left,) = trader.exchange.positions()
    assert left.quantity == kept
    assert left.entry_price == 10_000.0
    wallet = 50_000.0 - fill.quantity * ((10_000.0 - fill.price) + fill.price * 0.001)
    assert trader.exchange.balance == pytest.approx(wallet, rel=1e-12)
    # the second tier now: wallet + kept (p - 10,000) = kept p * 0.005 - 50
    expected = (kept * 10_000.0 - wallet - 50.0) / (kept * 0.995)
    assert left.liquidation_price == pytest.approx(expected, abs=0.1)


def test_the_first_tier_ends_a_position(open_account: Any) -> None:
    trader = open_account(50_000.0, instruments=[TIERED], price=10_000.0, leverage=50)
    trader.buy(100.0)
    trader.flat_candle(10_000.0)
    trader.candle(10_000.0, 10_000.0, 5_000.0, 6_000.0)
    liquidations = trader.fills()[1:]
    assert len(liquidations) == 3, "one tier at a time"
    assert trader.exchange.positions() == []
    prices = [fill.price for fill in liquidations]
    assert prices == sorted(prices, reverse=True)
    assert trader.exchange.balance >= 0.0


def test_isolated_tiers_lose_no_more_than_their_margin_in_a_gap(open_account: Any) -> None:
    trader = open_account(
        100_000.0, instruments=[TIERED], price=10_000.0, leverage=50,
        margin_type=MarginType.ISOLATED,
    )  # fmt: skip
    trader.buy(100.0)
    trader.flat_candle(10_000.0)
    trader.flat_candle(9_000.0)
    assert trader.exchange.positions() == []
    assert trader.exchange.balance == pytest.approx(80_000.0, abs=1e-6), "20,000 were behind it"
    assert trader.exchange.insurance > 0.0


def test_close_position_orders_end_with_a_liquidation(open_account: Any) -> None:
    trader = open_account(1_500.0, instruments=[FREE], price=10_000.0, leverage=10)
    trader.buy()
    target = trader.sell(
        0.0, OrderType.TAKE_PROFIT_MARKET, trigger_price=12_000.0, close_position=True
    )
    trader.flat_candle(10_000.0)
    trader.flat_candle(8_400.0)
    assert trader.status(target) is OrderStatus.EXPIRED
    assert trader.resting == []


def test_in_cross_margin_a_quiet_fall_of_one_symbol_brings_down_the_other(
    open_account: Any,
) -> None:
    """Both positions lean on one wallet, and no single candle leaves its own band by much."""
    trader = open_account(2_000.0, instruments=two(), price=100.0, leverage=20)
    for symbol in ("BTCUSDT", "ETHUSDT"):
        trader.buy(100.0, symbol=symbol)
        trader.flat_candle(100.0, symbol=symbol)
    price = 100.0
    while trader.exchange.positions():
        price -= 0.1
        for symbol in ("BTCUSDT", "ETHUSDT"):
            trader.flat_candle(round(price, 1), symbol=symbol)
        assert price > 85.0, "never liquidated"
        if len(trader.exchange.positions()) == 2:
            maintenance = 2 * 100.0 * price * 0.005
            assert trader.exchange.equity() >= maintenance - 100.0 * 0.1 - 1e-6
    # 2,000 + 200 (p - 100) = p  =>  p = 90.45 for the first; what it leaves keeps the other
    first = next(f for f in trader.fills() if f.client_id.startswith("autoclose-"))
    assert first.price == pytest.approx(18_000.0 / 199.0, abs=0.11)
    assert trader.exchange.balance >= 0.0


def test_in_cross_margin_a_gain_elsewhere_keeps_a_loser_alive(open_account: Any) -> None:
    trader = open_account(1_000.0, instruments=two(), price=100.0, leverage=20)
    trader.buy(90.0, symbol="BTCUSDT")
    trader.sell(90.0, symbol="ETHUSDT")
    for symbol in ("BTCUSDT", "ETHUSDT"):
        trader.flat_candle(100.0, symbol=symbol)
    for step in range(1, 400):
        for symbol in ("ETHUSDT", "BTCUSDT"):
            trader.flat_candle(round(100.0 - step / 10.0, 1), symbol=symbol)
    assert len(trader.exchange.positions()) == 2, "hedged: the account has lost nothing"
    assert trader.exchange.equity() == pytest.approx(1_000.0, abs=1e-6)


def test_a_short_whose_account_is_lost_elsewhere_is_closed_at_any_price(open_account: Any) -> None:
    trader = open_account(1_000.0, instruments=two(), price=100.0, leverage=20)
    trader.buy(150.0, symbol="BTCUSDT")
    trader.sell(1.0, symbol="ETHUSDT")
    for symbol in ("BTCUSDT", "ETHUSDT"):
        trader.flat_candle(100.0, symbol=symbol)
    trader.flat_candle(50.0, symbol="BTCUSDT")
    trader.flat_candle(100.0, symbol="ETHUSDT")
    assert trader.exchange.positions() == []
    assert trader.exchange.balance == 0.0
    assert trader.exchange.insurance == pytest.approx(6_500.0, abs=1e-6)


@given(
    quantity=st.floats(0.01, 200.0) | st.floats(-200.0, -0.01),
    entry=st.floats(1_000.0, 20_000.0),
    share=st.floats(0.01, 0.9),
)
def test_at_the_liquidation_price_equity_equals_the_maintenance_margin(
    quantity: float, entry: float, share: float
) -> None:
    collateral = share * abs(quantity) * entry
    price = liquidation_price(TIERED, quantity, entry, collateral)
    equity = collateral + quantity * (price - entry)
    maintenance = TIERED.maintenance_margin(abs(quantity) * price)
    assert equity == pytest.approx(maintenance, rel=1e-9, abs=1e-6)
