"""`Keeper`: keeps one stream alive over many connections: reconnects, and replaces old ones."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Sequence

from candlewick.errors import VenueError
from candlewick.venues.binance.backoff import Backoff, Outage
from candlewick.venues.binance.connection import Connection
from candlewick.venues.binance.settings import BinanceSettings
from candlewick.venues.binance.tally import Tally

__all__ = ["Keeper", "OnFrame"]

_log = logging.getLogger(__name__)

OnFrame = Callable[[Connection, bytes | str], None]


class Link:
    """A connection and the task that reads it."""

    __slots__ = ("connection", "reader")

    def __init__(self, connection: Connection, on_frame: OnFrame, name: str) -> None:
        self.connection = connection
        self.reader = asyncio.create_task(
            connection.read(lambda frame: on_frame(connection, frame)), name=f"read {name}"
        )
        self.reader.add_done_callback(self._ended)

    def _ended(self, reader: asyncio.Task[str]) -> None:
        failed = reader.cancelled() or reader.exception() is not None
        self.connection.lost("reading has failed" if failed else reader.result())

    async def close(self) -> None:
        """Close the connection and end its reader."""
        await self.connection.close()
        self.reader.cancel()
        await asyncio.wait([self.reader])


class Keeper:
    """Runs one stream. ``companions`` are those that go the same way: one that comes back makes the
    others try at once.

    Args:
        name: for messages.
        connect: opens a connection; called for each one.
        streams: what to subscribe to on it.
        on_frame: takes every frame, of the old and the new connection while they overlap.
        on_up: called when a connection is there after there was none, with how many came before.
        on_down: called with the reason when there is none any more.
    """

    def __init__(
        self,
        name: str,
        settings: BinanceSettings,
        tally: Tally,
        connect: Callable[[], Awaitable[Connection]],
        streams: Sequence[str],
        on_frame: OnFrame,
        on_up: Callable[[int], None],
        on_down: Callable[[str], None],
    ) -> None:
        self._name = name
        self._settings = settings
        self._tally = tally
        self._connect = connect
        self._streams = streams
        self._on_frame = on_frame
        self._on_up = on_up
        self._on_down = on_down
        self._link: Link | None = None
        self._successor: Link | None = None
        self._leaving: Link | None = None
        self._renewal: asyncio.Future[str] | None = None
        self._outage = Outage(_log)
        self._hurry = asyncio.Event()
        self.companions: Sequence[Keeper] = ()
        self.connections = 0

    @property
    def connection(self) -> Connection | None:
        """The connection that is used now."""
        return None if self._link is None else self._link.connection

    @property
    def newest(self) -> Connection | None:
        """The connection that will be used longest: the new one, while two overlap."""
        return self.connection if self._successor is None else self._successor.connection

    def renew(self, reason: str) -> None:
        """Give the present connection up, and make another."""
        if self._renewal is not None and not self._renewal.done():
            self._renewal.set_result(reason)

    async def open(self) -> None:
        """Make the first connection; raises VenueError. `run` keeps it from there."""
        self._link = await self._open()
        self._up()

    def _up(self) -> None:
        self.connections += 1
        self._tally.events[f"{self._name}_connected"] += 1
        self._outage.over(f"the {self._name} stream is back")
        self._on_up(self.connections - 1)
        for companion in self.companions:
            companion.hurry()

    def hurry(self) -> None:
        """The way to the exchange is open again: end the pause before the next attempt."""
        self._hurry.set()

    async def _pause(self, backoff: Backoff) -> None:
        self._hurry.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(backoff.next_s()):
                await self._hurry.wait()

    async def _open(self) -> Link:
        connection = await self._connect()
        link = Link(connection, self._on_frame, self._name)
        try:
            if self._streams:
                await connection.subscribe(self._streams)
        except BaseException:
            await self._leave(link)
            raise
        return link

    async def _leave(self, link: Link) -> None:
        """Close a connection; where that is cut short, `close` does it once more."""
        self._leaving = link
        await link.close()
        self._leaving = None

    async def run(self) -> None:
        """Keep the stream alive until cancelled; what ``on_frame`` raises comes out of here."""
        backoff = Backoff(self._settings.backoff_min_s, self._settings.backoff_max_s)
        try:
            while True:
                if self._link is None:
                    try:
                        self._link = await self._open()
                    except VenueError as error:
                        self._tally.events[f"{self._name}_not_connected"] += 1
                        self._outage.failed(f"the {self._name} stream: {error}")
                        await self._pause(backoff)
                        continue
                    self._up()
                reason = await self._keep(backoff)
                self._tally.events[f"{self._name}_lost"] += 1
                _log.warning("the %s stream is lost: %s", self._name, reason)
                self._outage.begin()
                self._on_down(reason)
                await self._pause(backoff)
        finally:
            await self.close()

    async def _keep(self, backoff: Backoff) -> str:
        """Stay with a connection and its successors; returns why there is none any more."""
        link = self._link
        assert link is not None, "a connection was opened"
        self._renewal = asyncio.get_running_loop().create_future()
        life_s = self._settings.connection_life_s * random.uniform(0.95, 1.0)
        due_s = life_s - link.connection.age_s
        while True:
            await asyncio.wait(
                [link.reader, self._renewal],
                timeout=max(0.0, due_s),
                return_when=asyncio.FIRST_COMPLETED,
            )
            connection = link.connection
            if connection.news or connection.age_s > self._settings.backoff_max_s:
                backoff.reset()  # it was worth something
            if link.reader.done():
                self._link = None
                if link.reader.exception() is not None:
                    await self._leave(link)  # reading has failed, the connection is there still
                return link.reader.result()
            if self._renewal.done():
                self._link = None
                await self._leave(link)
                return self._renewal.result()
            link, due_s = await self._replace(link, life_s, backoff)

    async def _replace(self, old: Link, life_s: float, backoff: Backoff) -> tuple[Link, float]:
        """Open a second connection beside the old one, and leave the old one when it works.

        Returns the connection to stay with, and the time until the next replacement.
        """
        try:
            new = self._successor = await self._open()
        except VenueError as error:
            self._tally.events[f"{self._name}_not_replaced"] += 1
            _log.warning("the %s stream cannot be replaced: %s", self._name, error)
            return old, backoff.next_s()
        before = old.connection.news
        await asyncio.wait(
            [new.reader, old.reader],
            timeout=self._settings.overlap_s,
            return_when=asyncio.FIRST_COMPLETED,
        )
        self._successor = None
        is_silent = not new.connection.news and old.connection.news > before
        if new.reader.done() or (is_silent and not old.reader.done()):
            await self._leave(new)
            self._tally.events[f"{self._name}_not_replaced"] += 1
            return old, backoff.next_s()
        self._link = new
        await self._leave(old)
        self._tally.events[f"{self._name}_replaced"] += 1
        return new, life_s

    async def close(self) -> None:
        """Close the connections; for a keeper that does not run."""
        for link in (self._link, self._successor, self._leaving):
            if link is not None:
                await link.close()
        self._link = self._successor = self._leaving = None
