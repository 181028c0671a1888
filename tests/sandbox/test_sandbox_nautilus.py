"""NautilusTrader's own adapter for Binance futures, unmodified, pointed at the sandbox.

The package weighs 189 MB and is no dependency of ours: the test takes it from the interpreter that
``NAUTILUS_PYTHON`` names, or from this one where it is installed.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest

from tests.sandbox.conftest import Flow
from tests.sandbox.sandbox_client import table_of

CALM = [(50_000.0, 50_100.0, 49_900.0, 50_000.0)] * 3_000
SCRIPT = Path(__file__).with_name("nautilus_trader_client.py")


def interpreter() -> str:
    """The Python that has the package; skips the test where none has."""
    named = os.environ.get("NAUTILUS_PYTHON", "")
    if not named and importlib.util.find_spec("nautilus_trader") is None:
        pytest.skip("nautilus_trader is not installed; NAUTILUS_PYTHON can name a Python with it")
    return named or sys.executable


async def test_a_nautilus_trader_node_reconciles_trades_and_hears_its_fills(flowing: Flow) -> None:
    python = interpreter()
    client = await flowing(table_of(CALM), speed=60.0, history=20)
    sandbox = client.sandbox
    node = await asyncio.create_subprocess_exec(
        python, str(SCRIPT), sandbox.rest_url, sandbox.ws_url, client.key, client.secret,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        output, errors = await asyncio.wait_for(node.communicate(), 90)
    finally:
        if node.returncode is None:
            node.kill()
            await node.wait()
    assert node.returncode == 0, errors.decode()[-2_000:]
    seen = json.loads(output.decode().splitlines()[-1])
    assert (seen["tick"], seen["step"], seen["balance"]) == ("0.10", "0.001", 10_000.0)
    assert seen["bars"] >= 1
    books = sandbox.first.account
    told = [[trade.side, trade.quantity, trade.price, trade.commission] for trade in books.trades]
    assert seen["fills"] == [[side, *map(pytest.approx, rest)] for side, *rest in told]
    assert [fill[0] for fill in seen["fills"]] == ["BUY", "SELL"]
    assert seen["canceled"]
    # this version sends stops where the exchange has not taken them since December 2025
    assert "-4120" in seen["refused"]
    assert not books.open_orders()
    assert not books.exchange.positions()
