"""How connections that go the same way help each other back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from candlewick.venues.binance import BinanceSettings
from candlewick.venues.binance.connection import Connection
from candlewick.venues.binance.failures import OutcomeUnknown
from candlewick.venues.binance.keeper import Keeper
from candlewick.venues.binance.tally import Tally

PATIENT = BinanceSettings(backoff_min_s=600.0, backoff_max_s=600.0)


class Open:
    """A connection that is there and says nothing."""

    def __init__(self) -> None:
        self.opened_at = time.monotonic()
        self.news = 0

    async def read(self, on_frame: Callable[[bytes], None]) -> str:
        await asyncio.Event().wait()
        return "never"

    @property
    def age_s(self) -> float:
        return time.monotonic() - self.opened_at

    def lost(self, reason: str) -> None:
        """Nobody waits for an answer."""

    async def close(self) -> None:
        """There is nothing to close."""


def keeper_of(name: str, connect: Callable[[], Any]) -> Keeper:
    def nothing(*_: Any) -> None:
        """Nobody listens."""

    return Keeper(name, PATIENT, Tally(), connect, (), nothing, nothing, nothing)


async def test_a_stream_that_comes_back_makes_the_others_try_at_once() -> None:
    """Without it the other one would wait for five minutes at least."""
    attempts = 0
    failed, came = asyncio.Event(), asyncio.Event()

    async def refused_once() -> Connection:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            failed.set()
            raise OutcomeUnknown("the network is away", sent=False)
        came.set()
        return Open()  # type: ignore[return-value]

    async def there() -> Connection:
        return Open()  # type: ignore[return-value]

    waiting, other = keeper_of("account", refused_once), keeper_of("market", there)
    other.companions = [waiting]
    running = asyncio.create_task(waiting.run())
    async with asyncio.timeout(30):
        await failed.wait()
        await asyncio.sleep(0)  # its pause has begun
        await other.open()
        await came.wait()
    running.cancel()
    await asyncio.wait([running])
    await other.close()
