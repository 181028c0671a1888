"""`SimulatedVenue`: the simulated exchange behind the interface of a real one, in this process."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from candlewick.exchange import Report, SimulatedExchange
from candlewick.models import (
    AccountSnapshot,
    Candle,
    Event,
    EventKind,
    Fill,
    Instrument,
    Order,
    OrderStatus,
    OrderUpdate,
    TriggerPrice,
)
from candlewick.venues.base import Publish

__all__ = ["SimulatedVenue"]

_FILLS_KEPT = 1_000  # what a real exchange gives in one answer


class SimulatedVenue:
    """One account on a `SimulatedExchange`; its caller moves the market.

    `advance` goes through a candle step by step and publishes what happens, so that the engine
    reacts in the middle of a candle exactly as it does in a backtest.
    """

    name = "simulated"

    def __init__(self, exchange: SimulatedExchange, instruments: Mapping[str, Instrument]) -> None:
        self.exchange = exchange
        self._instruments = dict(instruments)
        self._publish: Publish | None = None
        self._fills: deque[Fill] = deque(maxlen=_FILLS_KEPT)
        self._now = 0

    async def connect(self, publish: Publish, symbols: Sequence[str], interval: str) -> None:
        """Take the publisher; there is nothing else to connect to."""
        self._publish = publish

    async def instruments(self, symbols: Sequence[str]) -> Mapping[str, Instrument]:
        """Return the instruments the venue was made with."""
        return {symbol: self._instruments[symbol] for symbol in symbols}

    async def submit(self, order: Order) -> None:
        """Send an order; the answer is published."""
        self._tell(self.exchange.submit(order, order.created_time))

    async def cancel(self, order: Order, time: int) -> None:
        """Cancel an order; the answer is published."""
        self._tell(self.exchange.cancel(order.client_id, order.symbol, time))

    async def query(self, order: Order) -> OrderUpdate | None:
        """Return what rests under the order's client id; None when nothing does."""
        for resting in self.exchange.open_orders(order.symbol):
            if resting.client_id == order.client_id:
                return OrderUpdate(
                    order.client_id, order.symbol, OrderStatus.ACKNOWLEDGED, self._now,
                    resting.venue_id, resting.filled, resting.average_price,
                )  # fmt: skip
        return None

    async def snapshot(self, since: int = 0) -> AccountSnapshot:
        """Return the account as it is now."""
        return AccountSnapshot(
            self._now,
            self.exchange.balance,
            tuple(self.exchange.positions()),
            tuple(self.exchange.open_orders()),
            tuple(fill for fill in self._fills if fill.time >= since),
        )

    def price_of(self, symbol: str, by: TriggerPrice) -> float:
        """Leave it to the exchange, which compares when the order arrives."""
        return 0.0

    async def close(self) -> None:
        """There is nothing to close."""

    def advance(self, candle: Candle) -> bool:
        """Move the market into the candle up to the next thing that happens; False at its end."""
        self._now = candle.close_time
        return self._tell(self.exchange.advance(candle))

    def tick(self, symbol: str, price: float, time: int) -> bool:
        """Move the market to one price; False when nothing happened."""
        self._now = time
        return self._tell(self.exchange.tick(symbol, price, time))

    def _tell(self, reports: Iterable[Report]) -> bool:
        told = False
        assert self._publish is not None, "connect comes before orders"
        for report in reports:
            told = True
            kind = EventKind.FUNDING_PAID
            if isinstance(report, OrderUpdate):
                kind = EventKind.ORDER_UPDATED
            elif isinstance(report, Fill):
                kind = EventKind.FILL_RECEIVED
                self._fills.append(report)
            self._publish(Event(kind, report, report.time))
        return told
