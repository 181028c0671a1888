"""Which orders are refused, and with which of the exchange's codes."""

from __future__ import annotations

from typing import Any

import pytest

from candlewick.errors import ConfigError, ValidationError
from candlewick.exchange import ExchangeSettings
from candlewick.models import Instrument, MarginBracket, OrderStatus, OrderType, Side

LIMIT = OrderType.LIMIT
STOP = OrderType.STOP_MARKET
TAKE_PROFIT = OrderType.TAKE_PROFIT_MARKET
TRAILING = OrderType.TRAILING_STOP_MARKET

INSTRUMENT = Instrument(
    "BTCUSDT", 0.1, 0.001, min_quantity=0.002, max_quantity=50.0, market_max_quantity=20.0,
    min_notional=5.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("code", "side", "quantity", "type", "fields"),
    [
        (-4013, Side.BUY, 1.0, LIMIT, {}),
        (-4013, Side.BUY, 1.0, LIMIT, {"price": -1.0}),
        (-4014, Side.BUY, 1.0, LIMIT, {"price": 99.95}),
        (-4014, Side.SELL, 1.0, STOP, {"trigger_price": 90.05}),
        (-4013, Side.SELL, 1.0, STOP, {}),
        (-4003, Side.BUY, 0.0, OrderType.MARKET, {}),
        (-4003, Side.BUY, -1.0, OrderType.MARKET, {}),
        (-4004, Side.BUY, 0.001, OrderType.MARKET, {}),
        (-4023, Side.BUY, 0.0105, LIMIT, {"price": 99.0}),
        (-4005, Side.BUY, 20.001, OrderType.MARKET, {}),
        (-4005, Side.SELL, 20.001, STOP, {"trigger_price": 90.0}),
        (-4005, Side.BUY, 50.001, LIMIT, {"price": 99.0}),
        (-4164, Side.BUY, 0.049, OrderType.MARKET, {}),
        (-4164, Side.BUY, 0.05, LIMIT, {"price": 99.0}),
        (-2021, Side.SELL, 1.0, STOP, {"trigger_price": 100.0}),
        (-2021, Side.BUY, 1.0, STOP, {"trigger_price": 99.0}),
        (-2021, Side.SELL, 1.0, TAKE_PROFIT, {"trigger_price": 99.0}),
        (-2021, Side.BUY, 1.0, TAKE_PROFIT, {"trigger_price": 100.0}),
        (-2007, Side.SELL, 1.0, TRAILING, {}),
        (-2007, Side.SELL, 1.0, TRAILING, {"callback_rate": 1.0}),
        (-2021, Side.SELL, 1.0, TRAILING, {"callback_rate": 0.01, "trigger_price": 100.0}),
        (-2021, Side.BUY, 1.0, TRAILING, {"callback_rate": 0.01, "trigger_price": 101.0}),
        (-2022, Side.SELL, 1.0, OrderType.MARKET, {"reduce_only": True}),
        (-2022, Side.SELL, 1.0, LIMIT, {"price": 101.0, "reduce_only": True}),
        (-2019, Side.BUY, 20.0, OrderType.MARKET, {}),
    ],
)
def test_an_order_is_refused_with_the_exchanges_code(
    open_account: Any, code: int, side: Side, quantity: float, type: OrderType, fields: Any
) -> None:
    trader = open_account(200.0, instruments=[INSTRUMENT], price=100.0, leverage=10)
    refused = trader.send(side, quantity, type, **fields)
    update = trader.update(refused)
    assert (update.status, update.code) == (OrderStatus.REJECTED, code)
    assert update.message
    assert trader.exchange.open_orders() == []


def test_an_unknown_symbol_is_refused(open_account: Any) -> None:
    trader = open_account(price=100.0)
    assert trader.update(trader.buy(symbol="DOGE")).code == -1121
    with pytest.raises(ValidationError, match="no symbol 'DOGE'"):
        trader.exchange.book("DOGE")


def test_a_client_id_that_is_open_is_refused_and_one_that_is_over_is_not(open_account: Any) -> None:
    trader = open_account(price=100.0)
    trader.buy(1.0, LIMIT, price=90.0, client_id="same")
    trader.buy(1.0, client_id="market")
    assert trader.update(trader.buy(client_id="same")).code == -4116
    assert trader.update(trader.buy(client_id="market")).code == -4116
    trader.cancel("same")
    trader.buy(1.0, LIMIT, price=90.0, client_id="same")
    assert trader.status("same") is OrderStatus.ACKNOWLEDGED


def test_a_reduce_only_order_is_exempt_from_the_minimum_notional(open_account: Any) -> None:
    trader = open_account(instruments=[INSTRUMENT], price=100.0)
    trader.buy(1.0)
    trader.flat_candle(100.0)
    small = trader.sell(0.01, reduce_only=True)
    trader.flat_candle(100.0)
    assert trader.status(small) is OrderStatus.FILLED


def test_the_position_limit_of_a_leverage_is_kept(open_account: Any) -> None:
    brackets = (
        MarginBracket(0.0, 10_000.0, 0.01, 0.0, 50),
        MarginBracket(10_000.0, 1e12, 0.05, 400.0, 10),
    )
    instrument = Instrument("BTCUSDT", 0.1, 0.001, brackets=brackets)
    trader = open_account(instruments=[instrument], price=100.0, leverage=20)
    trader.buy(99.0)
    trader.flat_candle(100.0)
    assert trader.quantity == 99.0
    assert trader.update(trader.buy(1.0)).code == -2027
    trader.flat_candle(100.0)
    turned = trader.sell(198.0)
    assert trader.status(turned) is OrderStatus.ACKNOWLEDGED, "99 on the other side is allowed"


@pytest.mark.parametrize(
    "settings",
    [
        {"slippage_bps": -1.0},
        {"slippage_bps": 1_000.0},
        {"leverage": 0},
        {"leverage": 126},
        {"funding_rate": 0.06},
        {"funding_interval_h": 0},
        {"fill_parts": 0},
    ],
)
def test_impossible_settings_are_refused_by_name(settings: dict[str, Any]) -> None:
    (name,) = settings
    with pytest.raises(ConfigError, match=name):
        ExchangeSettings(**settings)
