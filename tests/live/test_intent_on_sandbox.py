"""Over the network too, an order's intent is readable by another process before it arrives."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from candlewick.audit import EventType, read
from candlewick.sandbox import Sandbox
from candlewick.sandbox.trading import Trading
from candlewick.sandbox.wire import Params
from tests.live.bench import Bench, ended


async def test_every_order_at_the_exchange_was_readable_in_the_journal_before(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exchange itself looks: it runs in another process than the engine that writes."""
    bench = Bench(sandbox, tmp_path)
    seen: dict[str, bool] = {}

    def looking(name: str, place: Callable[..., Any]) -> Callable[..., Any]:
        def placed(trading: Trading, params: Params) -> Any:
            client_id = params.text(name)
            wanted = b'"order_planned","data":{"client_id":"%s"' % client_id.encode()
            files = bench.journal.glob("*.jsonl")
            seen[client_id] = any(wanted in file.read_bytes() for file in files)
            return place(trading, params)

        return placed

    monkeypatch.setattr(Trading, "place", looking("newClientOrderId", Trading.place))
    monkeypatch.setattr(Trading, "place_algo", looking("clientAlgoId", Trading.place_algo))
    engine = await bench.start("run")
    await bench.until(lambda: len(seen) >= 9)
    engine.send_signal(signal.SIGINT)
    output = await ended(engine)
    assert engine.returncode == 0, output
    sent = [r.data["client_id"] for r in read(bench.journal, types=[EventType.ORDER_SENT])]
    assert list(seen) == sent
    assert {name.rpartition("-")[2] for name in sent} >= {"entry", "stop", "close"}
    assert all(seen.values()), seen
