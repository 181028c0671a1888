"""`Journey`: follows candles and orders on their way through the process."""

from __future__ import annotations

from collections import deque
from time import perf_counter_ns

from candlewick.models import OrderStatus, OrderUpdate
from candlewick.monitoring.histogram import LatencyHistogram

__all__ = ["Journey"]

_FOLLOWED = 10_000


class Journey:
    """Three latencies of the live path.

    ``candle_to_decision``: from the arrival of a closed candle, its wait in the queue included, to
    the engine's answer. ``decision_to_sent``: from that answer to the call that hands the order to
    the venue, the journal included. ``round_trip``: from that call to the first word of the
    exchange on the order.

    All methods belong to the event loop's thread. What is followed is bounded: an order that is
    never answered gives way to later ones.
    """

    __slots__ = (
        "_arrivals", "_decided", "_sent", "candle_to_decision", "decision_to_sent", "round_trip",
    )  # fmt: skip

    def __init__(self) -> None:
        self.candle_to_decision = LatencyHistogram()
        self.decision_to_sent = LatencyHistogram()
        self.round_trip = LatencyHistogram()
        self._arrivals: deque[int] = deque(maxlen=_FOLLOWED)
        self._decided: dict[str, int] = {}
        self._sent: dict[str, int] = {}

    def arrived(self) -> None:
        """A closed candle was published."""
        self._arrivals.append(perf_counter_ns())

    def decided(self) -> None:
        """The engine has answered to a closed candle: to the first of those that have arrived."""
        if self._arrivals:
            taken = perf_counter_ns() - self._arrivals.popleft()
            histogram = self.candle_to_decision  # written out: this is on the way of every candle
            histogram.counts[taken.bit_length()] += 1
            histogram.sum_ns += taken

    def planned(self, client_id: str) -> None:
        """The engine has decided to send an order."""
        _put(self._decided, client_id)

    def sent(self, client_id: str) -> None:
        """An order is handed to the venue now."""
        decided = self._decided.pop(client_id, 0)
        now = _put(self._sent, client_id)
        if decided:
            self.decision_to_sent.observe(now - decided)

    def withheld(self, client_id: str) -> None:
        """An order was refused at the moment of sending."""
        self._decided.pop(client_id, None)

    def answered(self, update: OrderUpdate) -> None:
        """The exchange said something about an order; that it is unknown is no answer."""
        if update.client_id in self._sent and update.status is not OrderStatus.UNKNOWN:
            sent = self._sent.pop(update.client_id)
            self.round_trip.observe(perf_counter_ns() - sent)

    @property
    def unanswered(self) -> int:
        """How many orders were sent and not answered."""
        return len(self._sent)


def _put(times: dict[str, int], client_id: str) -> int:
    if len(times) >= _FOLLOWED:
        del times[next(iter(times))]
    now = times[client_id] = perf_counter_ns()
    return now
