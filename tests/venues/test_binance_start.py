"""A start that follows others: the minute's request weight is used up already."""

from __future__ import annotations

from tests.venues.conftest import Connect
from tests.venues.fake_exchange import FakeExchange

_MINUTE = 60_000


async def test_the_limits_of_the_exchange_are_asked_for_before_they_are_obeyed(
    exchange: FakeExchange, connect: Connect
) -> None:
    """What is used is above the limit that is assumed at first, and far below the real one."""
    exchange.minute, exchange.weight = exchange.now() // _MINUTE, 5_000
    exchange.weight_limit = 1_000_000
    venue, _ = await connect()
    assert venue.limits.waits == 0
    assert venue.limits.used()["request_weight_1M"][1] == 1_000_000


async def test_a_start_waits_for_the_next_minute_where_this_one_is_used_up(
    exchange: FakeExchange, connect: Connect
) -> None:
    """It takes longer than a request may wait later on, and does not end the start."""
    exchange.skew_ms = 58_000 - exchange.now() % _MINUTE  # two seconds of the minute are left
    exchange.minute, exchange.weight = exchange.now() // _MINUTE, 2_390
    venue, heard = await connect(max_wait_s=0.1)
    assert venue.limits.waits
    assert heard.streams[-1].state == "live"
    assert venue.limits.max_wait_s == 0.1
