"""A recorded market through the bus: nothing is lost that must not be, the newest price arrives."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.bus_replay import CANDLE, CAPTURE, FILL, ORDER, PRICE, Replay, events
from candlewick.audit import read, verify
from candlewick.bus import HandlerInfo, ReportKind
from candlewick.models import EventKind


def _all_of(replay: Replay, *kinds: EventKind) -> list[int]:
    return [id(event) for event in replay.published if event.kind in kinds]


def _check(replay: Replay, infos: dict[str, HandlerInfo], directory: Path) -> None:
    assert not replay.fatal
    everything = _all_of(replay, CANDLE, ORDER, FILL, PRICE)
    candles, orders = _all_of(replay, CANDLE), _all_of(replay, ORDER)
    for name in ("recorder", "metrics", "raises"):
        assert replay.seen[name] == everything
    assert replay.seen["portfolio"] == _all_of(replay, CANDLE, ORDER, FILL)
    assert replay.seen["orders in a thread"] == orders
    assert replay.seen["candles"] == replay.seen["candles in a thread"] == candles
    prices = _all_of(replay, PRICE)
    place = {event: number for number, event in enumerate(prices)}
    for name in ("newest price", "newest price, slow", "last prices"):
        seen = [place[event] for event in replay.seen[name]]
        assert seen == sorted(seen)
        assert seen[-1] == len(prices) - 1, "it ends with the newest"
    assert infos["newest price, slow"].conflated > 0
    assert infos["raises"].failed == len(everything)
    for info in infos.values():
        gone = info.handled + info.dropped + info.conflated + info.discarded
        assert info.offered == gone
        assert info.name == "engine" or info.handled == len(replay.seen[info.name])
        assert info.dropped == 0 or info.name == "last prices"
    assert replay.reports.count(ReportKind.HANDLER_FAILED) == 4, "once for each kind"
    assert ReportKind.NOT_HANDLED not in replay.reports
    assert ReportKind.QUEUE_FULL not in replay.reports
    _check_journal(replay, infos["engine"], directory)


def _check_journal(replay: Replay, engine: HandlerInfo, directory: Path) -> None:
    """The engine has taken every candle, order update and fill, and traded on them."""
    assert verify(directory).closed
    types = [record.type for record in read(directory)]
    assert types.count("candle_closed") == len(_all_of(replay, CANDLE))
    assert types.count("fill") == len(_all_of(replay, FILL)) > 20
    signals = _all_of(replay, EventKind.SIGNAL_GENERATED)
    assert types.count("signal_generated") == len(signals)
    assert engine.handled == len(_all_of(replay, CANDLE, ORDER, FILL)) + len(signals)
    assert engine.dropped == engine.failed == 0


async def test_the_busiest_seconds_at_ten_times_their_pace(
    shared_dir: Path, tmp_path: Path
) -> None:
    """Seconds 215 to 250 of the capture, with bursts of 2,453 and 2,075 messages in one."""
    messages = list(events(shared_dir / "data" / CAPTURE, 215.0, 250.0))
    assert len(messages) > 15_000
    replay = Replay(tmp_path)
    _check(replay, await replay.run(messages, speed=10.0), tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("speed", [10.0, 1.0])
async def test_the_whole_capture(shared_dir: Path, tmp_path: Path, speed: float) -> None:
    messages = list(events(shared_dir / "data" / CAPTURE))
    assert len(messages) > 87_000
    replay = Replay(tmp_path)
    _check(replay, await replay.run(messages, speed), tmp_path)
