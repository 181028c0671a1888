"""A recorded market through the bus: nothing is lost that must not be, the newest price arrives."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.bus_replay import CANDLE, CAPTURE, ORDER, PRICE, Replay, events
from candlewick.bus import HandlerInfo, ReportKind
from candlewick.models import EventKind


def _all_of(replay: Replay, *kinds: EventKind) -> list[int]:
    return sorted(number for kind in kinds for number in replay.published[kind])


def _check(replay: Replay, infos: dict[str, HandlerInfo]) -> None:
    everything = _all_of(replay, *EventKind)
    candles, prices = _all_of(replay, CANDLE), _all_of(replay, PRICE)
    for name in ("journal", "metrics", "raises"):
        assert replay.seen[name] == everything
    assert replay.seen["engine"] == _all_of(replay, CANDLE, ORDER)
    assert replay.seen["orders in a thread"] == _all_of(replay, ORDER)
    assert replay.seen["candles"] == replay.seen["candles in a thread"] == candles
    for name in ("newest price", "newest price, slow", "last prices"):
        seen = replay.seen[name]
        assert seen == sorted(seen)
        assert seen[-1] == prices[-1], "it ends with the newest"
    assert infos["newest price, slow"].conflated > 0
    assert infos["raises"].failed == len(everything)
    for info in infos.values():
        gone = info.handled + info.dropped + info.conflated + info.discarded
        assert info.offered == gone
        assert info.handled == len(replay.seen[info.name])
        assert info.dropped == 0 or info.name == "last prices"
    assert replay.reports.count(ReportKind.HANDLER_FAILED) == 3, "once for each kind"
    assert ReportKind.NOT_HANDLED not in replay.reports
    assert ReportKind.QUEUE_FULL not in replay.reports


async def test_the_busiest_seconds_at_ten_times_their_pace(shared_dir: Path) -> None:
    """Seconds 215 to 250 of the capture, with bursts of 2,453 and 2,075 messages in one."""
    messages = list(events(shared_dir / "data" / CAPTURE, 215.0, 250.0))
    assert len(messages) > 15_000
    replay = Replay()
    _check(replay, await replay.run(messages, speed=10.0))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("speed", [10.0, 1.0])
async def test_the_whole_capture(shared_dir: Path, speed: float) -> None:
    messages = list(events(shared_dir / "data" / CAPTURE))
    assert len(messages) > 87_000
    replay = Replay()
    _check(replay, await replay.run(messages, speed))
