"""`MarketWatcher`: somebody who wants every trade and mark price, as the paper venue does."""

from __future__ import annotations

from typing import Protocol

from candlewick.venues.binance.messages import AggTrade
from candlewick.venues.binance.tally import Tally

__all__ = ["MarketWatcher", "TradeTape"]

_HUGE = 1e300


class MarketWatcher(Protocol):
    """Takes what the market does, in the order in which the stream tells it."""

    def traded(self, symbol: str, price: float, quantity: float, time: int) -> None:
        """A trade of the market; ``time`` is when it was made, UTC ms."""

    def marked(self, symbol: str, price: float, rate: float, next_funding: int, time: int) -> None:
        """A mark price, with the funding rate and when it is paid next (UTC ms; 0: not told)."""

    def skipped(self, symbol: str) -> None:
        """Trades are missing before the one that is told next."""

    def interrupted(self) -> None:
        """The stream is lost: what is traded from now on is not told."""

    def caught_up(self, symbol: str) -> None:
        """The stream is back, and the candles that it has missed were told."""


class TradeTape:
    """Lets each trade through once: two connections that overlap bring the same ones."""

    __slots__ = ("_last", "_tally")

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._last: dict[str, int] = {}

    def is_next(self, trade: AggTrade) -> bool:
        """True for a trade that is new and possible."""
        last = self._last.get(trade.s, 0)
        if not 0.0 < trade.p < _HUGE or trade.q < 0.0:
            self._tally.saw_malformed("market", "a trade at no price", repr(trade))
            return False
        if last and trade.a <= last:
            self._tally.events["duplicate_trades"] += 1
            return False
        return True

    def take(self, trade: AggTrade) -> int:
        """Note a trade that is next; returns how many are missing before it, and counts them."""
        last = self._last.get(trade.s, trade.a - 1)
        self._last[trade.s] = trade.a
        missing = trade.a - last - 1
        if missing:
            self._tally.events["missed_trades"] += missing
        return missing

    def clear(self) -> None:
        """Begin anew: the next trade of each symbol is taken, whatever its number."""
        self._last.clear()
