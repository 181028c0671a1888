"""A trader at the simulated exchange: sends orders, moves the market, keeps what is reported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from candlewick.exchange import ExchangeSettings, Report, SimulatedExchange
from candlewick.models import (
    Candle,
    Fill,
    Funding,
    Instrument,
    Order,
    OrderStatus,
    OrderType,
    OrderUpdate,
    Side,
)

SYMBOL = "BTCUSDT"
MINUTE = 60_000

React = Callable[[Report], object]


class Trader:
    """One account, with everything that the exchange has reported to it so far."""

    def __init__(self, exchange: SimulatedExchange) -> None:
        self.exchange = exchange
        self.start = exchange.balance
        self.reports: list[Report] = []
        self.orders = 0
        self.now = 0

    # -- the market ------------------------------------------------------------------------------

    def candle(
        self,
        open: float,
        high: float,
        low: float,
        close: float,
        *,
        symbol: str = SYMBOL,
        react: React | None = None,
    ) -> list[Report]:
        """Move the market through the next minute; ``react`` is called with each report."""
        candle = Candle(
            symbol, "1m", self.now, open, high, low, close, 1.0, self.now + MINUTE - 1, True
        )
        told: list[Report] = []
        while step := self.exchange.advance(candle):
            told += step
            self.reports += step
            for report in step if react else ():
                react(report)
        self.now += MINUTE
        return told

    def flat_candle(self, price: float, **options: Any) -> list[Report]:
        """A minute in which the price does not move."""
        return self.candle(price, price, price, price, **options)

    # -- orders ----------------------------------------------------------------------------------

    def send(
        self,
        side: Side,
        quantity: float = 1.0,
        type: OrderType = OrderType.MARKET,
        *,
        client_id: str = "",
        symbol: str = SYMBOL,
        **fields: Any,
    ) -> str:
        """Send an order; returns its client id."""
        self.orders += 1
        order = Order(client_id or f"o{self.orders}", symbol, side, type, quantity, **fields)
        self.reports += self.exchange.submit(order, self.now)
        return order.client_id

    def buy(self, quantity: float = 1.0, type: OrderType = OrderType.MARKET, **fields: Any) -> str:
        return self.send(Side.BUY, quantity, type, **fields)

    def sell(self, quantity: float = 1.0, type: OrderType = OrderType.MARKET, **fields: Any) -> str:
        return self.send(Side.SELL, quantity, type, **fields)

    def cancel(self, client_id: str, symbol: str = SYMBOL) -> OrderUpdate:
        (update,) = self.exchange.cancel(client_id, symbol, self.now)
        self.reports.append(update)
        return update

    # -- what was reported -----------------------------------------------------------------------

    def updates(self, client_id: str) -> list[OrderUpdate]:
        return [r for r in self.reports if isinstance(r, OrderUpdate) and r.client_id == client_id]

    def update(self, client_id: str) -> OrderUpdate:
        return self.updates(client_id)[-1]

    def statuses(self, client_id: str) -> list[OrderStatus]:
        return [update.status for update in self.updates(client_id)]

    def status(self, client_id: str) -> OrderStatus:
        return self.update(client_id).status

    def fills(self, client_id: str = "") -> list[Fill]:
        fills = [report for report in self.reports if isinstance(report, Fill)]
        return [fill for fill in fills if not client_id or fill.client_id == client_id]

    def fill(self, client_id: str) -> Fill:
        """The only fill of an order."""
        (fill,) = self.fills(client_id)
        return fill

    def funding(self) -> list[Funding]:
        return [report for report in self.reports if isinstance(report, Funding)]

    @property
    def quantity(self) -> float:
        """What is held of the symbol, signed."""
        return sum(p.quantity for p in self.exchange.positions() if p.symbol == SYMBOL)

    @property
    def resting(self) -> list[str]:
        return [order.client_id for order in self.exchange.open_orders()]


OpenAccount = Callable[..., Trader]


@pytest.fixture
def open_account() -> OpenAccount:
    """Opens an account; keyword arguments go to the settings, ``instrument`` changes the units."""

    def open_(
        balance: float = 100_000.0,
        *,
        instruments: Sequence[Instrument] = (),
        price: float = 0.0,
        funding: Mapping[str, Sequence[tuple[int, float]]] | None = None,
        **settings: Any,
    ) -> Trader:
        listed = instruments or (Instrument(SYMBOL, 0.1, 0.001, min_quantity=0.001),)
        exchange = SimulatedExchange(
            {item.symbol: item for item in listed}, balance, ExchangeSettings(**settings), funding
        )
        trader = Trader(exchange)
        if price:
            for item in listed:
                trader.flat_candle(price, symbol=item.symbol)
        return trader

    return open_
