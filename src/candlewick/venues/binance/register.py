"""`Register`: what this process knows of its orders and of the trades that were told.

Two rules rest on it: a fill is told once, and an order is not told to have filled more than the
fills that were told add up to.
"""

from __future__ import annotations

import time
from collections import OrderedDict

from candlewick.models import Fill, Order

__all__ = ["Register", "Tracked"]

_ORDERS = 5_000  # orders and trades of so many orders are remembered


class Tracked:
    """One order of ours: when it was sent, and how much is known of it since.

    ``is_going_out`` is true from its sending to the answer, which limits and lost connections can
    hold up, and ``is_unwanted`` when it is to be cancelled after that; ``sent_at`` is a time
    (monotonic seconds) after which it has not been sent.
    """

    __slots__ = (
        "accepted", "heard", "is_final", "is_going_out", "is_unwanted", "order", "sent_at",
    )  # fmt: skip

    def __init__(self, order: Order) -> None:
        self.order = order
        self.is_going_out = False
        self.is_unwanted = False
        self.sent_at = time.monotonic()
        self.accepted = False  # the exchange has confirmed it, one way or another
        self.heard = False  # the account's stream has told of it
        self.is_final = False


class Progress:
    """The trades of one order, by the exchange's order id."""

    __slots__ = ("filled", "trades")

    def __init__(self) -> None:
        self.trades: set[int] = set()
        self.filled = 0.0


class Register:
    """Orders by client id, client ids by the exchange's order id, trades by order id."""

    def __init__(self) -> None:
        self._orders: OrderedDict[str, Tracked] = OrderedDict()
        self._client_ids: OrderedDict[int, str] = OrderedDict()
        self._progress: OrderedDict[int, Progress] = OrderedDict()

    def __len__(self) -> int:
        return len(self._orders)

    def sent(self, order: Order) -> Tracked:
        """An order is about to leave; asked for again, its record is kept."""
        tracked = self._orders.get(order.client_id)
        if tracked is None:
            tracked = self._orders[order.client_id] = Tracked(order)
            _shorten(self._orders)
        return tracked

    def get(self, client_id: str) -> Tracked | None:
        """What is known of an order of ours."""
        return self._orders.get(client_id)

    def link(self, order_id: int, client_id: str) -> None:
        """The exchange's order id belongs to this client id."""
        if order_id:
            self._client_ids[order_id] = client_id
            _shorten(self._client_ids)

    def owner(self, order_id: int, client_id: str) -> str:
        """The client id under which an order is known here.

        The order that a conditional order's trigger makes has an id of its own, and may come with
        a client id of its own.
        """
        if client_id in self._orders:
            self.link(order_id, client_id)
            return client_id
        return self._client_ids.get(order_id, client_id)

    def client_id_of(self, order_id: int) -> str | None:
        """The client id that belongs to the exchange's order id, where it is known."""
        return self._client_ids.get(order_id)

    def book(self, order_id: int, fill: Fill) -> bool:
        """Remember a trade; False when it was known."""
        progress = self._progress.get(order_id)
        if progress is None:
            progress = self._progress[order_id] = Progress()
            _shorten(self._progress)
        if fill.trade_id in progress.trades:
            return False
        progress.trades.add(fill.trade_id)
        progress.filled += fill.quantity
        return True

    def has_trade(self, order_id: int, trade_id: int) -> bool:
        """True when this trade was booked."""
        progress = self._progress.get(order_id)
        return progress is not None and trade_id in progress.trades

    def filled(self, order_id: int) -> float:
        """Sum of the trades that were booked for an order, base units."""
        progress = self._progress.get(order_id)
        return 0.0 if progress is None else progress.filled


def _shorten(
    kept: OrderedDict[str, Tracked] | OrderedDict[int, str] | OrderedDict[int, Progress],
) -> None:
    while len(kept) > _ORDERS:
        kept.popitem(last=False)
