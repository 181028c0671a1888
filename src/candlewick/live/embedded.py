"""Runs on a sandbox of their own: the code of a live run, over real sockets, in one process.

`SteppedDriver` makes the fills of a backtest: nothing moves before all that the last move has set
off is read, decided, sent and answered. `FlowingDriver` is for a market that waits for nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from candlewick.errors import VenueError
from candlewick.live.network import NetworkDriver
from candlewick.live.sender import Sender
from candlewick.live.shell import EngineShell
from candlewick.models import Candle, Event, EventKind, interval_ms
from candlewick.sandbox import Sandbox
from candlewick.venues.binance import BinanceSettings, BinanceVenue

__all__ = ["FlowingDriver", "SteppedDriver", "is_stepped", "patient"]

_log = logging.getLogger(__name__)
_LONGEST_STEP_S = 2.0
_MISSED_S = 60.0  # a candle that the venue does not bring within this time never comes
_NEVER_S = 1e7


def is_stepped(interval: str, speed: float | None) -> bool:
    """Whether a sandbox's market waits for the engine at this pace.

    It does where a candle takes less than two seconds. A slower market is watched by people: it
    trades inside its candles, and waits for nobody, as an exchange does.
    """
    return speed is None or interval_ms(interval) / 1e3 / speed < _LONGEST_STEP_S


def patient(settings: BinanceSettings) -> BinanceSettings:
    """The settings for a market that stands still until it is moved.

    How much real time passes between two of its messages says nothing about it, and must not
    change what happens. Only what its own clock can tell is left: nothing.
    """
    return msgspec.structs.replace(
        settings, recv_window_ms=60_000, request_timeout_s=60.0, stale_after_s=_NEVER_S,
        late_candle_s=_NEVER_S, confirm_after_s=_NEVER_S, heartbeat_s=3_600.0,
        max_entry_delay_s=60.0, backoff_min_s=0.01,
    )  # fmt: skip


class FlowingDriver(NetworkDriver):
    """Trades on a sandbox whose market moves by itself, and ends with it.

    Args:
        sandbox: where the venue is connected to.
        others: what `NetworkDriver` is given.
    """

    def __init__(self, sandbox: Sandbox, *others: Any) -> None:
        super().__init__(*others, now=lambda: sandbox.now)
        self._sandbox = sandbox

    async def feed(self) -> None:
        """Keep the books in line until the system stops, or the market has no more data."""
        ending = asyncio.create_task(self._end_with_the_market(), name="end of the market")
        try:
            await super().feed()
        finally:
            ending.cancel()

    async def _end_with_the_market(self) -> None:
        await self._sandbox.ended()
        await self._sandbox.read()
        await self.shell.bus.drain()
        self._stopping.set()


class SteppedDriver(NetworkDriver):
    """Moves the market of a stepped sandbox, and shows its candles as a backtest does.

    Candles that close together are held back until the market has moved through all of them, and
    are then shown one by one, longest interval first.

    Args:
        sandbox: where the venue is connected to; it was made with ``stepped=True``.
        wire: the venue's connection to it.
        total: how many base candles there are.
        speed: multiples of real time; None is as fast as it goes.
        others: what `NetworkDriver` is given.
    """

    def __init__(
        self, sandbox: Sandbox, wire: BinanceVenue, total: int, speed: float | None, *others: Any
    ) -> None:
        super().__init__(*others, now=lambda: sandbox.now)
        self._sandbox = sandbox
        self._wire = wire
        self._total = total
        self._speed = speed
        self._closed: list[Candle] = []
        self._arrived = asyncio.Event()

    @property
    def progress(self) -> float:
        """Fraction of the candles that have been shown."""
        return min(1.0, self._candles / self._total)

    @property
    def _sender(self) -> Sender:
        sender = self.shell.sender
        assert sender is not None, "commands go over a network"
        return sender

    async def prepare(self, shell: EngineShell) -> int:
        """Connect; from here on, time is the market's."""
        shell.keeps_time = False
        assert shell.sender is not None, "commands go over a network"
        shell.sender.keep_in_line()
        return await super().prepare(shell)

    def _publish(self, event: Event) -> None:
        """Publish what the venue tells, but for closed candles: their time comes."""
        if event.kind is EventKind.CANDLE_CLOSED:
            self._closed.append(event.payload)
            self._arrived.set()
        else:
            self.shell.publish(event)

    async def feed(self) -> None:
        """Move the market to the end of its data, or until the system stops."""
        self._show_the_past()
        self._wanted.set()
        began, first = time.monotonic(), self._sandbox.now
        await self._settled()
        while not self._stopping.is_set() and self._candles < self._total:
            moved = await self._sandbox.step()
            if not moved.candles:
                await self._settled()
                continue
            await self._collect(moved.candles)
            if self._speed is not None:
                due = began + (moved.time + 1 - first) / 1e3 / self._speed
                await self._wait_until(due)
            if not self._stopping.is_set():
                await self._show_closed()

    def _ask_account(self) -> None:
        """Have the account fetched before anything moves."""
        self._wanted.set()

    async def _settled(self) -> None:
        """Wait until nothing is under way, and the account is known where it was asked for."""
        await self._quiet()
        while self._wanted.is_set() and not self._stopping.is_set():
            self._wanted.clear()
            if not await self._reconcile():
                self._wanted.set()
                await self._wait_until(time.monotonic() + self._settings.retry_s)
            await self._quiet()

    async def _wait_until(self, due: float) -> None:
        """Sleep until a time of the monotonic clock, or until the system stops."""
        delay_s = due - time.monotonic()
        if delay_s <= 0.0:
            await asyncio.sleep(0)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self._stopping.wait()

    async def _quiet(self) -> None:
        """Wait until nothing is under way: all is read, followed up, decided, sent, answered."""
        sandbox, bus, sender = self._sandbox, self.shell.bus, self._sender
        while True:
            taken = sender.taken
            await sandbox.read()
            await self._wire.settle()
            if not bus.is_idle:
                await bus.drain()
            await sender.drain()
            if sender.taken == taken and bus.is_idle and not sandbox.has_unread:
                return

    async def _collect(self, wanted: int) -> None:
        """Wait until the venue has brought the candles that have closed.

        Raises:
            VenueError: it does not bring them.
        """
        await self._settled()
        while len(self._closed) < wanted:  # the connection was lost: they are asked for
            self._arrived.clear()
            try:
                async with asyncio.timeout(_MISSED_S):
                    await self._arrived.wait()
            except TimeoutError:
                raise VenueError(
                    f"{wanted} candles have closed at {self._sandbox.now}, and the venue has"
                    f" brought {len(self._closed)} of them within {_MISSED_S:g} s"
                ) from None
            await self._settled()

    async def _show_closed(self) -> None:
        """Show the candles that were held back, each when the one before it is dealt with."""
        closed, self._closed = self._closed, []
        for candle in self._with_longer(closed):
            self.shell.publish(Event(EventKind.CANDLE_CLOSED, candle, candle.close_time))
            await self._settled()

    def _with_longer(self, closed: Sequence[Candle]) -> list[Candle]:
        """Base candles and those that they complete, in the order of a backtest."""
        if len(closed) > 1:
            places = {symbol: place for place, symbol in enumerate(self._symbols)}
            closed = sorted(closed, key=lambda c: (c.close_time, places[c.symbol]))
        together = [longer for candle in closed for longer in self._longer(candle)]
        # longest first, as a backtest has it; the sort is stable, so symbols keep their order
        together.sort(key=lambda c: (c.close_time, -interval_ms(c.interval)))
        return [*together, *closed]

    async def settle(self, timeout_s: float) -> None:
        """Let the market trade at its last prices until nothing is left to do."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._settled()
                self._sandbox.rest()
                await self._settled()
        except TimeoutError:
            _log.warning("orders are still under way after %g s", timeout_s)
