"""Reconciliation: the exchange is right, nothing is booked twice, and it converges."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candlewick.engine import (
    Cancel,
    Decision,
    OrderChanged,
    PositionChanged,
    Query,
    Submit,
    TradingEngine,
)
from candlewick.models import (
    AccountSnapshot,
    Candle,
    Fill,
    Instrument,
    Order,
    OrderPurpose,
    OrderStatus,
    OrderType,
    OrderUpdate,
    Position,
    Side,
    Signal,
    SignalAction,
    StreamKind,
    StreamState,
    StreamStatus,
)
from candlewick.risk import DenialCode
from candlewick.strategies import Strategy
from tests.engine.picking import of

SYMBOL = "BTCUSDT"
MINUTE = 60_000


def candle(number: int, price: float = 100.0) -> Candle:
    start = number * MINUTE
    return Candle(SYMBOL, "1m", start, price, price, price, price, 1.0, start + MINUTE - 1, True)


def engine_at(number: int = 1) -> TradingEngine:
    engine = TradingEngine(
        Strategy(), {SYMBOL: Instrument(SYMBOL, 0.1, 0.001)}, balance=1_000.0, run_id="now"
    )
    engine.start(0)
    for index in range(number):
        engine.on_candle(candle(index))
    return engine


def snapshot(
    time: int,
    *,
    balance: float = 1_000.0,
    quantity: float = 0.0,
    orders: Sequence[Order] = (),
    fills: Sequence[Fill] = (),
) -> AccountSnapshot:
    held = () if not quantity else (Position(SYMBOL, quantity, 100.0, updated_time=time),)
    return AccountSnapshot(time, balance, held, tuple(orders), tuple(fills))


def lost(time: int) -> StreamStatus:
    return StreamStatus(StreamKind.ACCOUNT, StreamState.LOST, time, "connection reset")


def order(
    client_id: str,
    side: Side = Side.SELL,
    type: OrderType = OrderType.STOP_MARKET,
    quantity: float = 1.0,
    trigger_price: float = 90.0,
) -> Order:
    return Order(
        client_id, SYMBOL, side, type, quantity, trigger_price=trigger_price,
        reduce_only=type is not OrderType.LIMIT, status=OrderStatus.ACKNOWLEDGED, venue_id="77",
    )  # fmt: skip


def enter(engine: TradingEngine) -> Order:
    signal = Signal(SYMBOL, SignalAction.BUY, engine.now, size=1.0, stop=90.0)
    (submit,) = of(Submit, engine.on_signal(signal))
    return submit.order


def acknowledge(engine: TradingEngine, sent: Order) -> Sequence[Decision]:
    return engine.on_order_update(
        OrderUpdate(sent.client_id, SYMBOL, OrderStatus.ACKNOWLEDGED, engine.now, "1")
    )


def fill_of(sent: Order, trade_id: int, time: int, price: float = 100.0) -> Fill:
    return Fill(trade_id, sent.client_id, SYMBOL, sent.side, price, sent.quantity, 0.05, time)


def holding() -> tuple[TradingEngine, Order, Order]:
    """An engine that holds 1.0 with its stop confirmed; the entry and the stop."""
    engine = engine_at()
    entry = enter(engine)
    acknowledge(engine, entry)
    (submit,) = of(Submit, engine.on_fill(fill_of(entry, 1, engine.now + 1)))
    engine.on_order_update(
        OrderUpdate(entry.client_id, SYMBOL, OrderStatus.FILLED, engine.now, "1", 1.0, 100.0)
    )
    acknowledge(engine, submit.order)
    return engine, entry, submit.order


def test_a_doubtful_account_takes_no_entry_until_it_is_heard_of_again_and_was_asked() -> None:
    engine = engine_at()
    engine.on_stream(lost(engine.now))
    denied = engine.on_signal(Signal(SYMBOL, SignalAction.BUY, engine.now, size=1.0))
    assert [getattr(d, "code", None) for d in denied] == [DenialCode.UNKNOWN_STATE]
    engine.on_snapshot(snapshot(engine.now))
    denied = engine.on_signal(Signal(SYMBOL, SignalAction.BUY, engine.now, size=1.0))
    assert [getattr(d, "code", None) for d in denied] == [DenialCode.UNKNOWN_STATE]
    engine.on_stream(StreamStatus(StreamKind.ACCOUNT, StreamState.LIVE, engine.now))
    engine.on_snapshot(snapshot(engine.now))
    assert enter(engine).quantity == 1.0


def test_doubt_that_comes_after_the_decision_stops_the_order_at_sending() -> None:
    engine = engine_at()
    entry = enter(engine)
    assert engine.refuses(entry) is None
    engine.on_stream(lost(engine.now))
    assert engine.refuses(entry) is DenialCode.UNKNOWN_STATE


def test_stale_market_data_blocks_entries_until_it_is_live_again() -> None:
    engine = engine_at()
    stale = StreamStatus(StreamKind.MARKET, StreamState.STALE, engine.now, "no candle for 90 s")
    engine.on_stream(stale)
    (denied,) = engine.on_signal(Signal(SYMBOL, SignalAction.BUY, engine.now, size=1.0))
    assert getattr(denied, "code", None) is DenialCode.STALE_DATA
    engine.on_snapshot(snapshot(engine.now))
    assert engine.on_signal(Signal(SYMBOL, SignalAction.BUY, engine.now, size=1.0)) != []
    engine.on_stream(StreamStatus(StreamKind.MARKET, StreamState.LIVE, engine.now))
    assert enter(engine).quantity == 1.0


def test_an_engine_that_awaits_a_snapshot_takes_no_entry_before_it() -> None:
    engine = TradingEngine(
        Strategy(), {SYMBOL: Instrument(SYMBOL)}, balance=1.0, awaits_snapshot=True
    )
    engine.start(0)
    engine.on_candle(candle(0))
    (denied,) = engine.on_signal(Signal(SYMBOL, SignalAction.BUY, engine.now, size=1.0))
    assert getattr(denied, "code", None) is DenialCode.UNKNOWN_STATE


def test_fills_missed_while_away_are_booked_once_and_protected() -> None:
    engine = engine_at()
    entry = enter(engine)
    acknowledge(engine, entry)
    fill = fill_of(entry, 5, engine.now + 10)
    view = snapshot(engine.now + 20, balance=999.95, quantity=1.0, fills=[fill])
    (submit,) = of(Submit, engine.on_snapshot(view))
    assert submit.order.purpose is OrderPurpose.STOP
    assert submit.order.trigger_price == 90.0
    assert engine.position_of(SYMBOL).quantity == 1.0
    assert engine.balance == 999.95
    assert engine.on_fill(fill) == ()


def test_a_position_opened_by_hand_is_adopted_and_gets_the_default_stop() -> None:
    engine = engine_at()
    decisions = engine.on_snapshot(snapshot(engine.now + 1, quantity=-2.0))
    (submit,) = of(Submit, decisions)
    assert (submit.order.side, submit.order.quantity) == (Side.BUY, 2.0)
    assert submit.order.type is OrderType.STOP_MARKET
    assert submit.order.trigger_price == pytest.approx(110.0)
    assert of(PositionChanged, decisions)[0].after.quantity == -2.0


def test_a_position_closed_by_hand_leaves_no_order_resting() -> None:
    engine, _, stop = holding()
    decisions = engine.on_snapshot(
        snapshot(engine.now + 5_000, balance=990.0, orders=[order(stop.client_id)])
    )
    assert [c.order.client_id for c in of(Cancel, decisions)] == [stop.client_id]
    assert engine.position_of(SYMBOL).is_flat
    assert engine.balance == engine.equity == 990.0


def test_a_partly_closed_position_gets_a_stop_of_the_right_size() -> None:
    engine, _, stop = holding()
    decisions = engine.on_snapshot(
        snapshot(engine.now + 5_000, quantity=0.4, orders=[order(stop.client_id)])
    )
    (submit,) = of(Submit, decisions)
    assert submit.order.quantity == 0.4
    assert not of(Cancel, decisions)  # the old stop stays until the new one is confirmed
    cancelled = of(Cancel, acknowledge(engine, submit.order))
    assert [c.order.client_id for c in cancelled] == [stop.client_id]


def test_orders_of_a_former_run_are_claimed_or_cancelled() -> None:
    engine = engine_at()
    listed = [
        order("cw-old-000002-stop"),
        order("cw-old-000003-target", type=OrderType.TAKE_PROFIT_MARKET, trigger_price=120.0),
        order("cw-old-000004-entry", Side.BUY, OrderType.LIMIT),
        order("web_abc123"),
    ]
    decisions = engine.on_snapshot(snapshot(engine.now, quantity=1.0, orders=listed))
    assert not of(Submit, decisions)  # the claimed stop protects
    assert [c.order.client_id for c in of(Cancel, decisions)] == ["cw-old-000004-entry"]
    assert {d.order.client_id for d in of(OrderChanged, decisions)} == {
        "cw-old-000002-stop", "cw-old-000003-target", "cw-old-000004-entry",
    }  # fmt: skip
    assert "web_abc123" not in {o.client_id for o in engine.orders_of(SYMBOL)}


def test_an_orphan_stop_is_cancelled() -> None:
    engine = engine_at()
    decisions = engine.on_snapshot(snapshot(engine.now, orders=[order("cw-old-000002-stop")]))
    assert [c.order.client_id for c in of(Cancel, decisions)] == ["cw-old-000002-stop"]


def test_a_stop_that_is_not_listed_is_asked_for() -> None:
    engine, _, stop = holding()
    decisions = engine.on_snapshot(snapshot(engine.now + 5_000, quantity=1.0))
    assert [q.order.client_id for q in of(Query, decisions)] == [stop.client_id]
    gone = OrderUpdate(stop.client_id, SYMBOL, OrderStatus.CANCELED, engine.now)
    (submit,) = of(Submit, engine.on_order_update(gone))
    assert submit.order.purpose is OrderPurpose.STOP


def test_a_fresh_order_that_is_not_listed_yet_is_not_asked_for() -> None:
    engine = engine_at()
    enter(engine)
    assert not of(Query, engine.on_snapshot(snapshot(engine.now + 100)))


def test_an_order_without_an_answer_that_is_listed_is_known() -> None:
    engine = engine_at()
    entry = enter(engine)
    engine.on_order_update(OrderUpdate(entry.client_id, SYMBOL, OrderStatus.UNKNOWN, engine.now))
    listed = order(entry.client_id, Side.BUY, OrderType.LIMIT)
    (changed,) = of(OrderChanged, engine.on_snapshot(snapshot(engine.now, orders=[listed])))
    assert changed.order.status is OrderStatus.ACKNOWLEDGED


def test_an_answer_older_than_a_fill_does_not_overwrite_it() -> None:
    engine, _, stop = holding()
    late = snapshot(engine.now - 1, balance=1.0, orders=[order(stop.client_id)])
    assert not of(PositionChanged, engine.on_snapshot(late))
    assert engine.position_of(SYMBOL).quantity == 1.0
    assert engine.balance != 1.0


def test_an_answer_asked_for_before_a_fill_does_not_overwrite_it_whatever_its_time() -> None:
    engine, _, stop = holding()
    asked = engine.fills_booked - 1
    late = AccountSnapshot(
        engine.now + 60_000, 1.0, (), (order(stop.client_id),), (), fills_known=asked
    )
    assert not of(PositionChanged, engine.on_snapshot(late))
    assert engine.balance != 1.0
    current = AccountSnapshot(0, 1.0, (), (order(stop.client_id),), (), engine.fills_booked)
    assert of(PositionChanged, engine.on_snapshot(current))
    assert engine.balance == 1.0


def test_an_order_that_ended_while_the_account_was_asked_for_does_not_come_back() -> None:
    """The list was made before the order ended; taken for new, it would rest in the books alone."""
    engine, _, stop = holding()
    fills, ends = engine.fills_booked, engine.orders_ended
    engine.on_order_update(OrderUpdate(stop.client_id, SYMBOL, OrderStatus.EXPIRED, engine.now))
    (again,) = [o for o in engine.orders_of(SYMBOL) if o.purpose is OrderPurpose.STOP]
    late = msgspec.structs.replace(
        snapshot(engine.now + 60_000, quantity=1.0, orders=[order(stop.client_id)]),
        fills_known=fills, ends_known=ends,
    )  # fmt: skip
    engine.on_snapshot(late)
    assert [o.client_id for o in engine.orders_of(SYMBOL)] == [again.client_id]
    fresh = msgspec.structs.replace(late, ends_known=engine.orders_ended)
    claimed = [c.order.client_id for c in of(OrderChanged, engine.on_snapshot(fresh))]
    assert claimed == [stop.client_id], "asked for after its end, it rests after all"


quantities = st.integers(-3, 3).map(lambda n: n * 0.5)
names = st.sampled_from(
    ["cw-old-000001-entry", "cw-old-000002-stop", "cw-old-000003-target", "cw-old-000004-stop",
     "cw-old-000005-close", "x-foreign"]
)  # fmt: skip


@given(quantity=quantities, side=st.sampled_from(Side), ids=st.lists(names, unique=True))
def test_it_converges(quantity: float, side: Side, ids: list[str]) -> None:
    """After what it asked for has happened, the same account gives no more commands."""
    engine = engine_at()
    listed = {name: order(name, side) for name in ids}
    for attempt in range(6):  # noqa: B007 - asserted on below
        now = engine.now + 10_000
        view = snapshot(now, quantity=quantity, orders=list(listed.values()))
        commands: list[Decision] = list(engine.on_snapshot(view))
        settled = not of(Submit, commands) and not of(Cancel, commands) and not of(Query, commands)
        if settled:
            break
        while commands:
            decision = commands.pop(0)
            if isinstance(decision, Submit):
                sent = decision.order
                listed[sent.client_id] = order(
                    sent.client_id, sent.side, sent.type, sent.quantity, sent.trigger_price
                )
                commands += acknowledge(engine, sent)
            elif isinstance(decision, Cancel):
                gone = decision.order.client_id
                listed.pop(gone, None)
                commands += engine.on_order_update(
                    OrderUpdate(gone, SYMBOL, OrderStatus.CANCELED, engine.now)
                )
    assert settled, attempt
    assert attempt <= 2
    if quantity:
        stops = [o for name, o in listed.items() if name.endswith("stop")]
        assert sum(o.quantity for o in stops if o.side.sign * quantity < 0.0) >= abs(quantity)
    else:
        assert not [name for name in listed if name.startswith("cw-") and "close" not in name]
