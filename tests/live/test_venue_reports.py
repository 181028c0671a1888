"""What a venue reports besides events: messages that mean nothing, and streams that have failed."""

from __future__ import annotations

import asyncio
from pathlib import Path

from candlewick.audit import AuditLogger, EventType, read
from candlewick.data import load_market
from candlewick.errors import ExitCode
from candlewick.live.recording import Recorder
from candlewick.live.shell import LostEventError
from candlewick.models import Event, EventKind
from candlewick.sandbox import Sandbox, SandboxSettings
from candlewick.venues.binance import ApiKeys, BinanceVenue, Malformed
from tests.live.engine_on_sandbox import BTC, agreed, impatient, system_on


def test_of_a_flood_of_garbage_the_journal_keeps_the_first_and_then_one_in_a_thousand(
    tmp_path: Path,
) -> None:
    with AuditLogger(tmp_path) as journal:
        recorder = Recorder(journal)
        for number in range(3_500):
            recorder.malformed(Malformed("market", "truncated", f"{number}"))
    records = [r.data for r in read(tmp_path, types=[EventType.MESSAGE_MALFORMED])]
    assert [data["number"] for data in records] == [*range(1, 1_001), 2_000, 3_000]
    assert records[0] == {"source": "market", "error": "truncated", "text": "0", "number": 1}


async def test_an_event_that_cannot_be_published_stops_the_run_with_its_position_closed(
    tmp_path: Path,
) -> None:
    market = load_market([], symbols=[BTC], candles=60, seed=5)
    async with Sandbox(market, SandboxSettings(stepped=True, history=5)) as sandbox:
        keys = ApiKeys(sandbox.api_key, sandbox.api_secret)
        venue = BinanceVenue(impatient(sandbox, over_ws=False), keys)
        with AuditLogger(tmp_path) as journal:
            system = await system_on(venue, journal, seed=1)
            running = asyncio.create_task(system.run())
            publish = system.shell.publish

            def full(event: Event) -> None:
                if event.kind is EventKind.CANDLE_CLOSED and system.tally.fills:
                    raise LostEventError("there is no room for the candle")
                publish(event)

            system.shell.publish = full  # type: ignore[method-assign]
            async with asyncio.timeout(60):
                while not system.stopping.is_set():
                    await sandbox.step()
                    await asyncio.wait(
                        [asyncio.ensure_future(agreed(sandbox, system))], timeout=0.1
                    )
                while not running.done():
                    await sandbox.step()
                    await asyncio.wait([running], timeout=0.05)
        outcome = running.result()
        assert "no room for the candle" in outcome.error
        assert outcome.exit_code is ExitCode.UNEXPECTED
        assert not outcome.problems
        assert not sandbox.first.account.exchange.positions()
        await venue.close()
