"""`FundingBook`: funding payments, each told once, with the symbol it was for."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Collection

from candlewick.errors import VenueError
from candlewick.models import Event, EventKind, Funding
from candlewick.venues.binance import endpoints
from candlewick.venues.binance.backoff import Backoff
from candlewick.venues.binance.clock import EventClock
from candlewick.venues.binance.messages import AccountUpdate
from candlewick.venues.binance.resolver import Spawn
from candlewick.venues.binance.rest import RestClient
from candlewick.venues.binance.tally import Tally

__all__ = ["FundingBook"]

_log = logging.getLogger(__name__)
_HOUR_MS = 3_600_000  # funding is at most hourly: one payment an hour and symbol
_ATTEMPTS = 6
_FIRST_PAUSE_S = 1.0
_LOOK_BACK_MS = 60_000
_KEPT = 5_000


class FundingBook:
    """Tells of funding.

    The account's stream names the symbol only for isolated margin; for cross margin it tells the
    change of the wallet alone, and the list of income tells for which symbols it was.
    """

    def __init__(
        self,
        rest: RestClient,
        clock: EventClock,
        tally: Tally,
        publish: Callable[[Event], None],
        spawn: Spawn,
        symbols: Collection[str],
        rate_of: Callable[[str], float],
    ) -> None:
        self._rest = rest
        self._clock = clock
        self._tally = tally
        self._publish = publish
        self._spawn = spawn
        self._symbols = symbols
        self._rate_of = rate_of
        self._told: OrderedDict[tuple[str, int], None] = OrderedDict()
        self._begin = 0
        self._since = 0
        self._looking = False

    def begin(self) -> None:
        """Payments from now on matter."""
        self._begin = self._since = self._clock.now()

    def on_account(self, message: AccountUpdate) -> None:
        """ACCOUNT_UPDATE: only funding is taken from it; trades are told by their own messages."""
        change = message.a
        if change.m != "FUNDING_FEE":
            return
        time = message.T or message.E
        paid = sum(balance.bc for balance in change.B)
        symbols = {position.s for position in change.P}
        if len(symbols) == 1:
            self._tell(symbols.pop(), paid, time)
        elif paid:
            self.look(time)

    def look(self, time: int = 0) -> None:
        """Ask for payments since the last that is known; one at ``time`` must be among them."""
        if not self._looking and self._since:
            self._looking = True
            self._spawn(self._look(time), "funding")

    async def _look(self, time: int) -> None:
        backoff = Backoff(_FIRST_PAUSE_S, 30.0)
        try:
            for _ in range(_ATTEMPTS):
                try:
                    newest = await self._ask()
                except VenueError as error:
                    _log.warning("funding payments are asked for again: %s", error)
                    newest = 0
                else:
                    if newest >= time - _LOOK_BACK_MS or not time:
                        return
                await backoff.pause()
            self._tally.events["funding_not_listed"] += 1
        finally:
            self._looking = False

    async def _ask(self) -> int:
        """Tell the payments that are listed and were not told; returns the time of the newest."""
        rows = await self._rest.call(
            endpoints.INCOME,
            {"incomeType": "FUNDING_FEE", "startTime": self._since - _LOOK_BACK_MS, "limit": 1_000},
        )
        newest = 0
        for row in sorted(rows, key=lambda row: row.time):
            newest = max(newest, row.time)
            if row.incomeType == "FUNDING_FEE" and row.time >= self._begin:
                self._tell(row.symbol, row.income, row.time)
        self._since = max(self._since, newest)
        return newest

    def _tell(self, symbol: str, amount: float, time: int) -> None:
        key = (symbol, round(time / _HOUR_MS))
        if symbol not in self._symbols or key in self._told:
            return
        self._told[key] = None
        if len(self._told) > _KEPT:
            self._told.popitem(last=False)
        funding = Funding(symbol, amount, self._rate_of(symbol), time)
        self._publish(Event(EventKind.FUNDING_PAID, funding, time))
