"""An order's life: what moves it on, what is old news, and that each fill counts once."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from candlewick.engine import ClientIds, OrderChanged, PositionChanged, apply_update
from candlewick.engine.client_ids import parse_client_id
from candlewick.errors import ConfigError
from candlewick.models import (
    Fill,
    Funding,
    Order,
    OrderPurpose,
    OrderStatus,
    OrderType,
    OrderUpdate,
    Side,
    SignalAction,
)
from candlewick.risk import DenialCode

ENTRY, STOP, CLOSE = OrderPurpose.ENTRY, OrderPurpose.STOP, OrderPurpose.CLOSE
S = OrderStatus
FINAL = (S.FILLED, S.CANCELED, S.REJECTED, S.EXPIRED)


def order(status: OrderStatus, filled: float = 0.0) -> Order:
    return Order(
        "cw-a-000001-entry", "BTCUSDT", Side.BUY, OrderType.MARKET, 1.0, status=status,
        filled=filled, venue_id="7", average_price=5.0 if filled else 0.0,
    )  # fmt: skip


def update(status: OrderStatus, filled: float = 0.0, **fields: Any) -> OrderUpdate:
    return OrderUpdate("cw-a-000001-entry", "BTCUSDT", status, 9, filled=filled, **fields)


# -- the rule itself ------------------------------------------------------------------------------


@pytest.mark.parametrize("final", FINAL)
@pytest.mark.parametrize("status", list(OrderStatus))
def test_nothing_happens_to_a_final_order(final: OrderStatus, status: OrderStatus) -> None:
    before = order(final)
    assert apply_update(before, update(status, 1.0)) is before


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (S.PLANNED, S.SENT), (S.PLANNED, S.ACKNOWLEDGED), (S.SENT, S.UNKNOWN),
        (S.UNKNOWN, S.ACKNOWLEDGED), (S.UNKNOWN, S.REJECTED), (S.SENT, S.FILLED),
        (S.ACKNOWLEDGED, S.PARTIALLY_FILLED), (S.PARTIALLY_FILLED, S.CANCELED),
        (S.PLANNED, S.UNKNOWN),
    ],
)  # fmt: skip
def test_an_order_moves_on(before: OrderStatus, after: OrderStatus) -> None:
    assert apply_update(order(before), update(after)).status is after


@pytest.mark.parametrize(
    ("before", "late"),
    [
        (S.ACKNOWLEDGED, S.SENT), (S.ACKNOWLEDGED, S.UNKNOWN), (S.PARTIALLY_FILLED, S.ACKNOWLEDGED),
        (S.PARTIALLY_FILLED, S.UNKNOWN), (S.UNKNOWN, S.SENT), (S.ACKNOWLEDGED, S.ACKNOWLEDGED),
    ],
)  # fmt: skip
def test_old_news_changes_nothing(before: OrderStatus, late: OrderStatus) -> None:
    known = order(before)
    assert apply_update(known, update(late)) is known


def test_the_filled_quantity_never_shrinks() -> None:
    known = order(S.PARTIALLY_FILLED, 0.6)
    assert apply_update(known, update(S.PARTIALLY_FILLED, 0.3)) is known
    grown = apply_update(known, update(S.PARTIALLY_FILLED, 0.8, average_price=7.0))
    assert (grown.filled, grown.average_price) == (0.8, 7.0)
    ended = apply_update(known, update(S.CANCELED, 0.0))
    assert (ended.filled, ended.average_price, ended.venue_id) == (0.6, 5.0, "7")


def test_updates_in_any_order_lead_to_the_same_end() -> None:
    half, most = update(S.PARTIALLY_FILLED, 0.4), update(S.PARTIALLY_FILLED, 0.9)
    news = [update(S.ACKNOWLEDGED), half, most, update(S.FILLED, 1.0)]
    for sequence in itertools.permutations(news + news[:2]):
        known = order(S.PLANNED)
        for item in sequence:
            known = apply_update(known, item)
        assert (known.status, known.filled) == (S.FILLED, 1.0)


# -- in the engine --------------------------------------------------------------------------------


def test_the_life_of_a_trade(play: Any, sent: Any, cancelled: Any) -> None:
    game = play()
    entry = game.enter(stop=95.0, target=110.0, reason="idea")
    assert (entry.purpose, entry.side, entry.type) == (ENTRY, Side.BUY, OrderType.MARKET)
    assert (entry.quantity, entry.reduce_only, entry.reference_price) == (1.0, False, 100.0)
    assert entry.created_time == 59_999
    assert game.acknowledge(entry)
    (stop,) = sent(game.fill(entry, price=100.5, fee=0.05))
    assert (stop.purpose, stop.side, stop.type) == (STOP, Side.SELL, OrderType.STOP_MARKET)
    assert (stop.trigger_price, stop.quantity, stop.reduce_only) == (95.0, 1.0, True)
    assert stop.parent_id == entry.client_id
    assert sent(game.update(entry, S.FILLED, 1.0)) == []
    (target,) = sent(game.acknowledge(stop))
    assert (target.trigger_price, target.type) == (110.0, OrderType.TAKE_PROFIT_MARKET)
    game.acknowledge(target)
    assert cancelled(game.fill(target, price=110.0, fee=0.06)) == [stop.client_id]
    game.update(target, S.FILLED, 1.0)
    game.canceled(stop)
    assert game.engine.is_settled
    (trade,) = game.trades_made
    assert trade.profit == pytest.approx(9.5 - 0.11, abs=1e-9)
    assert (trade.entry_price, trade.exit_price, trade.exit_reason) == (100.5, 110.0, "target")
    assert game.engine.balance == pytest.approx(10_009.39, abs=1e-9)


def test_a_fill_told_twice_counts_once(play: Any) -> None:
    game = play()
    entry = game.enter()
    assert game.fill(entry, trade_id=5)
    assert game.fill(entry, trade_id=5) == []
    game.update(entry, S.FILLED, 1.0)
    assert game.fill(entry, trade_id=5) == [], "not even when the order is over"
    assert game.quantity == 1.0


def test_a_fill_before_the_acknowledgement_counts_and_is_protected(play: Any, sent: Any) -> None:
    game = play()
    entry = game.enter()
    (stop,) = sent(game.fill(entry))
    assert stop.purpose is STOP
    game.acknowledge(entry)
    assert game.only(ENTRY).status is S.ACKNOWLEDGED
    game.update(entry, S.FILLED, 1.0)
    assert game.open(ENTRY) == []


def test_the_end_of_an_entry_before_its_fills_keeps_its_plan(play: Any, sent: Any) -> None:
    """The exchange says "filled", and the trades come later or only with the next snapshot."""
    game = play()
    entry = game.enter(stop=95.0)
    changes = game.update(entry, S.FILLED, 1.0)
    assert [type(change) for change in changes] == [OrderChanged]
    assert game.quantity == 0.0
    assert game.only(ENTRY).status is S.FILLED
    game.signal(size=1.0)
    assert game.denials[-1].code is DenialCode.ENTRY_PENDING, "what is held is not known yet"
    (stop,) = sent(game.fill(entry, 0.4))
    assert (stop.trigger_price, stop.quantity) == (95.0, 0.4)
    assert game.open(ENTRY), "0.6 are still to come"
    game.acknowledge(stop)
    (larger,) = sent(game.fill(entry, 0.6))
    assert larger.quantity == 1.0
    assert game.open(ENTRY) == []


def test_the_end_of_a_close_before_its_fill_does_not_close_again(play: Any, sent: Any) -> None:
    game = play()
    stop = game.hold()
    (close,) = sent(game.signal(SignalAction.CLOSE))
    assert sent(game.update(close, S.FILLED, 1.0)) == []
    assert sent(game.candle(100.0)) == []
    game.fill(close)
    game.canceled(stop)
    assert game.engine.is_settled


def test_partial_fills_grow_the_position_and_its_stop(play: Any, sent: Any, cancelled: Any) -> None:
    game = play()
    entry = game.enter(stop=95.0)
    game.acknowledge(entry)
    (first,) = sent(game.fill(entry, 0.3, price=100.0))
    game.update(entry, S.PARTIALLY_FILLED, 0.3)
    assert (first.quantity, first.trigger_price) == (0.3, 95.0)
    assert sent(game.fill(entry, 0.2, price=101.0)) == [], "the first stop is not confirmed yet"
    (second,) = sent(game.acknowledge(first))
    assert second.quantity == 0.5
    assert cancelled(game.acknowledge(second)) == [first.client_id]
    (third,) = sent(game.fill(entry, 0.5, price=102.0))
    assert third.quantity == 1.0
    held = game.engine.position_of("BTCUSDT")
    assert held.entry_price == pytest.approx(0.3 * 100.0 + 0.2 * 101.0 + 0.5 * 102.0, rel=1e-12)


def test_a_partly_filled_entry_that_is_cancelled_leaves_a_protected_rest(
    play: Any, sent: Any
) -> None:
    game = play()
    entry = game.enter(price=99.0)
    game.acknowledge(entry)
    (stop,) = sent(game.fill(entry, 0.25, price=99.0))
    game.acknowledge(stop)
    assert sent(game.canceled(entry, 0.25)) == []
    assert game.quantity == 0.25
    assert game.open(ENTRY) == []
    assert game.only(STOP).quantity == 0.25


def test_a_rejected_entry_leaves_nothing(play: Any) -> None:
    game = play()
    entry = game.enter()
    game.reject(entry, -2019)
    assert game.engine.is_settled
    assert game.enter().client_id != entry.client_id


def test_an_unknown_order_blocks_entries_until_it_is_known(play: Any) -> None:
    game = play()
    entry = game.enter()
    game.update(entry, S.UNKNOWN)
    game.signal(size=1.0)
    assert game.denials[-1].code is DenialCode.UNKNOWN_STATE
    assert entry.client_id in game.denials[-1].context["unknown"]
    assert game.engine.refuses(entry) is DenialCode.UNKNOWN_STATE
    game.reject(entry)
    assert game.engine.refuses(entry) is None
    assert game.enter()


def test_an_unknown_entry_that_filled_is_protected(play: Any, sent: Any) -> None:
    game = play()
    entry = game.enter(stop=93.0)
    game.update(entry, S.UNKNOWN)
    (stop,) = sent(game.fill(entry))
    assert stop.trigger_price == 93.0
    game.update(entry, S.FILLED, 1.0)
    assert game.open(ENTRY) == []


def test_an_unknown_stop_does_not_count_as_protection(play: Any) -> None:
    game = play(protect_within_ms=1_000)
    entry = game.enter()
    game.fill_all(entry)
    stop = game.only(STOP)
    game.update(stop, S.UNKNOWN)
    assert game.engine.next_deadline == game.engine.now + 1_000
    game.acknowledge(stop)
    assert game.engine.next_deadline == 0


def test_a_fill_of_an_order_that_was_given_up_gets_the_default_stop(play: Any, sent: Any) -> None:
    """The exchange denied to know the order, and then it filled after all."""
    game = play(default_stop=0.1)
    entry = game.enter()
    game.reject(entry)
    (stop,) = sent(game.fill(entry))
    assert (stop.trigger_price, stop.quantity) == (90.0, 1.0)


def test_a_liquidation_is_booked_as_the_end_of_the_position(play: Any, cancelled: Any) -> None:
    game = play()
    stop = game.hold()
    made = Order("autoclose-1", "BTCUSDT", Side.SELL, OrderType.MARKET, 1.0)
    assert cancelled(game.fill(made, price=80.0, fee=1.0)) == [stop.client_id]
    assert game.quantity == 0.0
    assert game.trades_made[-1].exit_reason == "liquidation"


def test_news_of_symbols_that_are_not_run_is_left_alone(play: Any) -> None:
    game = play()
    engine = game.engine
    assert engine.on_fill(Fill(1, "x", "DOGE", Side.BUY, 1.0, 1.0, 0.1, 5)) == ()
    assert engine.on_order_update(OrderUpdate("x", "DOGE", S.FILLED, 5)) == ()
    engine.on_funding(Funding("DOGE", -2.0, 0.01, 5))
    assert engine.balance == 9_998.0, "it is the same wallet"


def test_a_cancel_that_came_too_late_is_no_end(play: Any, cancelled: Any) -> None:
    game = play()
    entry = game.enter(price=99.0)
    game.acknowledge(entry)
    assert cancelled(game.signal(SignalAction.CANCEL)) == [entry.client_id]
    assert cancelled(game.signal(SignalAction.CANCEL)) == [], "it is being cancelled already"
    game.reject(entry, -2011)
    assert game.only(ENTRY).status is S.ACKNOWLEDGED, "the update that ends it is on its way"
    assert game.engine.is_closing, "and it is waited for"
    game.update(entry, S.PARTIALLY_FILLED, filled=0.4)
    assert game.engine.is_closing, "late news is not the end"
    game.fill_all(entry)
    assert game.quantity == 1.0


def test_a_cancel_that_was_refused_is_waited_for_until_the_order_is_heard_of(play: Any) -> None:
    game = play()
    entry = game.enter(price=99.0)
    game.acknowledge(entry)
    game.signal(SignalAction.CANCEL)
    game.reject(entry, -2011)
    game.acknowledge(entry)  # it rests still
    assert not game.engine.is_closing


def test_time_never_goes_back(play: Any) -> None:
    game = play()
    entry = game.enter()
    late = OrderUpdate(entry.client_id, "BTCUSDT", S.ACKNOWLEDGED, 125_000)
    game.engine.on_order_update(late)
    game.candle(100.0)
    assert game.engine.now == 125_000


def test_funding_is_booked_into_balance_equity_and_the_trade(play: Any) -> None:
    game = play()
    stop = game.hold()
    game.engine.on_funding(Funding("BTCUSDT", -0.25, 0.001, 70_000))
    assert game.engine.balance == pytest.approx(9_999.75)
    assert game.engine.equity == pytest.approx(9_999.75)
    game.fill_all(stop, price=90.0)
    trade = game.trades_made[-1]
    assert (trade.funding, trade.profit) == (-0.25, pytest.approx(-10.25))


def test_every_change_of_a_position_is_told(play: Any) -> None:
    game = play()
    stop = game.hold()
    game.fill(stop, 0.4, price=90.0)
    game.fill(stop, 0.6, price=90.0)
    changes = [d for d in game.log if isinstance(d, PositionChanged)]
    steps = [(change.before.quantity, change.after.quantity) for change in changes]
    assert steps == [(0.0, 1.0), (1.0, 0.6), (0.6, 0.0)]


# -- client ids -----------------------------------------------------------------------------------


def test_client_ids_are_unique_readable_and_short() -> None:
    ids = ClientIds("run16charslong00")
    made = [ids.make(purpose) for purpose in OrderPurpose for _ in range(3)]
    assert len(set(made)) == len(made)
    assert made[0] == "cw-run16charslong00-000001-entry"
    ids.next_sequence = 9_999_999
    longest = ids.make(OrderPurpose.TARGET)
    assert len(longest) <= 36
    assert parse_client_id(longest) == ("run16charslong00", 9_999_999, OrderPurpose.TARGET)


@pytest.mark.parametrize(
    "foreign", ["", "web_123", "cw-a-1", "cw-A-000001-entry", "cw-a-000001-other", "autoclose-77"]
)
def test_ids_of_others_are_not_ours(foreign: str) -> None:
    assert parse_client_id(foreign) is None


@pytest.mark.parametrize("run_id", ["", "UPPER", "a-b", "x" * 17])
def test_a_run_id_that_would_not_fit_is_refused(run_id: str) -> None:
    with pytest.raises(ConfigError, match="run id"):
        ClientIds(run_id)


def test_a_fee_in_another_asset_leaves_the_balance_alone(play: Any) -> None:
    """The exchange has taken it from there: the wallet of this asset is what it was."""
    game = play(balance=10_000.0)
    entry = game.enter()
    game.acknowledge(entry)
    fill = Fill(
        1, entry.client_id, entry.symbol, entry.side, 100.0, 1.0, 0.02, game.engine.now,
        fee_asset="BNB",
    )  # fmt: skip
    game.take(game.engine.on_fill(fill))
    assert game.engine.balance == 10_000.0
