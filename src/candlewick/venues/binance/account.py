"""`AccountFeed`: what the account's stream brings, over listen keys that are kept alive."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from candlewick.errors import VenueError
from candlewick.models import Event, EventKind, StreamKind, StreamState, StreamStatus
from candlewick.venues.binance import endpoints
from candlewick.venues.binance.backoff import Backoff
from candlewick.venues.binance.clock import EventClock
from candlewick.venues.binance.connection import Connection
from candlewick.venues.binance.decoding import Reply, user_decoder
from candlewick.venues.binance.failures import Code, Refused
from candlewick.venues.binance.funding import FundingBook
from candlewick.venues.binance.keeper import Keeper
from candlewick.venues.binance.messages import (
    AccountUpdate,
    AlgoUpdate,
    ListenKeyExpired,
    MarginCall,
    OrderTradeUpdate,
    TradeLite,
    UserMessage,
)
from candlewick.venues.binance.reports import Reporter
from candlewick.venues.binance.resolver import Resolver
from candlewick.venues.binance.rest import RestClient
from candlewick.venues.binance.settings import BinanceSettings
from candlewick.venues.binance.tally import Tally

__all__ = ["AccountFeed"]

_log = logging.getLogger(__name__)


class AccountFeed:
    """The account's side of the venue.

    Each connection begins with a listen key: the exchange gives the same one again while it lives.
    The key is not deleted at the end, as other processes on the account share it. A connection
    that is made after another was lost is told as STREAM_CHANGED LIVE, upon which the account must
    be fetched: what happened between is not sent again.
    """

    def __init__(
        self,
        settings: BinanceSettings,
        rest: RestClient,
        clock: EventClock,
        tally: Tally,
        publish: Callable[[Event], None],
        reporter: Reporter,
        resolver: Resolver,
        funding: FundingBook,
        hide: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._rest = rest
        self._clock = clock
        self._tally = tally
        self._publish = publish
        self._reporter = reporter
        self._resolver = resolver
        self._funding = funding
        self._hide = hide
        self._decode = user_decoder(tally).decode
        self._listen_key = ""
        self._handlers: dict[type, Callable[[UserMessage], None]] = {
            OrderTradeUpdate: reporter.on_order,  # type: ignore[dict-item]
            AlgoUpdate: reporter.on_algo,  # type: ignore[dict-item]
            TradeLite: self._on_lite,  # type: ignore[dict-item]
            AccountUpdate: funding.on_account,  # type: ignore[dict-item]
            MarginCall: self._on_margin_call,  # type: ignore[dict-item]
        }
        self.keeper = Keeper(
            "account", settings, tally, self._connect, (), self._on_frame,
            self._on_up, self._on_down,
        )  # fmt: skip

    def redact(self, text: str) -> str:
        """Replace the listen key in a text."""
        return text.replace(self._listen_key, "***") if self._listen_key else text

    # -- connections -----------------------------------------------------------------------------

    async def _connect(self) -> Connection:
        answer = await self._rest.call(endpoints.LISTEN)
        key = answer.listenKey
        if not key or not key.isascii() or not key.isalnum():
            raise VenueError("the exchange gave a listen key that is none")
        if key != self._listen_key:
            self._hide(key)
            self._listen_key = key
        url = f"{self._settings.ws_url}/private/ws?listenKey={key}"
        return await Connection.open(self._rest.session, url, self._settings, "account")

    def _on_up(self, earlier: int) -> None:
        self._tell(StreamState.LIVE, "reconnected" if earlier else "connected")
        if earlier:
            self._funding.look()

    def _on_down(self, reason: str) -> None:
        self._tell(StreamState.LOST, reason)

    def _tell(self, state: StreamState, reason: str) -> None:
        status = StreamStatus(StreamKind.ACCOUNT, state, self._clock.now(), reason)
        self._publish(Event(EventKind.STREAM_CHANGED, status, status.time))

    def suspect(self, reason: str, since: float) -> None:
        """The stream has not told all that came after ``since`` (monotonic seconds): make another
        connection, unless that was done meanwhile.
        """
        connection = self.keeper.connection
        if connection is None or connection.opened_at > since:
            return
        self._tally.events["account_suspected"] += 1
        self.keeper.renew(reason)

    async def keep_key(self) -> None:
        """Prolong the listen key in time, until cancelled; a lost key means a new connection."""
        backoff = Backoff(self._settings.backoff_min_s, self._settings.backoff_max_s)
        pause_s = self._settings.keepalive_s
        while True:
            await asyncio.sleep(pause_s)
            try:
                await self._rest.call(endpoints.KEEP_LISTENING, {"listenKey": self._listen_key})
            except Refused as error:
                backoff.reset()
                pause_s = self._settings.keepalive_s
                self._tally.events["listen_key_refused"] += 1
                text = "expired" if error.code == Code.LISTEN_KEY else "was not prolonged"
                self.keeper.renew(f"the listen key {text}")
            except VenueError as error:
                _log.warning("the listen key is prolonged again: %s", error)
                pause_s = backoff.next_s()
            else:
                backoff.reset()
                pause_s = self._settings.keepalive_s
                self._tally.events["listen_key_kept"] += 1

    # -- frames ----------------------------------------------------------------------------------

    def _on_frame(self, connection: Connection, frame: bytes | str) -> None:
        message = self._decode(frame)
        if message is None:
            return
        if isinstance(message, Reply):
            self._tally.messages["Reply"] += 1
            connection.answered(message.id, error=message.error)
            return
        self._tally.messages[type(message).__name__] += 1
        self._clock.seen(message.E)
        if isinstance(message, ListenKeyExpired):
            if connection is self.keeper.connection:
                self.keeper.renew("the listen key expired")
            return
        handler = self._handlers.get(type(message))
        if handler is None:
            return
        try:
            handler(message)
        except (ArithmeticError, LookupError, ValueError) as error:
            self._tally.saw_malformed("account", error, frame)

    def _on_lite(self, message: TradeLite) -> None:
        if not self._reporter.on_lite(message):
            self._resolver.confirm_trade(message.s, message.i, message.t)

    def _on_margin_call(self, message: MarginCall) -> None:
        _log.error("margin call: %d positions are close to liquidation", len(message.p))
