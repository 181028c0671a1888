"""Helpers for tests of the running system."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from candlewick.data import load_market
from candlewick.sandbox import Limits, Sandbox, SandboxSettings

Records = list[dict[str, Any]]
PLENTY = 1_000_000_000


def records_of(directory: Path) -> Records:
    """All records of a journal, read without the package's own reader."""
    return [
        json.loads(line)
        for path in sorted(directory.glob("*.jsonl"))
        for line in path.read_bytes().rstrip(b"\0").splitlines()
    ]


@pytest.fixture
def read_records() -> Callable[[Path], Records]:
    """Reads all records of a journal directory."""
    return records_of


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """An exchange whose minutes pass in 50 milliseconds."""
    market = load_market([], candles=40_000, seed=11)
    settings = SandboxSettings(
        speed=1_200.0, history=200,
        limits=Limits(weight=PLENTY, orders_10s=PLENTY, orders_1m=PLENTY), seed=1,
    )  # fmt: skip
    async with Sandbox(market, settings) as made:
        yield made
