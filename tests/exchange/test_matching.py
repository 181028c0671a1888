"""When and at what price each type of order fills; every figure here is worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from candlewick.models import Instrument, OrderStatus, OrderType, Side, TimeInForce

LIMIT = OrderType.LIMIT
STOP = OrderType.STOP_MARKET
TAKE_PROFIT = OrderType.TAKE_PROFIT_MARKET
TRAILING = OrderType.TRAILING_STOP_MARKET
ACKNOWLEDGED = OrderStatus.ACKNOWLEDGED
FILLED = OrderStatus.FILLED
EXPIRED = OrderStatus.EXPIRED


# -- market ---------------------------------------------------------------------------------------


def test_a_market_order_fills_at_the_next_open_and_not_at_the_last_close(open_account: Any) -> None:
    trader = open_account(price=100.0)
    bought = trader.buy(2.0)
    assert trader.statuses(bought) == [ACKNOWLEDGED]
    trader.candle(101.0, 105.0, 99.0, 103.0)
    fill = trader.fill(bought)
    assert (fill.price, fill.quantity, fill.maker) == (101.0, 2.0, False)
    assert fill.time == 60_000, "at the open of the second minute"
    assert fill.fee == pytest.approx(2.0 * 101.0 * 0.0005, rel=1e-12)
    assert trader.statuses(bought) == [ACKNOWLEDGED, FILLED]
    assert trader.update(bought).average_price == 101.0
    assert trader.exchange.balance == pytest.approx(100_000.0 - 0.101, abs=1e-9)
    assert trader.exchange.equity() == pytest.approx(100_000.0 - 0.101 + 2.0 * 2.0, abs=1e-9)


def test_a_market_order_before_the_first_price_fills_at_the_first_open(open_account: Any) -> None:
    trader = open_account()
    bought = trader.buy()
    trader.candle(70.0, 80.0, 60.0, 65.0)
    assert trader.fill(bought).price == 70.0


def test_a_market_order_sent_inside_a_candle_fills_at_the_price_of_that_moment(
    open_account: Any,
) -> None:
    trader = open_account(price=100.0)
    trader.buy(1.0, LIMIT, price=95.0, client_id="entry")

    def react(report: Any) -> None:
        if report.client_id == "entry" and report in trader.fills():
            trader.sell(1.0, client_id="exit")

    trader.candle(100.0, 110.0, 90.0, 105.0, react=react)
    assert trader.fill("entry").price == 95.0
    assert trader.fill("exit").price == 95.0, "the market stood at the limit price"
    assert trader.quantity == 0.0


def test_slippage_worsens_takers_to_a_whole_tick_and_spares_makers(open_account: Any) -> None:
    trader = open_account(price=100.0, slippage_bps=7.0)
    bought, sold = trader.buy(), trader.sell()
    trader.flat_candle(100.0)
    assert trader.fill(bought).price == 100.1, "100.07 up to the tick"
    assert trader.fill(sold).price == 99.9, "99.93 down to the tick"
    maker = trader.buy(1.0, LIMIT, price=99.0)
    trader.candle(100.0, 100.0, 98.0, 99.5)
    assert trader.fill(maker).price == 99.0


# -- limit ----------------------------------------------------------------------------------------


def test_a_limit_order_rests_until_the_price_comes_and_pays_the_makers_fee(
    open_account: Any,
) -> None:
    trader = open_account(price=100.0)
    bid = trader.buy(2.0, LIMIT, price=98.0)
    trader.candle(100.0, 101.0, 98.1, 99.0)
    assert trader.statuses(bid) == [ACKNOWLEDGED]
    assert trader.resting == [bid]
    trader.candle(99.0, 99.0, 98.0, 98.5)
    fill = trader.fill(bid)
    assert (fill.price, fill.maker) == (98.0, True)
    assert fill.fee == pytest.approx(2.0 * 98.0 * 0.0002, rel=1e-12)
    assert trader.resting == []


def test_a_sell_limit_waits_above(open_account: Any) -> None:
    trader = open_account(price=100.0)
    ask = trader.sell(1.0, LIMIT, price=102.0)
    trader.candle(100.0, 101.9, 99.0, 101.0)
    assert trader.status(ask) is ACKNOWLEDGED
    trader.candle(101.0, 102.0, 99.0, 100.0)
    assert trader.fill(ask).price == 102.0
    assert trader.quantity == -1.0


def test_a_resting_limit_fills_at_its_price_when_the_market_gaps_over_it(open_account: Any) -> None:
    trader = open_account(price=100.0)
    bid = trader.buy(1.0, LIMIT, price=98.0)
    trader.candle(95.0, 96.0, 94.0, 95.5)
    assert (trader.fill(bid).price, trader.fill(bid).maker) == (98.0, True)


def test_a_limit_order_that_crosses_the_market_takes_at_the_next_price_or_better(
    open_account: Any,
) -> None:
    trader = open_account(price=100.0)
    bid = trader.buy(1.0, LIMIT, price=103.0)
    trader.candle(101.0, 104.0, 100.0, 102.0)
    fill = trader.fill(bid)
    assert (fill.price, fill.maker) == (101.0, False)
    assert fill.fee == pytest.approx(101.0 * 0.0005, rel=1e-12)


def test_a_crossing_limit_rests_when_the_next_price_has_run_away(open_account: Any) -> None:
    trader = open_account(price=100.0)
    bid = trader.buy(1.0, LIMIT, price=101.0)
    trader.candle(105.0, 106.0, 104.0, 104.0)
    assert trader.resting == [bid]
    trader.candle(104.0, 104.0, 100.0, 102.0)
    assert (trader.fill(bid).price, trader.fill(bid).maker) == (101.0, True)


def test_slippage_never_takes_a_limit_order_past_its_price(open_account: Any) -> None:
    trader = open_account(price=100.0, slippage_bps=200.0)
    bid, ask = trader.buy(1.0, LIMIT, price=101.0), trader.sell(1.0, LIMIT, price=99.0)
    trader.flat_candle(100.0)
    assert trader.fill(bid).price == 101.0, "not 102"
    assert trader.fill(ask).price == 99.0, "not 98"


def test_a_limit_order_before_the_first_price_takes_or_rests_once_there_is_one(
    open_account: Any,
) -> None:
    trader = open_account()
    cheap, dear = trader.sell(1.0, LIMIT, price=60.0), trader.sell(1.0, LIMIT, price=90.0)
    trader.candle(70.0, 75.0, 65.0, 70.0)
    assert (trader.fill(cheap).price, trader.fill(cheap).maker) == (70.0, False)
    assert trader.resting == [dear]


@pytest.mark.parametrize("time_in_force", [TimeInForce.IOC, TimeInForce.FOK])
def test_ioc_and_fok_fill_at_once_or_expire(open_account: Any, time_in_force: TimeInForce) -> None:
    trader = open_account(price=100.0)
    away = trader.buy(1.0, LIMIT, price=99.0, time_in_force=time_in_force)
    assert trader.statuses(away) == [ACKNOWLEDGED, EXPIRED], "it could not trade: it never rests"
    missed = trader.buy(1.0, LIMIT, price=101.0, time_in_force=time_in_force)
    trader.flat_candle(102.0)
    assert trader.statuses(missed) == [ACKNOWLEDGED, EXPIRED], "the next price had run away"
    taken = trader.buy(1.0, LIMIT, price=103.0, time_in_force=time_in_force)
    trader.flat_candle(102.5)
    assert trader.fill(taken).price == 102.5
    assert trader.resting == []
    assert trader.exchange.fees_paid == pytest.approx(102.5 * 0.0005, rel=1e-12)


def test_post_only_is_refused_where_it_would_take_and_rests_otherwise(open_account: Any) -> None:
    trader = open_account(price=100.0)
    taking = trader.buy(1.0, LIMIT, price=100.0, time_in_force=TimeInForce.GTX)
    assert trader.update(taking).code == -5022
    resting = trader.buy(1.0, LIMIT, price=99.9, time_in_force=TimeInForce.GTX)
    trader.candle(100.0, 100.0, 99.0, 99.5)
    assert (trader.fill(resting).price, trader.fill(resting).maker) == (99.9, True)


def test_post_only_before_the_first_price_expires_when_it_would_take(open_account: Any) -> None:
    trader = open_account()
    taking = trader.buy(1.0, LIMIT, price=100.0, time_in_force=TimeInForce.GTX)
    resting = trader.buy(1.0, LIMIT, price=60.0, time_in_force=TimeInForce.GTX)
    trader.flat_candle(70.0)
    assert trader.statuses(taking) == [ACKNOWLEDGED, EXPIRED]
    assert trader.resting == [resting]


# -- stops and targets ----------------------------------------------------------------------------


def test_a_stop_fires_at_its_trigger_and_pays_the_takers_fee(open_account: Any) -> None:
    trader = open_account(price=100.0)
    trader.buy(2.0)
    stop = trader.sell(2.0, STOP, trigger_price=95.0, reduce_only=True)
    trader.candle(100.0, 101.0, 95.1, 96.0)
    assert trader.status(stop) is ACKNOWLEDGED
    trader.candle(96.0, 97.0, 94.0, 96.0)
    fill = trader.fill(stop)
    assert (fill.price, fill.maker) == (95.0, False)
    assert fill.realized == pytest.approx(2.0 * (95.0 - 100.0), abs=1e-9)
    assert fill.fee == pytest.approx(2.0 * 95.0 * 0.0005, rel=1e-12)
    assert trader.quantity == 0.0


def test_a_stop_fills_at_the_open_when_the_market_gaps_over_it(open_account: Any) -> None:
    trader = open_account(price=100.0)
    trader.buy()
    stop = trader.sell(1.0, STOP, trigger_price=95.0, reduce_only=True)
    trader.flat_candle(100.0)
    trader.candle(90.0, 96.0, 89.0, 91.0)
    assert trader.fill(stop).price == 90.0, "no better than the first price after the gap"
    assert trader.fill(stop).time == 120_000, "at the open"


def test_a_stop_entry_buys_a_breakout(open_account: Any) -> None:
    trader = open_account(price=100.0, slippage_bps=10.0)
    entry = trader.buy(1.0, STOP, trigger_price=105.0)
    trader.candle(100.0, 104.9, 99.0, 104.0)
    assert trader.quantity == 0.0
    trader.candle(104.0, 107.0, 103.0, 106.0)
    assert trader.fill(entry).price == 105.2, "105.105 up to the tick"


def test_a_take_profit_fires_at_its_trigger(open_account: Any) -> None:
    trader = open_account(price=100.0)
    trader.sell(1.0)
    target = trader.buy(1.0, TAKE_PROFIT, trigger_price=90.0, reduce_only=True)
    trader.candle(100.0, 101.0, 90.1, 95.0)
    assert trader.status(target) is ACKNOWLEDGED
    trader.candle(95.0, 96.0, 90.0, 92.0)
    assert trader.fill(target).price == 90.0
    assert trader.fill(target).realized == pytest.approx(10.0, abs=1e-9)


def test_a_take_profit_gets_the_better_price_after_a_gap(open_account: Any) -> None:
    trader = open_account(price=100.0)
    trader.buy()
    target = trader.sell(1.0, TAKE_PROFIT, trigger_price=110.0, reduce_only=True)
    trader.flat_candle(100.0)
    trader.flat_candle(115.0)
    assert trader.fill(target).price == 115.0


def test_a_trailing_stop_follows_and_fires_at_its_distance(open_account: Any) -> None:
    trader = open_account(price=100.0)
    trader.buy()
    trailing = trader.sell(1.0, TRAILING, callback_rate=0.1, reduce_only=True)
    trader.candle(100.0, 110.0, 95.0, 110.0)
    assert trader.status(trailing) is ACKNOWLEDGED, "95 was above 90, and the close is the best"
    trader.candle(110.0, 120.0, 109.0, 120.0)
    trader.candle(118.0, 119.0, 108.0, 112.0)
    assert trader.fill(trailing).price == pytest.approx(108.0, abs=1e-9), "a tenth below 120"


def test_a_trailing_stop_of_a_short_position_follows_downward(open_account: Any) -> None:
    trader = open_account(price=100.0)
    trader.sell()
    trailing = trader.buy(1.0, TRAILING, callback_rate=0.05, reduce_only=True)
    trader.candle(100.0, 100.0, 80.0, 80.0)
    trader.candle(80.0, 84.1, 80.0, 84.0)
    assert trader.fill(trailing).price == pytest.approx(84.0, abs=1e-9), "a twentieth above 80"


def test_a_trailing_stop_fires_in_the_candle_that_made_its_best_price(open_account: Any) -> None:
    trader = open_account(price=100.0)
    trader.buy()
    trailing = trader.sell(1.0, TRAILING, callback_rate=0.1, reduce_only=True)
    trader.candle(100.0, 120.0, 100.0, 105.0)
    assert trader.fill(trailing).price == pytest.approx(108.0, abs=1e-9), "from 120 down to 105"


@pytest.mark.parametrize(
    ("side", "activation", "path", "expected"),
    [
        (
            Side.SELL,
            110.0,
            [(100, 109, 85, 105), (105, 112, 105, 112), (112, 112, 100, 101)],
            106.4,
        ),
        (Side.BUY, 90.0, [(100, 115, 91, 95), (95, 95, 88, 88), (88, 100, 88, 99)], 92.4),
    ],
)
def test_a_trailing_stop_sleeps_until_its_activation_price(
    open_account: Any, side: Side, activation: float, path: list[Any], expected: float
) -> None:
    trader = open_account(price=100.0)
    trader.send(side.opposite)
    trailing = trader.send(
        side, 1.0, TRAILING, callback_rate=0.05, trigger_price=activation, reduce_only=True
    )
    trader.candle(*map(float, path[0]))
    assert trader.status(trailing) is ACKNOWLEDGED, "not active yet, wherever the price goes"
    trader.candle(*map(float, path[1]))
    trader.candle(*map(float, path[2]))
    assert trader.fill(trailing).price == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("side", list(Side))
def test_a_trailing_stop_sent_before_the_first_price_follows_from_it(
    open_account: Any, side: Side
) -> None:
    trader = open_account()
    trader.send(side.opposite)
    trailing = trader.send(side, 1.0, TRAILING, callback_rate=0.1)
    trader.flat_candle(100.0)
    low, high = (90.0, 100.0) if side is Side.SELL else (100.0, 110.0)
    trader.candle(100.0, high, low, low if side is Side.SELL else high)
    assert trader.fill(trailing).price == pytest.approx(
        90.0 if side is Side.SELL else 110.0, abs=1e-9
    )


# -- orders that only reduce ----------------------------------------------------------------------


def test_a_reduce_only_order_trades_no_more_than_is_held(open_account: Any) -> None:
    trader = open_account(price=100.0)
    trader.buy(1.0)
    trader.flat_candle(100.0)
    exit_ = trader.sell(3.0, reduce_only=True)
    trader.flat_candle(101.0)
    assert trader.fill(exit_).quantity == 1.0
    assert trader.quantity == 0.0


def test_a_reduce_only_stop_expires_when_there_is_nothing_left(open_account: Any) -> None:
    trader = open_account(price=100.0)
    trader.buy(1.0)
    stop = trader.sell(1.0, STOP, trigger_price=95.0, reduce_only=True)
    trader.flat_candle(100.0)
    trader.sell(1.0, reduce_only=True)
    trader.flat_candle(100.0)
    assert trader.resting == [stop], "it rests on, as at the exchange; its owner cancels it"
    trader.candle(100.0, 100.0, 90.0, 92.0)
    assert trader.statuses(stop) == [ACKNOWLEDGED, EXPIRED]
    assert trader.quantity == 0.0


def test_of_two_reduce_only_exits_at_the_open_the_second_expires(open_account: Any) -> None:
    trader = open_account(price=100.0)
    trader.buy(1.0)
    trader.flat_candle(100.0)
    first, second = trader.sell(1.0, reduce_only=True), trader.sell(1.0, reduce_only=True)
    trader.flat_candle(100.0)
    assert trader.status(first) is FILLED
    assert trader.status(second) is EXPIRED
    assert trader.quantity == 0.0


def test_a_close_position_stop_closes_whatever_is_held_and_ends_with_it(open_account: Any) -> None:
    trader = open_account(price=100.0)
    trader.buy(1.0)
    stop = trader.sell(0.0, STOP, trigger_price=95.0, close_position=True)
    target = trader.sell(0.0, TAKE_PROFIT, trigger_price=110.0, close_position=True)
    trader.flat_candle(100.0)
    trader.buy(1.5)
    trader.flat_candle(100.0)
    trader.candle(100.0, 100.0, 94.0, 96.0)
    assert trader.fill(stop).quantity == 2.5
    assert trader.status(target) is EXPIRED
    assert trader.resting == []


def test_a_market_order_through_zero_closes_and_opens(open_account: Any) -> None:
    trader = open_account(price=100.0)
    trader.buy(1.0)
    trader.flat_candle(100.0)
    turned = trader.sell(3.0)
    trader.flat_candle(110.0)
    assert trader.fill(turned).realized == pytest.approx(10.0, abs=1e-9)
    (held,) = trader.exchange.positions()
    assert (held.quantity, held.entry_price, held.opened_time) == (-2.0, 110.0, 120_000)


def test_the_entry_price_is_the_average_of_what_was_added(open_account: Any) -> None:
    trader = open_account(price=100.0)
    trader.buy(1.0)
    trader.flat_candle(100.0)
    trader.buy(3.0)
    trader.flat_candle(120.0)
    trader.sell(2.0)
    trader.flat_candle(130.0)
    (held,) = trader.exchange.positions()
    assert held.entry_price == pytest.approx(115.0, rel=1e-12), "a reduction does not move it"
    assert held.quantity == 2.0
    assert held.realized == pytest.approx(30.0, rel=1e-12)


# -- cancels, partial fills -----------------------------------------------------------------------


def test_a_cancel_takes_an_order_off_the_book_once(open_account: Any) -> None:
    trader = open_account(price=100.0)
    bid = trader.buy(1.0, LIMIT, price=95.0)
    assert trader.cancel(bid).status is OrderStatus.CANCELED
    again = trader.cancel(bid)
    assert (again.status, again.code) == (OrderStatus.REJECTED, -2011)
    trader.candle(100.0, 100.0, 90.0, 92.0)
    assert trader.fills() == []


def test_a_market_order_can_be_cancelled_until_the_next_price(open_account: Any) -> None:
    trader = open_account(price=100.0)
    bought = trader.buy()
    assert trader.cancel(bought).status is OrderStatus.CANCELED
    trader.flat_candle(100.0)
    assert trader.fills() == []
    assert trader.cancel(bought).code == -2011


def test_fill_parts_split_a_fill_into_trades_whose_sum_is_exact(open_account: Any) -> None:
    trader = open_account(price=100.0, fill_parts=3)
    bought = trader.buy(1.0)
    trader.flat_candle(100.0)
    fills = trader.fills(bought)
    assert [fill.quantity for fill in fills] == [0.333, 0.333, 0.334]
    assert len({fill.trade_id for fill in fills}) == 3
    assert trader.statuses(bought) == [
        ACKNOWLEDGED, OrderStatus.PARTIALLY_FILLED, OrderStatus.PARTIALLY_FILLED, FILLED,
    ]  # fmt: skip
    assert [update.filled for update in trader.updates(bought)] == [0.0, 0.333, 0.666, 1.0]
    assert sum(fill.fee for fill in fills) == pytest.approx(100.0 * 0.0005, rel=1e-12)


def test_a_quantity_too_small_to_split_fills_in_one_trade(open_account: Any) -> None:
    trader = open_account(price=10_000.0, fill_parts=5)
    bought = trader.buy(0.003)
    trader.flat_candle(10_000.0)
    assert [fill.quantity for fill in trader.fills(bought)] == [0.003]


def test_a_maker_rebate_is_a_negative_fee(open_account: Any) -> None:
    instrument = Instrument("BTCUSDT", 0.1, 0.001, fee_maker=-0.0001)
    trader = open_account(price=100.0, instruments=[instrument])
    bid = trader.buy(1.0, LIMIT, price=99.0)
    trader.candle(100.0, 100.0, 98.0, 99.0)
    assert trader.fill(bid).fee == pytest.approx(-0.0099, rel=1e-12)
    assert trader.exchange.balance == pytest.approx(100_000.0099, abs=1e-9)


def test_ticks_move_the_market_like_candles_of_one_price(open_account: Any) -> None:
    trader = open_account()
    exchange = trader.exchange
    exchange.tick("BTCUSDT", 100.0, 1_000)
    bought = trader.buy()
    reports = exchange.tick("BTCUSDT", 100.5, 2_000)
    assert [getattr(report, "price", None) for report in reports] == [100.5, None]
    assert exchange.open_orders() == []
    stop = trader.sell(1.0, STOP, trigger_price=99.0, reduce_only=True)
    assert exchange.tick("BTCUSDT", 99.1, 3_000) == []
    (fill, update) = exchange.tick("BTCUSDT", 98.7, 4_000)
    assert (fill.client_id, fill.price, fill.time) == (stop, 98.7, 4_000)
    assert update.status is FILLED
    assert trader.quantity == 0.0
    assert bought != stop
