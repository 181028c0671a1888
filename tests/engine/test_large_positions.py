"""Positions larger than one market order may be: several stops protect them together."""

from __future__ import annotations

from typing import Any

import pytest

from candlewick.engine import Memory, SymbolMemory
from candlewick.models import Instrument, OrderPurpose, OrderStatus, Position, SignalAction
from tests.engine.game import SYMBOL, Game, resting
from tests.engine.picking import cancels_in, orders_in
from tests.engine.stubborn import Stubborn

_, STOP, TARGET, CLOSE = OrderPurpose
LARGEST = 0.4


def held(size: float = 1.0) -> Stubborn:
    """A position with its exits, at an exchange that takes 0.4 in one market order."""
    game = Stubborn({}, LARGEST)
    game.buy(size)
    game.run(300)
    return game


def stops(game: Stubborn) -> list[tuple[float, float]]:
    """Quantity and trigger of the stops that rest, largest first."""
    found = [(o.quantity, o.trigger_price) for o in game.resting.values() if o.purpose is STOP]
    return sorted(found, reverse=True)


def test_several_stops_cover_what_one_cannot() -> None:
    game = held()
    assert stops(game) == [(0.4, 90.0), (0.4, 90.0), (0.2, 90.0)]
    assert [o.quantity for o in game.resting.values() if o.purpose is TARGET] == [0.4]
    assert not game.alarms
    assert game.held == 1.0
    game.run(120_000)  # through the periodic comparisons with the account
    assert len(game.sent) == 5


@pytest.mark.parametrize(
    ("more", "expected"), [(0.1, [0.4, 0.4, 0.3]), (0.4, [0.4, 0.4, 0.4, 0.2])]
)
def test_they_grow_with_the_position(more: float, expected: list[float]) -> None:
    game = held()
    game.buy(more)
    game.run(300)
    assert [quantity for quantity, _ in stops(game)] == expected


@pytest.mark.parametrize(
    ("part", "expected"), [(0.1, [0.4, 0.4, 0.1]), (0.3, [0.4, 0.3]), (0.2, [0.4, 0.4])]
)
def test_they_follow_a_part_that_is_closed_without_a_gap(
    part: float, expected: list[float]
) -> None:
    game = held()
    game.watches_cover = True
    game.signal(SignalAction.CLOSE, size=part)
    game.run(300)
    assert [quantity for quantity, _ in stops(game)] == expected
    assert not game.gaps


def test_all_of_them_move_without_a_gap() -> None:
    game = held()
    game.watches_cover = True
    game.signal(SignalAction.MOVE_STOP, stop=95.0)
    game.run(300)
    assert stops(game) == [(0.4, 95.0), (0.4, 95.0), (0.2, 95.0)]
    assert not game.gaps


def test_nothing_is_sent_while_they_fill_one_after_the_other(play: Any) -> None:
    instrument = Instrument(SYMBOL, 0.1, 0.001, market_max_quantity=LARGEST)
    game = play(instrument=instrument)
    entry = game.enter(price=99.0, size=1.0)
    game.fill_all(entry, price=99.0)
    first, second, third = game.open(STOP)
    game.acknowledge(first, second, third)
    decisions = [*game.fill(second, 0.1), *game.fill(third, 0.2), *game.fill(second, 0.3)]
    decisions += game.update(third, OrderStatus.FILLED, 0.2)
    decisions += game.update(second, OrderStatus.FILLED, 0.4)
    assert not orders_in(decisions)
    assert not cancels_in(decisions)
    game.fill_all(first)
    assert game.quantity == 0.0
    assert not game.open(STOP)


def test_it_is_closed_in_slices_while_they_rest(play: Any) -> None:
    instrument = Instrument(SYMBOL, 0.1, 0.001, max_quantity=10.0, market_max_quantity=LARGEST)
    game = play(instrument=instrument)
    entry = game.enter(price=99.0, size=1.0)
    game.fill_all(entry, price=99.0)
    game.acknowledge(*game.open(STOP))
    slices = orders_in(game.signal(SignalAction.CLOSE))
    closed = []
    while slices:
        (close,) = [o for o in slices if o.purpose is CLOSE]
        closed.append(close.quantity)
        slices = [o for o in orders_in(game.fill_all(close)) if o.purpose is CLOSE]
    assert closed == [0.4, 0.4, 0.2]
    assert game.quantity == 0.0


# -- after a restart ------------------------------------------------------------------------------


def left_by(game: Stubborn, stop: float) -> Memory:
    """What the journal of a killed run says."""
    position = Position(SYMBOL, game.held, 100.0)
    orders = tuple(o for o in game.sent if o.client_id in game.resting)
    known = SymbolMemory(position, stop, 120.0, trade_ids=(1,), orders=orders)
    return Memory({SYMBOL: known})


def test_a_restart_finds_all_of_them_and_changes_nothing() -> None:
    game = held()
    next_run = Game(left_by(game, 90.0), run_id="next", largest=LARGEST)
    decisions = next_run.tell(1.0, [resting(o) for o in game.resting.values()])
    assert not orders_in(decisions)
    assert not cancels_in(decisions)
    assert next_run.engine.next_deadline == 0


def test_a_restart_in_the_middle_of_a_move_ends_it() -> None:
    """One of the new stops rests, the old ones do too."""
    game = held()
    game.signal(SignalAction.MOVE_STOP, stop=95.0)
    first = next(o for o in game.sent if o.trigger_price == 95.0)
    for order in [o for o in game.resting.values() if o.trigger_price == 95.0]:
        if order.client_id != first.client_id:
            del game.resting[order.client_id]
    next_run = Game(left_by(game, 95.0), run_id="next", largest=LARGEST)
    rest = {o.client_id: resting(o) for o in game.resting.values()}
    todo = list(next_run.tell(1.0, list(rest.values())))
    while todo:
        for order in orders_in(todo):
            rest[order.client_id] = order
        gone = [rest.pop(name) for name in cancels_in(todo)]
        answers = [d for o in orders_in(todo) for d in next_run.acknowledge(o)]
        todo = [*answers, *(d for o in gone for d in next_run.update(o, OrderStatus.CANCELED))]
        assert sum(o.quantity for name, o in rest.items() if "stop" in name) >= 1.0
    left = sorted((o.quantity, o.trigger_price) for n, o in rest.items() if "stop" in n)
    assert left == [(0.2, 95.0), (0.4, 95.0), (0.4, 95.0)]


def test_without_a_journal_they_are_claimed_together() -> None:
    listed = [resting(order) for order in held().resting.values() if order.purpose is STOP]
    game = Game(run_id="next", largest=LARGEST)
    decisions = game.tell(1.0, listed)
    assert not orders_in(decisions)
    assert not cancels_in(decisions)
    assert game.engine.next_deadline == 0
