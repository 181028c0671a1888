"""Which orders the simulated exchange refuses, with the codes and words of the real one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from candlewick.exchange.book import SymbolBook
from candlewick.exchange.margin import initial_margin
from candlewick.exchange.rules import Refusal, reduces, takes
from candlewick.models import Order
from candlewick.models.members import (
    BOTH,
    BUY,
    GTX,
    LIMIT,
    MARK,
    MARKET,
    STOP_MARKET,
    TRAILING_STOP_MARKET,
)

if TYPE_CHECKING:
    from candlewick.exchange.account import SimulatedExchange

__all__ = ["lacks_margin", "refusal"]


def refusal(exchange: SimulatedExchange, book: SymbolBook | None, order: Order) -> Refusal | None:
    """Return the error code and message for an order, or None when it is accepted.

    Rules that cannot concern an order, as those of prices a market order, are passed over.
    """
    if book is None:
        return -1121, "Invalid symbol."
    if (order.position_side is BOTH) is exchange.settings.hedge_mode:
        return -4061, "Order's position side does not match user's setting."
    client_id = order.client_id
    if client_id in book.resting or (
        book.arrivals and any(waiting.order.client_id == client_id for waiting in book.arrivals)
    ):
        return -4116, "ClientOrderId is duplicated."
    type = order.type
    if type is not MARKET or order.price or order.trigger_price:
        reason = _bad_price(book, order)
        if reason is not None:
            return reason
    reduced = order.reduce_only or reduces(order)
    reason = _bad_quantity(book, order, reduced)
    if reason is not None:
        return reason
    if type.is_conditional:
        return _bad_trigger(book, order)
    reason = _nothing_to_reduce(book, order) if reduced else lacks_margin(exchange, book, order)
    if reason is None and order.time_in_force is GTX:
        return _post_only_takes(book, order)
    return reason


def _bad_price(book: SymbolBook, order: Order) -> Refusal | None:
    if order.type is LIMIT and order.price <= 0.0:
        return -4013, "Price less than min price."
    is_price = book.instrument.is_price
    if (order.price and not is_price(order.price)) or (
        order.trigger_price and not is_price(order.trigger_price)
    ):
        return -4014, "Price not increased by tick size."
    return None


def _bad_quantity(book: SymbolBook, order: Order, reduced: bool) -> Refusal | None:
    if order.close_position and order.type.is_conditional:
        return None
    instrument = book.instrument
    quantity = order.quantity
    if not quantity > 0.0:
        return -4003, "Quantity less than or equal to zero."
    if quantity < instrument.min_quantity:
        return -4004, "Quantity less than min quantity."
    if not instrument.is_quantity(quantity):
        return -4023, "Quantity not increased by step size."
    if quantity > instrument.max_quantity or (
        quantity > instrument.market_max_quantity and order.type is not LIMIT
    ):
        return -4005, "Quantity greater than max quantity."
    if reduced:
        return None
    price = order.price or order.trigger_price or book.last
    if quantity * price < instrument.min_notional and price:
        return -4164, (
            f"Order's notional must be no smaller than {instrument.min_notional:g}"
            " (unless you choose reduce only)."
        )
    return None


def _bad_trigger(book: SymbolBook, order: Order) -> Refusal | None:
    if order.type is TRAILING_STOP_MARKET:
        if not 0.0 < order.callback_rate < 1.0:
            return -2007, "Invalid callBack rate."
        return _activates_at_once(book, order)
    trigger, last = order.trigger_price, book.mark if order.trigger_by is MARK else book.last
    if trigger <= 0.0:
        return -4013, "Price less than min price."
    waits_above = (order.type is STOP_MARKET) is (order.side is BUY)
    if last and (last >= trigger if waits_above else last <= trigger):
        return -2021, "Order would immediately trigger."
    return None


def _activates_at_once(book: SymbolBook, order: Order) -> Refusal | None:
    """A trailing stop begins at a better price than the present one, or without naming any."""
    present = book.mark if order.trigger_by is MARK else book.last
    if not order.trigger_price or not present:
        return None
    if order.side.sign * (order.trigger_price - present) >= 0.0:
        return -2021, "Order would immediately trigger."
    return None


def _nothing_to_reduce(book: SymbolBook, order: Order) -> Refusal | None:
    held = book.holdings.get(order.position_side)
    if held is None or order.side.sign * held.quantity >= 0.0:
        return -2022, "ReduceOnly Order is rejected."
    return None


def _post_only_takes(book: SymbolBook, order: Order) -> Refusal | None:
    if book.last and takes(order, book.last):
        return -5022, (
            "Due to the order could not be executed as maker, the Post Only order will be rejected."
        )
    return None


def lacks_margin(exchange: SimulatedExchange, book: SymbolBook, order: Order) -> Refusal | None:
    """Say what forbids an order that opens: too little margin, or the leverage's position limit."""
    needed = initial_margin(book, order) - initial_margin(book)
    fee = needed * book.leverage * book.instrument.fee_taker
    if needed > 0.0 and needed + fee > exchange.available():
        return -2019, "Margin is insufficient."
    price = order.price or book.last
    held = book.holdings.get(order.position_side)
    after = order.quantity + (order.side.sign * held.quantity if held is not None else 0.0)
    if book.leverage > book.instrument.bracket(abs(after) * price).max_leverage:
        return -2027, "Exceeded the maximum allowable position at current leverage."
    return None
