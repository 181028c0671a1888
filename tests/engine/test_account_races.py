"""What the exchange answers and what it tells cross each other: the newer knowledge wins."""

from __future__ import annotations

import pytest

from candlewick.engine import (
    Alarm,
    AlarmKind,
    AskAccount,
    ForeignOrder,
    Memory,
    OrderChanged,
    PositionChanged,
    Query,
    SymbolMemory,
)
from candlewick.models import (
    Fill,
    Order,
    OrderPurpose,
    OrderStatus,
    OrderType,
    Position,
    Side,
    StreamKind,
    StreamState,
    StreamStatus,
)
from candlewick.risk import DenialCode
from tests.engine.game import SYMBOL, Game, by_hand, resting
from tests.engine.picking import cancels_in, of, orders_in

# -- orders ---------------------------------------------------------------------------------------


def test_a_replacement_without_an_answer_that_is_listed_takes_the_place_of_the_old_stop() -> None:
    game = Game()
    old = game.hold()
    new = game.move(95.0)
    game.update(new, OrderStatus.UNKNOWN)
    decisions = game.tell(1.0, [resting(old), resting(new)])
    assert cancels_in(decisions) == [old.client_id]
    game.update(old, OrderStatus.CANCELED)
    assert orders_in([*game.tell(1.0, [resting(new)])]) == []
    assert game.move(96.0).trigger_price == 96.0, "and it can be replaced in its turn"


def test_a_stop_that_ends_while_its_successor_is_under_way_is_not_sent_a_third_time() -> None:
    game = Game()
    old = game.hold()
    new = game.move(95.0)
    assert orders_in(game.update(old, OrderStatus.CANCELED)) == []
    assert game.engine.next_deadline > 0, "until the successor is confirmed"
    assert orders_in(game.acknowledge(new)) == []
    assert game.engine.next_deadline == 0
    assert [o.client_id for o in game.engine.orders_of(SYMBOL)] == [new.client_id]


def test_a_successor_that_is_cancelled_by_hand_leaves_the_old_stop_replaceable() -> None:
    game = Game()
    old = game.hold()
    new = game.move(95.0)
    assert orders_in(game.update(new, OrderStatus.CANCELED)) == []
    assert [o.client_id for o in game.engine.orders_of(SYMBOL)] == [old.client_id]
    assert game.move(96.0).trigger_price == 96.0


def test_an_order_that_has_ended_does_not_come_back_from_an_older_list() -> None:
    game = Game()
    old = game.hold()
    older = game.snapshot(1.0, [resting(old)], later=0)
    new = game.move(95.0)
    game.acknowledge(new)
    game.update(old, OrderStatus.CANCELED)
    decisions = game.engine.on_snapshot(older)
    assert of(OrderChanged, decisions) == []
    assert old.client_id not in {o.client_id for o in game.engine.orders_of(SYMBOL)}


def test_an_order_that_was_said_to_have_ended_and_rests_is_cancelled() -> None:
    game = Game()
    entry = game.enter(price=95.0)
    game.update(entry, OrderStatus.REJECTED)
    decisions = game.tell(0.0, [resting(entry)], later=5_000)
    assert cancels_in(decisions) == [entry.client_id]


def test_a_second_stop_of_ours_is_cancelled() -> None:
    game = Game()
    stop = game.hold()
    stray = Order(
        "cw-now-000099-stop", SYMBOL, Side.SELL, OrderType.STOP_MARKET, 1.0, trigger_price=80.0,
        reduce_only=True, status=OrderStatus.ACKNOWLEDGED,
    )  # fmt: skip
    assert cancels_in(game.tell(1.0, [resting(stop), stray])) == [stray.client_id]


def test_the_stop_that_covers_most_is_claimed() -> None:
    game = Game()
    small, large = (
        Order(
            f"cw-old-00000{n}-stop", SYMBOL, Side.SELL, OrderType.STOP_MARKET, quantity,
            trigger_price=90.0, reduce_only=True, status=OrderStatus.ACKNOWLEDGED,
        )
        for n, quantity in ((1, 0.5), (2, 1.0))
    )  # fmt: skip
    decisions = game.tell(1.0, [small, large])
    assert cancels_in(decisions) == [small.client_id]
    assert orders_in(decisions) == []


def test_orders_of_others_are_told_of_once_and_left_alone() -> None:
    game = Game()
    theirs = by_hand(client_id="web_7")
    (told,) = of(ForeignOrder, game.tell(0.0, [theirs]))
    assert told.order == theirs
    again = game.tell(0.0, [theirs])
    assert again == []
    assert set(game.engine.symbols[SYMBOL].foreign) == {"web_7"}
    assert game.tell() == []
    assert not game.engine.symbols[SYMBOL].foreign
    assert theirs.client_id not in {o.client_id for o in game.engine.orders_of(SYMBOL)}


# -- positions ------------------------------------------------------------------------------------


def test_a_trade_younger_than_the_positions_in_the_same_answer_is_not_undone() -> None:
    """The positions were asked for, the stop traded, then the trades were asked for."""
    game = Game()
    stop = game.hold()
    trade = game.fill_of(stop, later=50)
    decisions = game.tell(1.0, fills=[trade], later=10)
    assert game.quantity == 0.0, "the trade is what is known last"
    assert len(of(AskAccount, decisions)) == 1, "the answer contradicts it: ask again"
    assert orders_in(decisions) == []
    assert of(AskAccount, game.tell(0.0, later=100)) == []


def test_an_answer_that_was_overtaken_leaves_the_account_unknown_and_is_asked_for_again() -> None:
    game = Game()
    entry = game.enter()
    status = StreamStatus(StreamKind.ACCOUNT, StreamState.LOST, game.now, "reset")
    game.engine.on_stream(status)
    game.engine.on_stream(StreamStatus(StreamKind.ACCOUNT, StreamState.LIVE, game.now))
    overtaken = game.snapshot(known=game.engine.fills_booked)
    game.engine.on_fill(game.fill_of(entry))
    decisions = game.engine.on_snapshot(overtaken)
    assert game.quantity == 1.0
    assert len(of(AskAccount, decisions)) == 1
    assert game.engine.refuses(entry) is DenialCode.UNKNOWN_STATE
    game.tell(1.0)
    assert not game.unknown


def test_a_fill_that_is_told_after_the_position_was_adopted_with_it_counts_once() -> None:
    game = Game()
    entry = game.enter()
    game.acknowledge(entry)
    fill = game.fill_of(entry, later=5)
    decisions = game.tell(1.0, [resting(entry)], later=10)
    (stop,) = orders_in(decisions)
    assert stop.trigger_price == 90.0, "the open entry explains it: its plan holds"
    (changed,) = of(PositionChanged, decisions)
    assert changed.cause == ""
    game.engine.on_fill(fill)
    assert game.quantity == 1.0
    game.update(entry, OrderStatus.FILLED)
    assert entry.client_id not in {o.client_id for o in game.engine.orders_of(SYMBOL)}


# -- a restart ------------------------------------------------------------------------------------


def remembered(*orders: Order, quantity: float = 0.5, stop: float = 90.0) -> Memory:
    known = SymbolMemory(
        Position(SYMBOL, quantity, 100.0, updated_time=10), stop, 0.0, 0.0, (), orders
    )
    return Memory({SYMBOL: known}, last_time=10)


OLD_STOP = Order(
    "cw-old-000002-stop", SYMBOL, Side.SELL, OrderType.STOP_MARKET, 0.5, trigger_price=90.0,
    reduce_only=True, purpose=OrderPurpose.STOP,
)  # fmt: skip
OLD_ENTRY = Order(
    "cw-old-000001-entry", SYMBOL, Side.BUY, OrderType.LIMIT, 1.0, price=100.0,
    purpose=OrderPurpose.ENTRY, filled=0.5,
)  # fmt: skip


def test_fills_missed_before_a_restart_do_not_cost_the_stop_that_rests() -> None:
    game = Game(remembered(OLD_ENTRY, OLD_STOP))
    fill = Fill(9, OLD_ENTRY.client_id, SYMBOL, Side.BUY, 100.0, 0.5, 0.0, game.now - 5)
    decisions = game.tell(1.0, [resting(OLD_STOP)], [fill])
    (new,) = orders_in(decisions)
    assert (new.quantity, new.trigger_price) == (1.0, 90.0)
    assert cancels_in(decisions) == [], "the old one stays until the new one is confirmed"
    assert cancels_in(game.acknowledge(new)) == [OLD_STOP.client_id]


def test_a_replacement_under_way_at_the_crash_is_completed() -> None:
    new = Order(
        "cw-old-000003-stop", SYMBOL, Side.SELL, OrderType.STOP_MARKET, 0.5, trigger_price=95.0,
        reduce_only=True, purpose=OrderPurpose.STOP,
    )  # fmt: skip
    game = Game(remembered(OLD_STOP, new, stop=95.0))
    decisions = game.tell(0.5, [resting(OLD_STOP), resting(new)])
    assert orders_in(decisions) == []
    assert cancels_in(decisions) == [OLD_STOP.client_id]


def test_a_replacement_that_never_arrived_leaves_the_old_stop() -> None:
    new = Order(
        "cw-old-000003-stop", SYMBOL, Side.SELL, OrderType.STOP_MARKET, 0.5, trigger_price=95.0,
        reduce_only=True, purpose=OrderPurpose.STOP,
    )  # fmt: skip
    game = Game(remembered(OLD_STOP, new, stop=95.0))
    decisions = game.tell(0.5, [resting(OLD_STOP)])
    assert cancels_in(decisions) == []
    assert [query.order.client_id for query in of(Query, decisions)] == [new.client_id]
    answer = game.update(new, OrderStatus.REJECTED)
    assert cancels_in(answer) == []
    assert game.engine.next_deadline == 0


# -- positions of others --------------------------------------------------------------------------


@pytest.mark.parametrize("told", ["by a trade", "by the account"])
@pytest.mark.parametrize("policy", ["adopt", "close"])
def test_a_position_opened_by_hand_is_adopted_or_closed_as_the_policy_says(
    told: str, policy: str
) -> None:
    game = Game(foreign_positions=policy)
    if told == "by a trade":
        decisions = list(game.engine.on_fill(game.fill_of(by_hand())))
    else:
        decisions = game.tell(1.0)
    (changed,) = of(PositionChanged, decisions)
    assert changed.cause
    purposes = {order.purpose for order in orders_in(decisions)}
    if policy == "adopt":
        assert purposes == {OrderPurpose.STOP}
        return
    assert purposes == {OrderPurpose.STOP, OrderPurpose.CLOSE}
    (close,) = [o for o in orders_in(decisions) if o.purpose is OrderPurpose.CLOSE]
    assert (close.side, close.quantity, close.reduce_only) == (Side.SELL, 1.0, True)


@pytest.mark.parametrize("client_id", ["web_1", "autoclose-17", "adl_autoclose_3"])
@pytest.mark.parametrize("policy", ["adopt", "close"])
def test_a_position_cut_by_others_is_followed_and_not_closed(client_id: str, policy: str) -> None:
    game = Game(foreign_positions=policy)
    stop = game.hold()
    cut = by_hand(Side.SELL, 0.4, client_id)
    decisions = list(game.engine.on_fill(game.fill_of(cut)))
    (smaller,) = orders_in(decisions)
    assert (smaller.purpose, smaller.quantity) == (OrderPurpose.STOP, 0.6)
    assert cancels_in(game.acknowledge(smaller)) == [stop.client_id]
    alarms = [alarm.kind for alarm in of(Alarm, decisions)]
    assert alarms == ([] if client_id == "web_1" else [AlarmKind.CLOSED_BY_EXCHANGE])


@pytest.mark.parametrize(
    ("client_id", "cause"),
    [("autoclose-17", "liquidation"), ("adl_autoclose_3", "ADL"), ("web_1", "by hand")],
)
def test_a_position_closed_by_others_leaves_nothing_resting(client_id: str, cause: str) -> None:
    game = Game()
    stop = game.hold()
    decisions = list(game.engine.on_fill(game.fill_of(by_hand(Side.SELL, 1.0, client_id))))
    assert cancels_in(decisions) == [stop.client_id]
    (changed,) = of(PositionChanged, decisions)
    assert (changed.cause, changed.after.quantity) == (cause, 0.0)


def test_a_position_turned_round_by_hand_gets_a_stop_on_its_other_side() -> None:
    game = Game()
    stop = game.hold()
    decisions = list(game.engine.on_fill(game.fill_of(by_hand(Side.SELL, 3.0))))
    assert game.quantity == -2.0
    assert stop.client_id in cancels_in(decisions)
    (new,) = orders_in(decisions)
    assert (new.side, new.quantity, new.trigger_price) == (Side.BUY, 2.0, 110.0)


def test_an_entry_that_only_reduces_what_others_hold_brings_no_plan_of_its_own() -> None:
    game = Game()
    entry = game.enter()
    game.engine.on_fill(game.fill_of(by_hand(Side.SELL, 3.0)))
    decisions = list(game.engine.on_fill(game.fill_of(entry)))
    assert game.quantity == -2.0
    stops = [o for o in game.engine.orders_of(SYMBOL) if o.purpose is OrderPurpose.STOP]
    assert {(o.side, o.trigger_price) for o in stops} == {(Side.BUY, 110.0)}
    assert cancels_in(decisions) == []
