"""What is said of something that keeps failing."""

from __future__ import annotations

import logging

import pytest

from candlewick.venues.binance import backoff
from candlewick.venues.binance.backoff import Outage


class Clock:
    """A clock that stands where it is put."""

    now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(backoff, "time", clock)
    return clock


def test_what_fails_for_a_night_is_told_once_a_minute_and_when_it_is_over(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    outage = Outage(logging.getLogger("candlewick.test"))
    with caplog.at_level(logging.INFO, "candlewick.test"):
        for _ in range(150):
            outage.failed("the stream cannot be reached")
            clock.now += 1.0
        outage.over("the stream is back")
        outage.over("the stream is back")
    assert caplog.messages == [
        "the stream cannot be reached",
        "the stream cannot be reached (for 60 s so far)",
        "the stream cannot be reached (for 120 s so far)",
        "the stream is back after 150.0 s",
    ]


def test_a_second_outage_is_told_at_once(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage(logging.getLogger("candlewick.test"))
    with caplog.at_level(logging.INFO, "candlewick.test"):
        outage.failed("first")
        outage.over("back")
        clock.now += 2.0
        outage.failed("second")
    assert caplog.messages == ["first", "back after 0.0 s", "second"]
