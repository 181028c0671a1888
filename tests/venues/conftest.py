"""What the tests of the venue share: an exchange, a venue on it, and what the venue publishes."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from candlewick.models import Candle, Event, EventKind, Fill, Order, OrderUpdate, StreamStatus
from candlewick.venues.binance import BinanceVenue, Malformed
from tests.venues.fake_exchange import FakeExchange, Json


class Heard:
    """The events that a venue has published."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.malformed: list[Malformed] = []
        self.secrets: list[str] = []
        self.fatal: list[BaseException] = []
        self._changed = asyncio.Event()

    def publish(self, event: Event) -> None:
        self.events.append(event)
        self._changed.set()

    def take_malformed(self, malformed: Malformed) -> None:
        self.malformed.append(malformed)
        self._changed.set()

    def of(self, kind: EventKind) -> list[Any]:
        return [event.payload for event in self.events if event.kind is kind]

    @property
    def updates(self) -> list[OrderUpdate]:
        return self.of(EventKind.ORDER_UPDATED)

    @property
    def fills(self) -> list[Fill]:
        return self.of(EventKind.FILL_RECEIVED)

    @property
    def closed(self) -> list[Candle]:
        return self.of(EventKind.CANDLE_CLOSED)

    @property
    def streams(self) -> list[StreamStatus]:
        return self.of(EventKind.STREAM_CHANGED)

    def statuses(self, order: Order) -> list[str]:
        """What was told of an order, without repetitions in a row."""
        told = [str(u.status) for u in self.updates if u.client_id == order.client_id]
        return [status for n, status in enumerate(told) if n == 0 or told[n - 1] != status]

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait until what was published, or what the venue counts, makes ``reached`` true."""
        async with asyncio.timeout(20):
            while not reached():
                self._changed.clear()
                with contextlib.suppress(TimeoutError):  # counts change without an event
                    await asyncio.wait_for(self._changed.wait(), 0.01)


@pytest.fixture
def payloads(shared_dir: Path) -> Path:
    found = shared_dir / "binance" / "payloads"
    if not found.is_dir():
        pytest.skip("no recorded messages beside the market data")
    return found


@pytest.fixture
def api(shared_dir: Path) -> Json:
    found = shared_dir / "binance" / "usds-futures-api.json"
    if not found.is_file():
        pytest.skip("no list of the exchange's models beside the market data")
    models: Json = json.loads(found.read_bytes())
    return models


Connect = Callable[..., Awaitable[tuple[BinanceVenue, Heard]]]


@pytest.fixture
async def exchange() -> AsyncIterator[FakeExchange]:
    """A server that runs."""
    served = FakeExchange()
    await served.start()
    yield served
    await served.stop()


@pytest.fixture
async def connect(exchange: FakeExchange) -> AsyncIterator[Connect]:
    """Connects a venue to the server; keyword arguments change its settings."""
    opened: list[BinanceVenue] = []

    async def make(
        *, symbols: tuple[str, ...] = ("BTCUSDT",), keys: bool = True, history: int = 0,
        **changes: Any,
    ) -> tuple[BinanceVenue, Heard]:  # fmt: skip
        heard = Heard()
        venue = BinanceVenue(
            exchange.settings(**changes), exchange.keys if keys else None,
            on_malformed=heard.take_malformed, hide=heard.secrets.append,
            on_fatal=heard.fatal.append,
        )  # fmt: skip
        opened.append(venue)
        if history:
            await venue.candles(symbols[0], "1m", history)
        await venue.connect(heard.publish, symbols, "1m")
        return venue, heard

    yield make
    for venue in opened:
        await venue.close()
