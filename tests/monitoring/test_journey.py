"""`Journey`: what candles and orders take, one by one and in a crowd."""

from __future__ import annotations

from candlewick.models import Candle, Event, EventKind, OrderStatus, OrderUpdate
from candlewick.monitoring import Journey


def candle_event(minute: int) -> Event:
    start = minute * 60_000
    candle = Candle("BTCUSDT", "1m", start, 1.0, 2.0, 0.5, 1.5, 1.0, start + 59_999, True)
    return Event(EventKind.CANDLE_CLOSED, candle, candle.close_time)


def update(client_id: str, status: OrderStatus) -> OrderUpdate:
    return OrderUpdate(client_id, "BTCUSDT", status, 0)


def test_each_candle_is_measured_from_its_own_arrival() -> None:
    journey = Journey()
    events = [candle_event(minute) for minute in range(3)]
    for event in events:
        journey.arrived(event)
    for event in events:
        journey.decided(event)
        journey.decided(event)  # a second answer to the same candle is none
    assert journey.candle_to_decision.count == 3
    assert journey.candle_to_decision.sum_ns > 0


def test_a_candle_that_never_arrived_here_is_not_measured() -> None:
    journey = Journey()
    arrived, other = candle_event(1), candle_event(1)  # equal, but not the same
    journey.arrived(arrived)
    journey.decided(other)
    assert journey.candle_to_decision.count == 0


def test_an_order_is_followed_from_the_decision_to_the_first_answer() -> None:
    journey = Journey()
    journey.planned("cw-1")
    journey.sent("cw-1")
    assert journey.unanswered == 1
    journey.answered(update("cw-1", OrderStatus.UNKNOWN))  # that is not an answer
    assert journey.unanswered == 1
    journey.answered(update("cw-1", OrderStatus.ACKNOWLEDGED))
    journey.answered(update("cw-1", OrderStatus.FILLED))
    journey.answered(update("somebody-else", OrderStatus.FILLED))
    assert journey.unanswered == 0
    assert journey.decision_to_sent.count == journey.round_trip.count == 1


def test_a_withheld_order_has_no_latency() -> None:
    journey = Journey()
    journey.planned("cw-1")
    journey.withheld("cw-1")
    journey.answered(update("cw-1", OrderStatus.REJECTED))
    assert journey.decision_to_sent.count == journey.round_trip.count == 0


def test_a_crowd_is_sampled_until_the_next_beat() -> None:
    journey = Journey()
    for beat in (1, 2):
        for minute in range(1_000):
            event = candle_event(minute)
            journey.arrived(event)
            journey.decided(event)
            journey.planned(f"cw-{minute}")
            journey.sent(f"cw-{minute}")
            journey.answered(update(f"cw-{minute}", OrderStatus.FILLED))
        assert journey.candle_to_decision.count == 64 * beat
        assert journey.round_trip.count == journey.decision_to_sent.count == 64 * beat
        journey.refill()
    assert journey.unanswered == 0


def test_orders_without_an_answer_do_not_pile_up() -> None:
    journey = Journey()
    for number in range(10_100):
        journey.refill()
        journey.planned(f"cw-{number}")
        journey.sent(f"cw-{number}")
    assert journey.unanswered == 10_000
    journey.answered(update("cw-10099", OrderStatus.FILLED))
    journey.answered(update("cw-0", OrderStatus.FILLED))  # it gave way
    assert journey.round_trip.count == 1


def test_a_fill_is_followed_until_a_stop_covers_it_or_the_position_is_gone() -> None:
    journey = Journey()
    for is_flat in (False, True):
        journey.filled("BTCUSDT")
        journey.protection("BTCUSDT", waits=True, is_flat=False)
        journey.filled("BTCUSDT")  # more of it, while the first waits
        journey.protection("BTCUSDT", waits=True, is_flat=False)
        journey.protection("BTCUSDT", waits=False, is_flat=is_flat)
    assert (journey.protected.count, journey.closed.count) == (1, 1)


def test_a_fill_that_waits_for_nothing_is_not_measured() -> None:
    journey = Journey()
    journey.filled("BTCUSDT")
    journey.protection("BTCUSDT", waits=False, is_flat=True)
    journey.protection("ETHUSDT", waits=False, is_flat=True)
    assert (journey.protected.count, journey.closed.count) == (0, 0)


def test_a_fill_that_the_account_tells_first_is_followed_too() -> None:
    journey = Journey()
    journey.protection("BTCUSDT", waits=True, is_flat=False)
    journey.protection("BTCUSDT", waits=False, is_flat=False)
    assert journey.protected.count == 1
