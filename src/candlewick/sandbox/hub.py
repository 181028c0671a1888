"""`Hub`: who listens to what, and which events are worth making."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from candlewick.sandbox.bars import Bar
from candlewick.sandbox.connections import Connection, Message
from candlewick.sandbox.symbol_market import SymbolMarket
from candlewick.sandbox.topics import Topic, parse_topic

__all__ = ["Hub"]

_encode = msgspec.json.Encoder().encode
_PATIENCE_S = 1.0
_KLINES = ("kline", "continuousKline")


class _Subject:
    """A stream that somebody listens to."""

    __slots__ = ("last", "listeners", "topic")

    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        self.listeners: dict[Connection, None] = {}
        self.last = -1  # market time of the last message


class Hub:
    """The open connections and their streams.

    Args:
        unrouted_is_public: connections without a route get depth and book tickers only.
        markets: the symbols, for the streams that are about all of them.
    """

    def __init__(self, unrouted_is_public: bool, markets: dict[str, SymbolMarket]) -> None:
        self._unrouted_is_public = unrouted_is_public
        self._markets = markets
        self._subjects: dict[str, _Subject] = {}
        self._by_symbol: dict[str, list[_Subject]] = {}
        self.connections: dict[Connection, None] = {}
        self.listened = asyncio.Event()
        self._held: list[Message] | None = None

    # -- subscriptions -----------------------------------------------------------------------------

    def subscribe(self, connection: Connection, names: Iterable[str]) -> None:
        """Add streams; a name that means nothing, or not on this route, stays silent."""
        for name in names:
            connection.streams[name] = None
            topic = parse_topic(name)
            if topic is None or not self._carries(connection.route, topic):
                continue
            subject = self._subjects.get(name)
            if subject is None:
                subject = self._subjects[name] = _Subject(topic)
                self._by_symbol.setdefault(topic.symbol, []).append(subject)
            subject.listeners[connection] = None
            self.listened.set()

    def unsubscribe(self, connection: Connection, names: Iterable[str]) -> None:
        """Take streams away."""
        for name in names:
            connection.streams.pop(name, None)
            subject = self._subjects.get(name)
            if subject is None:
                continue
            subject.listeners.pop(connection, None)
            if not subject.listeners:
                del self._subjects[name]
                self._by_symbol[subject.topic.symbol].remove(subject)

    def _carries(self, route: str, topic: Topic) -> bool:
        if route == "public":
            return topic.is_public
        if route == "market":
            return not topic.is_public
        return route == "" and (topic.is_public or not self._unrouted_is_public)

    def leave(self, connection: Connection) -> None:
        """Forget a connection."""
        self.connections.pop(connection, None)
        self.unsubscribe(connection, list(connection.streams))

    # -- the market --------------------------------------------------------------------------------

    def traded(self, market: SymbolMarket, now: int) -> None:
        """A trade has happened: tell it in the streams that tell each one."""
        for subject in self._about(market):
            if not subject.topic.period:
                self._tell(subject, market, now)

    def state(self, market: SymbolMarket, now: int, *, at_once: bool = False) -> None:
        """Tell how things are in every stream whose time has come, or at once in all of them.

        A new kline is told with its first trade, however short ago the last one was.
        """
        opened = market.bars.open.open_time if market.bars.open is not None else -1
        for subject in self._about(market):
            topic, last = subject.topic, subject.last
            if topic.period and (
                at_once
                or last < 0
                or now - last >= topic.period
                or (last < opened and topic.kind in _KLINES)
            ):
                self._tell(subject, market, now)

    def _about(self, market: SymbolMarket) -> Iterable[_Subject]:
        return (*self._by_symbol.get(market.symbol, ()), *self._by_symbol.get("", ()))

    def _tell(self, subject: _Subject, market: SymbolMarket, now: int) -> None:
        topic = subject.topic
        subject.last = now
        event = market.message(topic, now) if topic.symbol else self._for_all(topic, market, now)
        if event is not None:
            self._send(subject, event)

    def _for_all(self, topic: Topic, market: SymbolMarket, now: int) -> Any:
        if not topic.period:
            return market.message(topic, now)
        traded = [other for other in self._markets.values() if other.trades]
        return [other.message(topic, now) for other in traded]

    def closed(self, market: SymbolMarket, base: Bar, now: int) -> None:
        """A base bar has closed: tell it, and the longer ones that end with it."""
        for subject in self._by_symbol.get(market.symbol, ()):
            topic = subject.topic
            if topic.kind not in _KLINES or not market.bars.offers(topic.argument):
                continue
            bar = market.bars.current(topic.argument)
            if bar is not None and bar.close_time == base.close_time:
                subject.last = now
                self._send(subject, market.kline(topic, bar, now, closed=True))

    def tell_market(self, kind: str, symbol: str, event: dict[str, Any]) -> None:
        """Tell an event that does not follow from a trade."""
        for subject in (*self._by_symbol.get(symbol, ()), *self._by_symbol.get("", ())):
            if subject.topic.kind == kind:
                self._send(subject, event)

    def _send(self, subject: _Subject, event: Any) -> None:
        kind = event["e"] if isinstance(event, dict) else subject.topic.kind
        message = Message(kind, subject.topic.name, _encode(event))
        for connection in tuple(subject.listeners):
            connection.push(message)

    # -- the accounts ------------------------------------------------------------------------------

    def tell_account(self, keys: Iterable[str], event: dict[str, Any]) -> None:
        """Send an event to every connection that has one of the listen keys."""
        data = _encode(event)
        for key in keys:
            message = Message(event["e"], key, data)
            if self._held is None:
                self._push(message)
            else:
                self._held.append(message)

    def _push(self, message: Message) -> None:
        for connection in tuple(self.connections):
            if message.stream in connection.listen_keys:
                connection.push(message)

    def hold(self) -> None:
        """Keep what accounts are told, until `release`."""
        self._held = []

    async def release(self) -> None:
        """Tell the accounts what was kept, once clients have read what the market said before.

        The streams are connections of their own; without this, it would be chance whether a fill
        or the price that made it is heard first.
        """
        held, self._held = self._held, None
        if held:
            for connection in tuple(self.connections):
                if connection.has_unread and not connection.listen_keys:
                    await connection.read(_PATIENCE_S)
            for message in held:
                self._push(message)

    def pick(self, picks: Callable[[Connection], bool]) -> list[Connection]:
        """Connections of a kind."""
        return [connection for connection in self.connections if picks(connection)]

    async def flush(self) -> None:
        """Wait until every client's queue is on the wire."""
        for connection in tuple(self.connections):
            await connection.flush()

    @property
    def has_unread(self) -> bool:
        """True while some client may not have read all that it was sent."""
        return any(connection.has_unread for connection in self.connections)

    async def read(self) -> None:
        """Wait until every client has read what it was sent."""
        for connection in tuple(self.connections):
            if connection.has_unread:
                await connection.read()
