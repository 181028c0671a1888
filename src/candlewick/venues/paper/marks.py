"""What the mark price does to a paper account: it triggers orders, and funding is paid at it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from candlewick.exchange import Report, SimulatedExchange
from candlewick.exchange.admission import refusal
from candlewick.exchange.book import Resting
from candlewick.exchange.rules import report_of
from candlewick.models import (
    Fill,
    Funding,
    Order,
    OrderStatus,
    OrderType,
    OrderUpdate,
    TriggerPrice,
)

__all__ = ["FundingClock", "MarkTriggers", "waits_for_mark"]

_WOULD_TRIGGER = -2021


def waits_for_mark(order: Order) -> bool:
    """True for an order that the mark price sets off; a trailing stop follows the last price."""
    return order.trigger_by is TriggerPrice.MARK and order.type in (
        OrderType.STOP_MARKET,
        OrderType.TAKE_PROFIT_MARKET,
    )


class MarkTriggers:
    """Conditional orders that wait for the mark price.

    Reached by it, one becomes a market order: it executes against the next price of the market.
    """

    def __init__(self, exchange: SimulatedExchange) -> None:
        self._exchange = exchange
        self._waiting: dict[str, Resting] = {}
        self._marks: dict[str, float] = {}
        self._numbers = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def orders(self) -> Iterator[Order]:
        """What waits, oldest first."""
        for resting in self._waiting.values():
            yield msgspec.structs.replace(
                resting.order, status=OrderStatus.ACKNOWLEDGED, venue_id=resting.venue_id
            )

    def put(self, order: Order) -> None:
        """Take over an order of an earlier run."""
        self._numbers += 1
        resting = Resting(order, self._numbers)
        resting.venue_id = order.venue_id or f"mark-{self._numbers}"
        self._waiting[order.client_id] = resting

    def submit(self, order: Order, time: int) -> list[Report]:
        """Accept an order or reject it."""
        book = self._exchange.book(order.symbol)
        reason = refusal(self._exchange, book, order)
        if reason is not None and reason[0] == _WOULD_TRIGGER:
            reason = None  # that was said of the last price
        price = self._marks.get(order.symbol, 0.0) or book.last
        if reason is None and order.client_id in self._waiting:
            reason = -4116, "ClientOrderId is duplicated."
        if reason is None and price and _is_reached(order, price):
            reason = _WOULD_TRIGGER, "Order would immediately trigger."
        if reason is not None:
            return [
                OrderUpdate(
                    order.client_id, order.symbol, OrderStatus.REJECTED, time,
                    code=reason[0], message=reason[1],
                )
            ]  # fmt: skip
        self.put(order)
        return [report_of(self._waiting[order.client_id], OrderStatus.ACKNOWLEDGED, time)]

    def cancel(self, client_id: str, time: int) -> list[Report]:
        """Take an order away; nothing when none of that name waits here."""
        resting = self._waiting.pop(client_id, None)
        return [] if resting is None else [report_of(resting, OrderStatus.CANCELED, time)]

    def marked(self, symbol: str, price: float, time: int) -> list[Report]:
        """A new mark price: what it reaches is sent to the market."""
        self._marks[symbol] = price
        reports: list[Report] = []
        for client_id, resting in list(self._waiting.items()):
            if resting.order.symbol == symbol and _is_reached(resting.order, price):
                del self._waiting[client_id]
                reports += self._trigger(resting, time)
        return reports

    def _trigger(self, resting: Resting, time: int) -> list[Report]:
        order = resting.order
        quantity, reduces = order.quantity, order.reduce_only
        if order.close_position:
            held = self._exchange.book(order.symbol).holding(order.position_side)
            quantity, reduces = abs(held.quantity), True
        sent = msgspec.structs.replace(
            order, type=OrderType.MARKET, trigger_price=0.0, quantity=quantity,
            reduce_only=reduces, close_position=False, trigger_by=TriggerPrice.LAST,
        )  # fmt: skip
        answer = self._exchange.submit(sent, time)[0]
        if isinstance(answer, OrderUpdate) and answer.status is OrderStatus.REJECTED:
            return [
                report_of(resting, OrderStatus.EXPIRED, time, answer.code, answer.message)
            ]  # fmt: skip
        return []  # its fill is told under its own name

    def expire_closers(self, reports: list[Report]) -> list[Report]:
        """Orders that close a position, whatever its size, end when it does."""
        over: list[Report] = []
        for fill in reports:
            if not isinstance(fill, Fill):
                continue
            if self._exchange.book(fill.symbol).holding(fill.position_side).quantity:
                continue
            for client_id, resting in list(self._waiting.items()):
                order = resting.order
                if order.close_position and order.symbol == fill.symbol:
                    del self._waiting[client_id]
                    over.append(report_of(resting, OrderStatus.EXPIRED, fill.time))
        return over


def _is_reached(order: Order, price: float) -> bool:
    upward = (order.type is OrderType.STOP_MARKET) is (order.side.sign > 0)
    return price >= order.trigger_price if upward else price <= order.trigger_price


class FundingClock:
    """Pays funding when the market does, at the rate and the mark price that it tells."""

    def __init__(self, exchange: SimulatedExchange) -> None:
        self._exchange = exchange
        self._told: dict[str, tuple[int, float]] = {}

    def marked(self, symbol: str, price: float, rate: float, next_funding: int) -> list[Funding]:
        """Take what a mark price tells; a payment is due when the time of the next one moves on."""
        due, last_rate = self._told.get(symbol, (0, 0.0))
        if next_funding:
            self._told[symbol] = next_funding, rate
        if not 0 < due < next_funding:
            return []
        return [
            self._exchange.pay_funding(symbol, side, price, last_rate, due)
            for side, held in self._exchange.book(symbol).holdings.items()
            if held.quantity
        ]
