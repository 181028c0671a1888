"""An account that was left is taken up again, and goes on as if it had never been left."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candlewick.exchange import (
    AccountState,
    ExchangeSettings,
    MarginType,
    SimulatedExchange,
    resume,
)
from candlewick.models import Fill, Instrument, Order, OrderType, Side

SYMBOL = "BTCUSDT"
INSTRUMENTS = {SYMBOL: Instrument(SYMBOL, 0.1, 0.001)}
TYPES = (OrderType.MARKET, OrderType.LIMIT, OrderType.STOP_MARKET, OrderType.TAKE_PROFIT_MARKET)
Step = tuple[int, int, bool, bool]

steps = st.lists(
    st.tuples(st.integers(900, 1_100), st.integers(-1, 3), st.booleans(), st.booleans()),
    min_size=1, max_size=30,
)  # fmt: skip


def play(exchange: SimulatedExchange, steps: list[Step], first: int) -> list[Fill]:
    """Send an order and trade a price in each step."""
    fills = []
    for number, (tenths, kind, buys, reduces) in enumerate(steps, first):
        price = tenths / 10.0
        if kind >= 0:
            type = TYPES[kind]
            order = Order(
                f"order-{number}", SYMBOL, Side.BUY if buys else Side.SELL, type, 1.0,
                price=100.0 if type is OrderType.LIMIT else 0.0,
                trigger_price=100.0 if type.is_conditional else 0.0, reduce_only=reduces,
            )  # fmt: skip
            exchange.submit(order, number)
        fills += [r for r in exchange.tick(SYMBOL, price, number) if isinstance(r, Fill)]
    return fills


def state_of(exchange: SimulatedExchange) -> AccountState:
    return AccountState(
        exchange.balance,
        tuple(exchange.positions()),
        tuple(exchange.open_orders()),
        exchange._trades_made,
        exchange._orders_made,
    )


@given(before=steps, after=steps, margin=st.sampled_from(MarginType))
def test_it_makes_the_fills_that_it_would_have_made(
    before: list[Step], after: list[Step], margin: MarginType
) -> None:
    settings = ExchangeSettings(margin_type=margin)
    left = SimulatedExchange(INSTRUMENTS, 10_000.0, settings)
    play(left, before, 0)
    state = msgspec.convert(msgspec.to_builtins(state_of(left)), AccountState)
    taken_up = SimulatedExchange(INSTRUMENTS, 1.0, settings)
    resume(taken_up, state)
    last = before[-1][0] / 10.0
    assert [f.quantity for f in play(left, [(before[-1][0], -1, True, True)], 100)] == []
    taken_up.tick(SYMBOL, last, 100)
    expected, found = play(left, after, 101), play(taken_up, after, 101)
    assert found == expected
    assert taken_up.balance == left.balance
    assert taken_up.equity() == left.equity()
    assert taken_up.available() == pytest.approx(left.available())
    assert taken_up.positions() == left.positions()
    numbers = [fill.trade_id for fill in found]
    assert not numbers or min(numbers) > state.last_trade


def test_symbols_that_are_not_traded_any_more_are_left_out() -> None:
    exchange = SimulatedExchange(INSTRUMENTS, 1.0)
    other = Order("a", "ETHUSDT", Side.BUY, OrderType.LIMIT, 1.0, price=1.0)
    resume(exchange, AccountState(5.0, orders=(other,)))
    assert (exchange.balance, exchange.open_orders()) == (5.0, [])
