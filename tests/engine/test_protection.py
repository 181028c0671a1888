"""A position is never without a stop for longer than allowed, and a replacement leaves no gap."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from candlewick.engine import StopPolicy
from candlewick.live.verification import examine
from candlewick.models import (
    AccountSnapshot,
    OrderPurpose,
    OrderStatus,
    OrderType,
    Side,
    SignalAction,
)
from candlewick.risk import DenialCode

ENTRY, STOP, TARGET, CLOSE = OrderPurpose
MOVE_STOP = SignalAction.MOVE_STOP


def test_the_target_goes_out_only_once_the_stop_is_confirmed(play: Any, sent: Any) -> None:
    game = play()
    entry = game.enter(target=120.0)
    (stop,) = sent(game.fill_all(entry))
    assert stop.purpose is STOP
    assert game.open(TARGET) == []
    (target,) = sent(game.acknowledge(stop))
    assert target.purpose is TARGET


@pytest.mark.parametrize(("action", "stop"), [(SignalAction.BUY, 90.0), (SignalAction.SELL, 110.0)])
def test_a_trailing_stop_is_sent_with_its_distance(
    play: Any, action: SignalAction, stop: float
) -> None:
    game = play()
    entry = game.enter(action, trail=0.05)
    game.fill_all(entry)
    trailing = game.only(STOP)
    assert (trailing.type, trailing.callback_rate) == (OrderType.TRAILING_STOP_MARKET, 0.05)
    assert trailing.side is entry.side.opposite
    assert trailing.trigger_price == 0.0


def test_a_position_without_stop_or_default_is_not_watched(play: Any) -> None:
    game = play(default_stop=0.0)
    entry = game.enter(stop=0.0)
    game.fill_all(entry)
    assert game.open(STOP) == []
    assert game.engine.next_deadline == 0


# -- replacing a stop ---------------------------------------------------------------------------


def test_the_old_stop_is_cancelled_only_after_the_new_one_is_confirmed(
    play: Any, sent: Any, cancelled: Any
) -> None:
    game = play()
    old = game.hold()
    moving = game.signal(MOVE_STOP, stop=95.0)
    (new,) = sent(moving)
    assert (new.trigger_price, new.quantity) == (95.0, 1.0)
    assert cancelled(moving) == []
    assert game.engine.next_deadline == 0, "the old one still protects"
    assert cancelled(game.acknowledge(new)) == [old.client_id]
    game.canceled(old)
    assert [o.client_id for o in game.open(STOP)] == [new.client_id]
    assert game.engine.next_deadline == 0


@pytest.mark.parametrize("status", [OrderStatus.REJECTED, OrderStatus.EXPIRED])
def test_a_failed_replacement_keeps_the_old_stop(
    play: Any, sent: Any, cancelled: Any, status: OrderStatus
) -> None:
    game = play()
    old = game.hold()
    (new,) = sent(game.signal(MOVE_STOP, stop=95.0))
    answer = game.update(new, status, code=-1000)
    assert sent(answer) == []
    assert cancelled(answer) == []
    assert [o.client_id for o in game.open(STOP)] == [old.client_id]
    assert game.engine.next_deadline == 0
    (again,) = sent(game.signal(MOVE_STOP, stop=96.0))
    assert again.trigger_price == 96.0, "the next wish is tried"


def test_a_replacement_that_is_unknown_keeps_the_old_stop(
    play: Any, sent: Any, cancelled: Any
) -> None:
    game = play()
    old = game.hold()
    (new,) = sent(game.signal(MOVE_STOP, stop=95.0))
    assert cancelled(game.update(new, OrderStatus.UNKNOWN)) == []
    assert game.engine.next_deadline == 0
    assert cancelled(game.acknowledge(new)) == [old.client_id]


def test_a_replacement_the_price_has_passed_closes_the_position(play: Any, sent: Any) -> None:
    game = play()
    game.hold()
    (new,) = sent(game.signal(MOVE_STOP, stop=99.0))
    (close,) = sent(game.reject(new, -2021))
    assert (close.purpose, close.quantity, close.type) == (CLOSE, 1.0, OrderType.MARKET)


def test_while_one_replacement_is_on_its_way_no_second_is_sent(play: Any, sent: Any) -> None:
    game = play()
    game.hold()
    (first,) = sent(game.signal(MOVE_STOP, stop=94.0))
    assert sent(game.signal(MOVE_STOP, stop=95.0)) == []
    (second,) = sent(game.acknowledge(first))
    assert second.trigger_price == 95.0


def test_the_stop_of_the_right_size_follows_a_partial_close(
    play: Any, sent: Any, cancelled: Any
) -> None:
    game = play()
    old = game.hold()
    (close,) = sent(game.signal(SignalAction.CLOSE, size=0.4))
    assert close.quantity == 0.4
    (smaller,) = sent(game.fill_all(close))
    assert (smaller.quantity, smaller.trigger_price) == (0.6, 90.0)
    assert cancelled(game.acknowledge(smaller)) == [old.client_id]


def test_adding_to_a_position_takes_over_the_newer_plan(play: Any, sent: Any) -> None:
    game = play()
    game.hold(stop=90.0)
    more = game.enter(size=0.5, stop=94.0)
    (stop,) = sent(game.fill_all(more))
    assert (stop.quantity, stop.trigger_price) == (1.5, 94.0)


def test_a_target_is_replaced_like_a_stop(play: Any, sent: Any, cancelled: Any) -> None:
    game = play()
    game.hold(target=120.0)
    old = game.only(TARGET)
    (close,) = sent(game.signal(SignalAction.CLOSE, size=0.4))
    replacements = sent(game.fill_all(close))
    assert [(o.purpose, o.quantity) for o in replacements] == [(STOP, 0.6), (TARGET, 0.6)]
    game.acknowledge(replacements[0])
    assert cancelled(game.acknowledge(replacements[1])) == [old.client_id]


def test_a_refused_replacement_of_a_target_keeps_the_old_target(play: Any, sent: Any) -> None:
    game = play()
    game.hold(target=120.0)
    old = game.only(TARGET)
    (close,) = sent(game.signal(SignalAction.CLOSE, size=0.4))
    _, target = sent(game.fill_all(close))
    for _ in range(20):
        again = sent(game.reject(target))
        if not again:
            break
        (target,) = again
    else:
        pytest.fail("it was sent for ever")
    assert [o.client_id for o in game.open(TARGET)] == [old.client_id]


def test_a_stop_is_replaced_by_one_that_trails_and_back(
    play: Any, sent: Any, cancelled: Any
) -> None:
    game = play()
    plain = game.hold()
    (trailing,) = sent(game.signal(MOVE_STOP, trail=0.05))
    assert (trailing.type, trailing.callback_rate) == (OrderType.TRAILING_STOP_MARKET, 0.05)
    assert cancelled(game.acknowledge(trailing)) == [plain.client_id]
    game.canceled(plain)
    (again,) = sent(game.signal(MOVE_STOP, stop=95.0))
    assert (again.type, again.trigger_price) == (OrderType.STOP_MARKET, 95.0)
    assert cancelled(game.acknowledge(again)) == [trailing.client_id]


@pytest.mark.parametrize("trails_first", [False, True])
def test_the_kind_of_stop_that_was_kept_stays_the_plan(
    play: Any, sent: Any, trails_first: bool
) -> None:
    """After a refused change between the kinds, more quantity is protected as before."""
    game = play()
    game.hold(**({"trail": 0.05} if trails_first else {"stop": 90.0}))
    wish = {"stop": 95.0} if trails_first else {"trail": 0.05}
    (refused,) = sent(game.signal(MOVE_STOP, **wish))
    assert sent(game.reject(refused)) == []
    (close,) = sent(game.signal(SignalAction.CLOSE, size=0.4))
    (smaller,) = sent(game.fill_all(close))
    expected = (0.05, 0.0) if trails_first else (0.0, 90.0)
    assert (smaller.callback_rate, smaller.trigger_price) == expected


@pytest.mark.parametrize("trail", [0.0005, 0.2])
def test_a_stop_is_not_moved_to_a_distance_that_no_exchange_takes(play: Any, trail: float) -> None:
    game = play()
    stop = game.hold()
    game.signal(MOVE_STOP, trail=trail)
    assert game.denials[-1].code is DenialCode.TRAIL_OUT_OF_RANGE
    assert [o.client_id for o in game.open(STOP)] == [stop.client_id]


def test_a_target_that_trails_rests_beside_the_stop_and_is_not_taken_for_one(
    play: Any, sent: Any
) -> None:
    game = play()
    stop = game.hold(target=120.0, target_trail=0.02)
    target = game.only(TARGET)
    assert target.type is OrderType.TRAILING_STOP_MARKET
    assert (target.trigger_price, target.callback_rate) == (120.0, 0.02)
    listed = [
        msgspec.structs.replace(order, status=OrderStatus.ACKNOWLEDGED) for order in (stop, target)
    ]
    held = (game.engine.position_of("BTCUSDT"),)
    both = AccountSnapshot(1, 0.0, held, tuple(listed))
    assert not examine(both, game.engine, StopPolicy.KEEP).problems
    alone = AccountSnapshot(1, 0.0, held, (target,))
    assert examine(alone, game.engine, StopPolicy.KEEP).problems
    assert sent(game.signal(MOVE_STOP, stop=91.0)) != [], "and replacing goes on as usual"


# -- when a stop ends ---------------------------------------------------------------------------


def test_the_end_of_a_stop_cancels_the_target(play: Any, cancelled: Any) -> None:
    game = play()
    stop = game.hold(target=120.0)
    target = game.only(TARGET)
    assert cancelled(game.fill_all(stop, price=90.0)) == [target.client_id]
    game.canceled(target)
    assert game.engine.is_settled
    assert game.trades_made[-1].exit_reason == "stop"


@pytest.mark.parametrize("update_first", [False, True])
def test_a_stop_that_fills_in_parts_is_not_replaced_meanwhile(
    play: Any, sent: Any, update_first: bool
) -> None:
    game = play()
    stop = game.hold()
    for part, filled in ((0.25, 0.25), (0.25, 0.5)):
        if update_first:
            assert sent(game.update(stop, OrderStatus.PARTIALLY_FILLED, filled)) == []
        assert sent(game.fill(stop, part, price=90.0)) == []
        if not update_first:
            assert sent(game.update(stop, OrderStatus.PARTIALLY_FILLED, filled)) == []
    assert game.engine.next_deadline == 0, "what is left is still covered"
    if update_first:
        game.update(stop, OrderStatus.FILLED, 1.0)
    assert sent(game.fill(stop, 0.5, price=90.0)) == []
    if not update_first:
        game.update(stop, OrderStatus.FILLED, 1.0)
    assert game.engine.is_settled


def test_a_target_that_fills_in_part_shrinks_the_stop(play: Any, sent: Any) -> None:
    game = play()
    game.hold(target=120.0)
    target = game.only(TARGET)
    (smaller,) = sent(game.fill(target, 0.4, price=120.0))
    assert (smaller.purpose, smaller.quantity) == (STOP, 0.6)
    assert sent(game.update(target, OrderStatus.PARTIALLY_FILLED, 0.4)) == []


@pytest.mark.parametrize("end", [OrderStatus.CANCELED, OrderStatus.EXPIRED])
def test_a_stop_that_ends_without_a_fill_is_sent_again(
    play: Any, sent: Any, end: OrderStatus
) -> None:
    """Somebody cancelled it by hand, or the exchange let it expire."""
    game = play()
    stop = game.hold()
    (again,) = sent(game.update(stop, end))
    assert (again.purpose, again.trigger_price, again.quantity) == (STOP, 90.0, 1.0)
    assert game.engine.next_deadline > 0, "until it is confirmed"


def test_an_unconfirmed_stop_of_a_position_that_is_gone_is_cancelled_when_it_rests(
    play: Any, sent: Any, cancelled: Any
) -> None:
    game = play()
    entry = game.enter()
    (stop,) = sent(game.fill_all(entry))
    (close,) = sent(game.signal(SignalAction.CLOSE))
    assert cancelled(game.fill_all(close)) == [stop.client_id]
    game.reject(stop, -2011)  # it had not arrived
    assert cancelled(game.acknowledge(stop)) == [stop.client_id]
    game.canceled(stop)
    assert game.engine.is_settled


# -- when no stop can be placed -------------------------------------------------------------------


def test_a_stop_that_the_price_has_passed_closes_the_position_at_once(play: Any, sent: Any) -> None:
    game = play()
    entry = game.enter(stop=95.0)
    (stop,) = sent(game.fill_all(entry, price=94.0))
    orders = sent(game.reject(stop, -2021))
    assert [o.purpose for o in orders] == [CLOSE]
    game.fill_all(orders[0], price=94.0)
    assert game.engine.is_settled


def test_a_target_that_the_price_has_passed_closes_the_position(play: Any, sent: Any) -> None:
    game = play()
    entry = game.enter(target=101.0)
    (stop,) = sent(game.fill_all(entry))
    (target,) = sent(game.acknowledge(stop))
    orders = sent(game.reject(target, -2021))
    assert [o.purpose for o in orders] == [CLOSE]


def test_a_target_that_is_refused_otherwise_is_given_up_and_the_stop_stays(
    play: Any, sent: Any
) -> None:
    game = play()
    entry = game.enter(target=120.0)
    (stop,) = sent(game.fill_all(entry))
    (target,) = sent(game.acknowledge(stop))
    assert sent(game.reject(target)) == []
    assert [o.client_id for o in game.open(STOP)] == [stop.client_id]
    assert game.quantity == 1.0


def test_an_exchange_that_refuses_every_stop_gets_a_close_after_some_attempts(
    play: Any, sent: Any
) -> None:
    game = play()
    entry = game.enter()
    (stop,) = sent(game.fill_all(entry))
    attempts = 1
    while True:
        orders = sent(game.reject(stop, -4120))
        if orders[0].purpose is CLOSE:
            break
        (stop,) = orders
        attempts += 1
        assert attempts < 20, "it was tried for ever"
    assert attempts == 5
    assert len(orders) == 1, "no further stop beside the close"
    assert orders[0].quantity == 1.0


def test_a_close_that_is_refused_is_tried_again_and_then_reported(play: Any, sent: Any) -> None:
    game = play()
    game.hold()
    (close,) = sent(game.signal(SignalAction.CLOSE))
    attempts = 1
    while orders := sent(game.reject(close, -1001)):
        (close,) = orders
        attempts += 1
        assert attempts < 20, "it was tried for ever"
    assert attempts == 5
    game.signal(size=1.0)
    assert "could not be closed" in game.denials[-1].context["unknown"]


def test_a_close_of_nothing_means_that_the_books_are_wrong(play: Any, sent: Any) -> None:
    game = play()
    game.hold()
    (close,) = sent(game.signal(SignalAction.CLOSE))
    assert sent(game.reject(close, -2022)) == []
    game.signal(size=1.0)
    assert "no position" in game.denials[-1].context["unknown"]


# -- time ---------------------------------------------------------------------------------------


def test_a_position_without_a_confirmed_stop_is_closed_in_time(play: Any, sent: Any) -> None:
    game = play(protect_within_ms=2_000)
    entry = game.enter()
    game.fill_all(entry)
    filled_at = game.engine.now
    assert game.engine.next_deadline == filled_at + 2_000
    assert game.take(game.engine.on_timer(filled_at + 1_999)) == []
    (close,) = sent(game.take(game.engine.on_timer(filled_at + 2_000)))
    assert (close.purpose, close.quantity, close.side) == (CLOSE, 1.0, Side.SELL)
    assert close.reason == "no confirmed stop in time"
    assert game.engine.next_deadline == filled_at + 4_000, "and looked at again"
    assert sent(game.take(game.engine.on_timer(filled_at + 4_000))) == [], "one close at a time"


def test_a_close_that_was_refused_is_tried_again_at_the_next_deadline(play: Any, sent: Any) -> None:
    game = play(protect_within_ms=1_000)
    entry = game.enter()
    game.fill_all(entry)
    (close,) = sent(game.take(game.engine.on_timer(game.engine.now + 1_000)))
    while orders := sent(game.reject(close)):
        (close,) = orders
    (again,) = sent(game.take(game.engine.on_timer(game.engine.now + 1_000)))
    assert again.purpose is CLOSE


def test_the_time_counts_from_the_first_fill_that_is_not_covered(play: Any) -> None:
    game = play(protect_within_ms=5_000)
    entry = game.enter()
    first_fill = game.engine.now
    game.fill(entry, 0.5)
    game.take(game.engine.on_timer(first_fill + 3_000))
    game.fill(entry, 0.5)
    assert game.engine.next_deadline == first_fill + 5_000
    stop = game.only(STOP)
    game.acknowledge(stop)
    assert game.engine.next_deadline == first_fill + 5_000, "it covers only a half"
    (successor,) = [o for o in game.open(STOP) if o is not stop and o.quantity == 1.0]
    game.acknowledge(successor)
    assert game.engine.next_deadline == 0
