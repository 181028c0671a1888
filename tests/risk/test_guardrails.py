"""Guardrails: the limits that need memory."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from candlewick.risk import Guardrails, RiskSettings

DAY = 86_400_000
MINUTE = 60_000


def test_orders_are_counted_over_the_last_minute() -> None:
    rails = Guardrails(RiskSettings(max_orders_per_minute=2))
    assert rails.may_send(0)
    rails.sent(0)
    rails.sent(30_000)
    assert not rails.may_send(59_999)
    assert rails.may_send(60_000), "the first is a minute old"
    rails.sent(60_000)
    assert not rails.may_send(60_000)
    assert rails.orders_in_minute(90_000) == 1


def test_no_limit_lets_everything_pass() -> None:
    rails = Guardrails(RiskSettings(max_orders_per_minute=0))
    for _ in range(1_000):
        rails.sent(5)
    assert rails.may_send(5)


@given(
    limit=st.integers(1, 5),
    waits=st.lists(st.integers(0, 40_000), max_size=60),
)
def test_no_minute_holds_more_orders_than_the_limit(limit: int, waits: list[int]) -> None:
    """The oracle keeps every time; each order is sent only when the guardrails let it."""
    rails = Guardrails(RiskSettings(max_orders_per_minute=limit))
    sent: deque[int] = deque()
    now = 0
    for wait in waits:
        now += wait
        recent = sum(time > now - MINUTE for time in sent)
        assert rails.may_send(now) is (recent < limit)
        if rails.may_send(now):
            rails.sent(now)
            sent.append(now)


def test_a_day_ends_at_midnight_utc_and_counts_from_its_first_equity() -> None:
    rails = Guardrails(RiskSettings(daily_loss=0.1))
    rails.new_day(5 * DAY + 7, 1_000.0)
    assert rails.day_end == 6 * DAY
    assert rails.halt_below == 900.0
    rails.halted = True
    rails.new_day(6 * DAY, 500.0)
    assert (rails.day_end, rails.halt_below, rails.halted) == (7 * DAY, 450.0, False)


def test_without_a_daily_loss_limit_no_equity_halts() -> None:
    rails = Guardrails(RiskSettings(daily_loss=0.0))
    rails.new_day(0, 1_000.0)
    assert rails.halt_below == float("-inf")


def test_a_day_can_be_resumed_with_the_equity_it_began_with() -> None:
    rails = Guardrails(RiskSettings(daily_loss=0.5))
    rails.resume_day(2_000.0)
    assert rails.halt_below == 1_000.0
