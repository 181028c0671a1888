"""Auto-deleveraging: who stands where in the queue, and taking a position over."""

from __future__ import annotations

from collections.abc import Iterable

from candlewick.exchange import SimulatedExchange
from candlewick.exchange.book import SymbolBook
from candlewick.exchange.holding import Holding
from candlewick.models import PositionSide

__all__ = ["quantile"]

_STEPS = 5  # the exchange tells places in fifths, 0 to 4


def quantile(
    exchange: SimulatedExchange, everyone: Iterable[SimulatedExchange], symbol: str,
    side: PositionSide,
) -> int:  # fmt: skip
    """Where a position stands in the queue of those that go the same way: 4 is taken first.

    Whoever has gained the most with the most leverage comes first, among all accounts; 0 for no
    position.
    """
    held = exchange.book(symbol).holdings.get(side)
    if held is None or not held.quantity:
        return 0
    own = _score(exchange, exchange.book(symbol), held)
    scores = [
        _score(other, other.book(symbol), rival)
        for other in everyone
        for rival in other.book(symbol).holdings.values()
        if rival.quantity * held.quantity > 0.0
    ]
    behind = sum(score <= own for score in scores)
    return -(-_STEPS * behind // len(scores)) - 1


def _score(exchange: SimulatedExchange, book: SymbolBook, held: Holding) -> float:
    """Profit per entry value times leverage; of a loss, divided by it."""
    profit = held.unrealized(book.mark)
    backing = held.isolated_margin + profit if book.isolated else exchange.equity()
    leverage = held.notional(book.mark) / max(backing, 1e-9)
    gained = profit / held.notional(held.entry_price)
    return gained * leverage if profit > 0.0 else gained / max(leverage, 1e-9)
