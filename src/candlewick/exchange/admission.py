"""Which orders the simulated exchange refuses, with the codes and words of the real one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from candlewick.exchange.book import SymbolBook
from candlewick.models import Order, OrderType, Side, TimeInForce

if TYPE_CHECKING:
    from candlewick.exchange.account import SimulatedExchange

__all__ = ["refusal"]

Refusal = tuple[int, str]


def refusal(exchange: SimulatedExchange, book: SymbolBook | None, order: Order) -> Refusal | None:
    """Return the error code and message for an order, or None when it is accepted."""
    if book is None:
        return -1121, "Invalid symbol."
    client_id = order.client_id
    if client_id in book.resting or (
        book.arrivals and any(waiting.order.client_id == client_id for waiting in book.arrivals)
    ):
        return -4116, "ClientOrderId is duplicated."
    reason = _bad_price(book, order) or _bad_quantity(book, order)
    if reason is not None:
        return reason
    if order.type.is_conditional:
        return _bad_trigger(book, order)
    if order.reduce_only:
        return _nothing_to_reduce(book, order) or _post_only_takes(book, order)
    return _post_only_takes(book, order) or _no_margin(exchange, book, order)


def _bad_price(book: SymbolBook, order: Order) -> Refusal | None:
    instrument = book.instrument
    if order.type is OrderType.LIMIT and order.price <= 0.0:
        return -4013, "Price less than min price."
    if order.price and not instrument.is_price(order.price):
        return -4014, "Price not increased by tick size."
    if order.trigger_price and not instrument.is_price(order.trigger_price):
        return -4014, "Price not increased by tick size."
    return None


def _bad_quantity(book: SymbolBook, order: Order) -> Refusal | None:
    if order.close_position and order.type.is_conditional:
        return None
    instrument = book.instrument
    quantity = order.quantity
    if quantity <= 0.0 or quantity < instrument.min_quantity:
        return -4003, "Quantity less than or equal to zero." if quantity <= 0.0 else (
            "Quantity less than min quantity."
        )
    if not instrument.is_quantity(quantity):
        return -4023, "Quantity not increased by step size."
    market = order.type is not OrderType.LIMIT
    if quantity > instrument.max_quantity or (market and quantity > instrument.market_max_quantity):
        return -4005, "Quantity greater than max quantity."
    price = order.price or order.trigger_price or book.last
    if not order.reduce_only and quantity * price < instrument.min_notional and price:
        return -4164, (
            f"Order's notional must be no smaller than {instrument.min_notional:g}"
            " (unless you choose reduce only)."
        )
    return None


def _bad_trigger(book: SymbolBook, order: Order) -> Refusal | None:
    if order.type is OrderType.TRAILING_STOP_MARKET:
        if not 0.0 < order.callback_rate < 1.0:
            return -2007, "Invalid callBack rate."
        return None
    if order.trigger_price <= 0.0:
        return -4013, "Price less than min price."
    waits_above = (order.type is OrderType.STOP_MARKET) == (order.side is Side.BUY)
    reached = book.last >= order.trigger_price if waits_above else book.last <= order.trigger_price
    if book.last and reached:
        return -2021, "Order would immediately trigger."
    return None


def _nothing_to_reduce(book: SymbolBook, order: Order) -> Refusal | None:
    held = book.holdings.get(order.position_side)
    if held is None or -order.side.sign * held.quantity <= 0.0:
        return -2022, "ReduceOnly Order is rejected."
    return None


def _post_only_takes(book: SymbolBook, order: Order) -> Refusal | None:
    if order.time_in_force is not TimeInForce.GTX or not book.last:
        return None
    takes = order.price >= book.last if order.side is Side.BUY else order.price <= book.last
    if takes:
        return -5022, (
            "Due to the order could not be executed as maker, the Post Only order will be rejected."
        )
    return None


def _no_margin(exchange: SimulatedExchange, book: SymbolBook, order: Order) -> Refusal | None:
    if order.close_position:
        return None
    price = order.price or book.last
    held = book.holdings.get(order.position_side)
    closing = max(0.0, -order.side.sign * held.quantity) if held is not None else 0.0
    opening = max(0.0, order.quantity - closing)
    notional = opening * price
    needed = notional / book.leverage + notional * book.instrument.fee_taker
    if needed > exchange.available():
        return -2019, "Margin is insufficient."
    total = (abs(held.quantity) - closing if held is not None else 0.0) * price + notional
    if book.leverage > book.instrument.bracket(total).max_leverage:
        return -2027, "Exceeded the maximum allowable position at current leverage."
    return None
