"""What moves a run: `Driver`, and the one that plays candles into the simulated venue."""

from __future__ import annotations

import asyncio
from typing import Protocol

from candlewick.backtesting import Run
from candlewick.live.feed import CandleFeed
from candlewick.live.shell import EngineShell
from candlewick.models import AccountSnapshot, Event, EventKind
from candlewick.venues import SimulatedVenue

__all__ = ["Driver", "SimulatedDriver"]


class Driver(Protocol):
    """Brings the market to the engine, and waits for the exchange when the run ends."""

    async def prepare(self, shell: EngineShell) -> int:
        """Connect, and bring the engine up to date; returns the start time, UTC ms."""

    async def feed(self) -> None:
        """Bring events until the data ends or the system stops."""

    async def settle(self, timeout_s: float) -> None:
        """Wait until no order is under way, at most ``timeout_s``."""

    async def snapshot(self) -> AccountSnapshot:
        """Ask the exchange for the account, with the fills that may not be known yet."""

    async def learn(self, snapshot: AccountSnapshot, timeout_s: float) -> None:
        """Have the engine bring its books in line with an answer, and settle what follows."""

    @property
    def progress(self) -> float:
        """Fraction of the data that has been run; 0.0 where there is no end."""

    async def close(self) -> None:
        """Let go of the venue."""


class SimulatedDriver:
    """Plays the candles of a `Run` at a chosen pace, one step at a time.

    Every step waits until the bus is empty, so that a live run makes the fills of a backtest.
    """

    def __init__(
        self, run: Run, venue: SimulatedVenue, speed: float | None, stopping: asyncio.Event
    ) -> None:
        self._run = run
        self._venue = venue
        self._feed = CandleFeed(run.tables, speed, stopping)
        self._fed = 0
        self._shell: EngineShell | None = None

    @property
    def shell(self) -> EngineShell:
        """The shell that `prepare` was given."""
        assert self._shell is not None, "prepare comes first"
        return self._shell

    @property
    def progress(self) -> float:
        """Fraction of the candles that have been played."""
        return self._fed / self._feed.total

    async def prepare(self, shell: EngineShell) -> int:
        """Connect the venue to the bus."""
        self._shell = shell
        market = self._run.market
        await self._venue.connect(shell.publish, market.symbols, market.interval)
        return self._feed.first_time

    async def feed(self) -> None:
        """Play the candles."""
        shell = self.shell
        base, bus, engine = shell.engine.interval, shell.bus, shell.engine
        async for together in self._feed.candles():
            for candle in together:
                if candle.interval == base:
                    while self._venue.advance(candle):
                        await bus.drain()
            for candle in together:
                shell.publish(Event(EventKind.CANDLE_CLOSED, candle, candle.close_time))
                await bus.drain()
                self._fed += 1
            if engine.failure is not None:
                return

    async def settle(self, timeout_s: float) -> None:
        """Let the market trade at its last prices until nothing is left to do."""
        await self.shell.bus.drain()
        for symbol, state in self.shell.engine.symbols.items():
            while state.orders and state.price:
                if not self._venue.tick(symbol, state.price, self.shell.engine.now):
                    break
                await self.shell.bus.drain()

    async def snapshot(self) -> AccountSnapshot:
        """The account as the simulated exchange has it."""
        return await self._venue.snapshot()

    async def learn(self, snapshot: AccountSnapshot, timeout_s: float) -> None:
        """Do nothing: the engine has been told all that happened."""

    async def close(self) -> None:
        """There is nothing to let go of."""
        await self._venue.close()
