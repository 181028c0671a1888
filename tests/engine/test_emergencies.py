"""What cannot be protected is closed, what cannot be closed is told, and the account is asked."""

from __future__ import annotations

import pytest

from candlewick.engine import Alarm, AlarmKind, AskAccount
from candlewick.models import Order, OrderPurpose, OrderStatus
from candlewick.risk import DenialCode
from tests.engine.game import Game, resting
from tests.engine.picking import cancels_in, of, orders_in

ENTRY, STOP, TARGET, CLOSE = OrderPurpose
ANY_ENTRY = Order("cw-now-1-entry", "BTCUSDT", "buy", "market", 1.0)  # type: ignore[arg-type]


def entered(game: Game, **wishes: float) -> Order:
    """Fill an entry; returns the stop, which is not confirmed yet."""
    entry = game.enter(**wishes)
    (stop,) = orders_in(game.engine.on_fill(game.fill_of(entry)))
    game.update(entry, OrderStatus.FILLED)
    return stop


# -- the target and its stop ----------------------------------------------------------------------


@pytest.mark.parametrize("end", [OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REJECTED])
def test_a_target_goes_with_its_stop_and_comes_back_with_the_next(end: OrderStatus) -> None:
    game = Game()
    stop = game.hold(target=120.0)
    (target,) = [o for o in game.engine.orders_of("BTCUSDT") if o.purpose is TARGET]
    decisions = game.update(stop, end)
    (again,) = orders_in(decisions)
    assert again.purpose is STOP
    assert cancels_in(decisions) == [target.client_id]
    game.update(target, OrderStatus.CANCELED)
    (back,) = orders_in(game.acknowledge(again))
    assert (back.purpose, back.trigger_price) == (TARGET, 120.0)


# -- in time --------------------------------------------------------------------------------------


def test_the_bound_is_three_seconds_unless_said_otherwise() -> None:
    game = Game()
    entered(game)
    assert game.engine.next_deadline - game.engine.symbols["BTCUSDT"].unprotected_since == 3_000


def test_the_time_without_a_stop_grows_until_there_is_one() -> None:
    game = Game()
    entered(game)
    state = game.engine.symbols["BTCUSDT"]
    since = state.unprotected_since
    alarms = []
    for _ in range(4):
        alarms += of(Alarm, game.engine.on_timer(game.engine.next_deadline))
    assert state.unprotected_since == since
    assert game.now - since == 12_000
    assert [alarm.kind for alarm in alarms] == [AlarmKind.UNPROTECTED], "told once"


def test_a_close_for_want_of_a_stop_is_verified_before_the_next_entry() -> None:
    game = Game()
    stop = entered(game)
    (close,) = orders_in(game.engine.on_timer(game.engine.next_deadline))
    decisions = list(game.engine.on_fill(game.fill_of(close)))
    assert cancels_in(decisions) == [stop.client_id]
    (asked,) = of(AskAccount, decisions)
    assert "no confirmed stop in time" in asked.reason
    assert game.engine.refuses(ANY_ENTRY) is DenialCode.UNKNOWN_STATE
    game.update(close, OrderStatus.FILLED)
    game.update(stop, OrderStatus.CANCELED)
    assert game.tell() == []
    assert game.engine.refuses(ANY_ENTRY) is None


def test_an_account_that_still_holds_after_the_close_is_believed_and_closed_again() -> None:
    game = Game()
    entered(game)
    (close,) = orders_in(game.engine.on_timer(game.engine.next_deadline))
    game.engine.on_fill(game.fill_of(close))
    game.update(close, OrderStatus.FILLED)
    game.tell(1.0, later=5_000)
    assert game.quantity == 1.0
    assert game.engine.next_deadline > 0, "and it is watched again"


def test_stop_and_close_are_both_tried_again_while_neither_succeeds() -> None:
    game = Game()
    order = entered(game)
    while orders_in(decisions := game.update(order, OrderStatus.REJECTED, -4120)):
        (order,) = orders_in(decisions)
        if order.purpose is CLOSE:
            break
    for _ in range(10):
        if not (again := orders_in(game.update(order, OrderStatus.REJECTED, -1001))):
            break
        (order,) = again
    retried = orders_in(game.engine.on_timer(game.engine.next_deadline))
    assert {order.purpose for order in retried} == {STOP, CLOSE}
    stop = next(order for order in retried if order.purpose is STOP)
    game.acknowledge(stop)
    assert game.engine.next_deadline == 0, "protected after all"


def test_a_stop_that_is_cancelled_again_and_again_ends_in_a_close() -> None:
    game = Game()
    stop = game.hold()
    for _ in range(20):
        (order,) = orders_in(game.update(stop, OrderStatus.CANCELED))
        if order.purpose is CLOSE:
            break
        game.acknowledge(order)
        stop = order
    else:
        pytest.fail("it was sent for ever")


def test_refusals_of_long_ago_do_not_count() -> None:
    """A position that grows for days may see five refusals, each made good."""
    game = Game()
    game.hold()
    for level in range(91, 99):
        new = game.move(float(level))
        game.update(new, OrderStatus.REJECTED, -1000)
        game.engine.on_timer(game.now + 60_000)
    assert game.move(99.0).trigger_price == 99.0


# -- when nothing can be closed -------------------------------------------------------------------


def test_a_close_that_fails_for_good_is_told_once_and_tried_after_each_answer() -> None:
    game = Game()
    stop = game.hold()
    (close,) = orders_in(game.close())
    decisions = []
    while close:
        answered = game.update(close, OrderStatus.REJECTED, -1001)
        decisions += answered
        close = next(iter(orders_in(answered)), None)  # type: ignore[assignment]
    assert [alarm.kind for alarm in of(Alarm, decisions)] == [AlarmKind.CANNOT_CLOSE]
    assert game.engine.refuses(ANY_ENTRY) is DenialCode.UNKNOWN_STATE
    for _ in range(3):
        retried = game.tell(1.0, [resting(stop)], later=30_000)
        (close,) = orders_in(retried)
        assert close.purpose is CLOSE
        again = game.update(close, OrderStatus.REJECTED, -1001)
        assert of(Alarm, again) == []
        assert orders_in(again) == []


def test_a_close_of_nothing_is_verified_with_the_account() -> None:
    game = Game()
    stop = game.hold()
    (close,) = orders_in(game.close())
    decisions = game.update(close, OrderStatus.REJECTED, -2022)
    assert orders_in(decisions) == []
    assert len(of(AskAccount, decisions)) == 1
    assert cancels_in(game.tell(0.0, [resting(stop)])) == [stop.client_id]
    assert not game.unknown


def test_a_close_of_nothing_that_the_account_contradicts_is_tried_again() -> None:
    game = Game()
    stop = game.hold()
    (close,) = orders_in(game.close())
    game.update(close, OrderStatus.REJECTED, -2022)
    (again,) = orders_in(game.tell(1.0, [resting(stop)]))
    assert again.purpose is CLOSE
