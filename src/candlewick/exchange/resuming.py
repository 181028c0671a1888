"""`AccountState`: an account as it was left, and how a simulated exchange takes it up again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from candlewick.exchange.book import AWAKE, Resting
from candlewick.models import Order, Position
from candlewick.models.members import MARKET

if TYPE_CHECKING:
    from candlewick.exchange.account import SimulatedExchange

__all__ = ["AccountState", "resume"]


class AccountState(msgspec.Struct, frozen=True):
    """What must be known of an account to go on with it.

    ``balance`` is the wallet, quote currency; ``orders`` those that rest, with the ``venue_id``
    that the exchange gave them. ``last_trade`` and ``last_order`` are the highest numbers that
    were given to fills and orders: none is given twice. ``time`` is the market time up to which all
    of it is known, UTC ms.
    """

    balance: float
    positions: tuple[Position, ...] = ()
    orders: tuple[Order, ...] = ()
    last_trade: int = 0
    last_order: int = 0
    time: int = 0


def resume(exchange: SimulatedExchange, state: AccountState) -> None:
    """Put an account that was left into an exchange on which nothing has happened yet.

    A trailing stop begins anew at the first price: how far it had come is not part of the state.
    Symbols that the exchange does not have are left out.
    """
    exchange.balance = state.balance
    exchange._trades_made = state.last_trade
    exchange._orders_made = state.last_order
    for position in state.positions:
        if not position.is_flat and position.symbol in exchange._books:
            _hold(exchange, position)
    for order in state.orders:
        if order.symbol in exchange._books:
            _rest(exchange, order)


def _hold(exchange: SimulatedExchange, position: Position) -> None:
    book = exchange.book(position.symbol)
    held = book.holding(position.side)
    held.change(position.quantity, position.entry_price, position.opened_time)
    held.realized, held.fees = position.realized, position.fees
    held.updated_time = position.updated_time
    if book.isolated:
        held.set_apart(book.leverage, 0.0)
    book.open_positions += 1
    exchange._open_positions += 1
    book.last = book.last or position.entry_price  # until the market tells another
    book.margin_changed = True
    book.lower = AWAKE


def _rest(exchange: SimulatedExchange, order: Order) -> None:
    book = exchange.book(order.symbol)
    resting = Resting(order, int(order.venue_id))
    resting.filled = order.filled
    resting.cost = order.filled * order.average_price
    if order.type is MARKET:
        book.arrivals.append(resting)
    else:
        book.resting[order.client_id] = resting
    book.lower = AWAKE
