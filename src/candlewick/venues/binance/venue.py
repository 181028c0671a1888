"""`BinanceVenue`: one account on Binance USDⓈ-M futures, or on a server that speaks like it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from candlewick.errors import VenueError
from candlewick.models import AccountSnapshot, Candle, Instrument, Order, OrderUpdate
from candlewick.venues.base import Publish
from candlewick.venues.binance.keys import ApiKeys
from candlewick.venues.binance.settings import BinanceSettings
from candlewick.venues.binance.tally import OnMalformed

__all__ = ["BinanceVenue"]


class BinanceVenue:
    """The `Venue` of one account.

    Args:
        settings: where the exchange is.
        keys: the account's keys; None for market data only, as paper trading needs it.
        on_malformed: gets every message that could not be understood; for the journal.
        hide: gets every secret that comes up at runtime, for the log to leave out.

    Call `instruments` and `candles` first, as often as needed, then `connect` once, then the
    rest, then `close`. `connect` publishes before it returns: closed candles that follow those
    that `candles` gave, and STREAM_CHANGED when a stream is live.
    """

    def __init__(
        self,
        settings: BinanceSettings,
        keys: ApiKeys | None,
        *,
        on_malformed: OnMalformed | None = None,
        hide: Callable[[str], None] | None = None,
    ) -> None:
        self.name = settings.name
        self.settings = settings

    async def instruments(self, symbols: Sequence[str]) -> Mapping[str, Instrument]:
        """Return what can be traded, with units, limits, fees and margin tiers."""
        raise VenueError("not there yet")

    async def candles(self, symbol: str, interval: str, count: int) -> Sequence[Candle]:
        """Fetch the last closed candles, oldest first; the stream goes on where they end."""
        raise VenueError("not there yet")

    async def connect(self, publish: Publish, symbols: Sequence[str], interval: str) -> None:
        """Connect, start the streams and publish what they bring; raises VenueError."""
        raise VenueError("not there yet")

    async def submit(self, order: Order) -> None:
        """Send an order that is in the journal already."""
        raise VenueError("not there yet")

    async def cancel(self, order: Order, time: int) -> None:
        """Cancel an order; ``time`` (UTC ms) is when that was decided."""
        raise VenueError("not there yet")

    async def query(self, order: Order) -> OrderUpdate | None:
        """Ask what became of an order; None when the exchange does not know it."""
        raise VenueError("not there yet")

    async def snapshot(self, since: int = 0) -> AccountSnapshot:
        """Fetch balance, positions, all open orders, and the fills since ``since`` (UTC ms)."""
        raise VenueError("not there yet")

    async def close(self) -> None:
        """End the streams and connections; orders and positions stay as they are."""
