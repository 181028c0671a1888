"""`Route`: where the events of one kind go, laid out for the publisher's inner loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from candlewick.bus.pending import Fifo
from candlewick.bus.reports import Overflow
from candlewick.models import Event

if TYPE_CHECKING:
    from candlewick.bus.subscription import Subscription

__all__ = ["Route"]

_UNBOUNDED = 1 << 62


class Route:
    """The subscribers of one kind of event.

    ``bounded`` are those that may refuse an event. ``direct`` are the same, with the function that
    queues an event once it is known that none of them is full. ``others`` always take it.

    ``count`` is how many events were published. None of the queues can be full before it is
    ``sure_until``: so many places are kept for this route, and need not be looked for each time.
    """

    __slots__ = ("bounded", "count", "direct", "others", "sure_until")

    def __init__(self) -> None:
        self.count = 0
        self.sure_until = 0
        self.bounded: tuple[Subscription, ...] = ()
        self.direct: tuple[tuple[Callable[[Event], None], Subscription], ...] = ()
        self.others: tuple[Subscription, ...] = ()

    def lead_to(self, subscriptions: Iterable[Subscription]) -> None:
        """Replace the subscribers; the count goes on."""
        bounded, direct, others = [], [], []
        for subscription in subscriptions:
            pending = subscription.pending
            bounds = subscription.overflow in (Overflow.BLOCK, Overflow.FAIL)
            if bounds and isinstance(pending, Fifo):
                bounded.append(subscription)
                direct.append((pending.add, subscription))
            else:
                others.append(subscription)
        self.bounded, self.direct, self.others = tuple(bounded), tuple(direct), tuple(others)

    def keep_places(self) -> None:
        """Keep half of the places that are free for the events of this route.

        The other half is for routes that lead to the same queues. Call it when there is room, and
        no place is kept any more.
        """
        free = self._free()
        if free <= 0:  # all are kept for other routes: these must ask again
            for subscription in self.bounded:
                for route in subscription.routes:
                    route.sure_until = route.count
            free = self._free()
        self.sure_until = self.count + (free + 1) // 2

    def _free(self) -> int:
        """How many places no route keeps; a huge number where nothing is bounded."""
        return min(
            (s.room - sum(r.sure_until - r.count for r in s.routes) for s in self.bounded),
            default=_UNBOUNDED,
        )

    def mark(self) -> None:
        """Let the subscribers remember when their events have come."""
        for subscription in self.bounded:
            subscription.mark()
        for subscription in self.others:
            subscription.mark()
