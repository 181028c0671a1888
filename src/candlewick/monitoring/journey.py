"""`Journey`: follows candles and orders on their way through the process."""

from __future__ import annotations

from time import perf_counter_ns

from candlewick.models import Event, OrderStatus, OrderUpdate
from candlewick.monitoring.histogram import LatencyHistogram

__all__ = ["Journey"]

_TIMED = 64
_FOLLOWED = 10_000


class Journey:
    """Four latencies of the live path.

    ``candle_to_decision``: from the arrival of a closed candle, its wait in the queue included, to
    the engine's answer. ``decision_to_sent``: from that answer to the call that hands the order to
    the venue, the journal included. ``round_trip``: from that call to the first word of the
    exchange on the order. ``protected``: from the arrival of a fill to the exchange's word that a
    stop covers the position; where the position was closed instead, it counts in ``closed``. Every
    such wait is timed.

    At most 64 candles and 64 orders are timed between two calls of `refill`, which comes ten times
    a second: all that a market brings in real time, and a sample of what a replay at full speed
    does. All methods belong to the event loop's thread. What is followed is bounded: an order that
    is never answered gives way to later ones.
    """

    __slots__ = (
        "_arrived", "_candles", "_decided", "_filled", "_orders", "_sent", "_waiting",
        "candle_to_decision", "closed", "decision_to_sent", "protected", "round_trip",
    )  # fmt: skip

    def __init__(self) -> None:
        self.candle_to_decision = LatencyHistogram()
        self.decision_to_sent = LatencyHistogram()
        self.round_trip = LatencyHistogram()
        self._arrived: dict[int, int] = {}  # by the identity of the event, which is queued
        self._decided: dict[str, int] = {}  # by client id, as the next
        self._sent: dict[str, int] = {}
        self._filled: dict[str, int] = {}  # by symbol: the first fill that waits for a stop
        self._waiting: set[str] = set()
        self.protected = LatencyHistogram()
        self.closed = LatencyHistogram()
        self._candles = self._orders = _TIMED

    def refill(self) -> None:
        """Allow the next candles and orders to be timed."""
        self._candles = self._orders = _TIMED

    def arrived(self, event: Event) -> None:
        """A closed candle was published."""
        if self._candles:
            self._candles -= 1
            self._arrived[id(event)] = perf_counter_ns()

    def decided(self, event: Event) -> None:
        """The engine has answered to a closed candle."""
        if self._arrived:
            arrived = self._arrived.pop(id(event), 0)
            if arrived:
                self.candle_to_decision.observe(perf_counter_ns() - arrived)

    def planned(self, client_id: str) -> None:
        """The engine has decided to send an order."""
        if self._orders:
            self._orders -= 1
            _put(self._decided, client_id)

    def sent(self, client_id: str) -> None:
        """An order is handed to the venue now."""
        decided = self._decided.pop(client_id, 0)
        if decided:
            self.decision_to_sent.observe(_put(self._sent, client_id) - decided)

    def withheld(self, client_id: str) -> None:
        """An order was refused at the moment of sending."""
        self._decided.pop(client_id, None)

    def answered(self, update: OrderUpdate) -> None:
        """The exchange said something about an order; that it is unknown is no answer."""
        if update.client_id in self._sent and update.status is not OrderStatus.UNKNOWN:
            self.round_trip.observe(perf_counter_ns() - self._sent.pop(update.client_id))

    def filled(self, symbol: str) -> None:
        """A fill has arrived."""
        if symbol not in self._filled:
            self._filled[symbol] = perf_counter_ns()

    def protection(self, symbol: str, *, waits: bool, is_flat: bool) -> None:
        """The engine has taken an event: say whether a fill of the symbol waits for its stop."""
        if waits:
            self.filled(symbol)  # where the account's answer brought it before the stream
            self._waiting.add(symbol)
            return
        since = self._filled.pop(symbol, 0)
        if symbol in self._waiting:
            self._waiting.discard(symbol)
            found = self.closed if is_flat else self.protected
            found.observe(perf_counter_ns() - since)

    @property
    def unanswered(self) -> int:
        """How many of the orders that are followed were sent and not answered."""
        return len(self._sent)


def _put(times: dict[str, int], client_id: str) -> int:
    if len(times) >= _FOLLOWED:
        del times[next(iter(times))]
    now = times[client_id] = perf_counter_ns()
    return now
