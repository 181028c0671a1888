"""Sandboxes for tests: one that moves by steps, one whose market flows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from candlewick.models import CandleTable
from candlewick.sandbox import Fault, Sandbox, SandboxSettings
from tests.sandbox.sandbox_client import Client, Running, flat, market_of

Start = Callable[..., Running]
Flow = Callable[..., Awaitable[Client]]


@pytest.fixture
def stepped() -> Start:
    """Start a sandbox that moves by steps, on candles."""

    def start(*tables: CandleTable, faults: tuple[Fault, ...] = (), **settings: Any) -> Running:
        chosen = SandboxSettings(**{"stepped": True, "start": "data", **settings})
        return Running(Sandbox(market_of(*(tables or (flat(50),))), chosen, faults))

    return start


@pytest.fixture
async def flowing() -> AsyncIterator[Flow]:
    """Start sandboxes whose market flows; they end with the test."""
    started: list[Running] = []

    async def start(
        *tables: CandleTable, faults: tuple[Fault, ...] = (), **settings: Any
    ) -> Client:
        chosen = SandboxSettings(**{"speed": 600.0, **settings})
        running = Running(Sandbox(market_of(*(tables or (flat(2_000),))), chosen, faults))
        client = await running.__aenter__()
        started.append(running)
        return client

    yield start
    for running in started:
        await running.__aexit__(None, None, None)
