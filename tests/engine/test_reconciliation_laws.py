"""Laws of reconciliation, over random books and random accounts.

A life is played: signals, fills, answers that come or are lost, trades by hand, a liquidation,
stray orders. Then the exchange reports, again and again, and what is decided is carried out.
"""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candlewick.engine import Cancel, Decision, Query, Submit, parse_client_id
from candlewick.models import (
    AccountSnapshot,
    Fill,
    Order,
    OrderPurpose,
    OrderStatus,
    OrderType,
    OrderUpdate,
    Position,
    Side,
    Signal,
    SignalAction,
)
from tests.engine.game import SYMBOL, Game, resting
from tests.engine.picking import of

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["enter", "limit", "move", "close", "part", "by hand", "liquidation", "stray",
             "foreign", "cancel by hand", "hear", "hear", "hear"]
        ),
        st.integers(0, 5),
        st.booleans(),
    ),
    max_size=14,
)  # fmt: skip
LARGEST = [math.inf, 0.4]  # what one market order may be; positions are larger than the latter
POLICIES = st.sampled_from(["adopt", "close"])
TYPES = {
    OrderPurpose.ENTRY: OrderType.LIMIT,
    OrderPurpose.STOP: OrderType.STOP_MARKET,
    OrderPurpose.TARGET: OrderType.TAKE_PROFIT_MARKET,
}
MOVES = {"move": SignalAction.MOVE_STOP, "close": SignalAction.CLOSE, "part": SignalAction.CLOSE}


class Account:
    """The exchange's truth, and news of it that the engine has not heard yet."""

    def __init__(self, policy: str, largest: float = math.inf) -> None:
        self.game = Game(largest=largest, foreign_positions=policy)
        self.largest = largest
        self.held = 0.0
        self.orders: dict[str, Order] = {}
        self.ended: dict[str, OrderUpdate] = {}
        self.fills: list[Fill] = []
        self.news: list[Fill | OrderUpdate] = []
        self.strays = 0

    # -- the exchange --------------------------------------------------------------------------

    def act(self, decisions: list[Decision], heard: bool = True) -> None:
        """Carry commands out; the answers become news, or are lost."""
        for decision in decisions:
            news: list[Fill | OrderUpdate] = []
            if isinstance(decision, Submit):
                news = self._submit(decision.order)
            elif isinstance(decision, Cancel):
                news = self._cancel(decision.order.client_id)
            elif isinstance(decision, Query):
                order = decision.order
                known = self.ended.get(order.client_id)
                never = self._update(order, OrderStatus.REJECTED)
                self.news.append(known or never)
            if heard:
                self.news += news

    def _submit(self, order: Order) -> list[Fill | OrderUpdate]:
        if order.quantity > self.largest and order.type is not OrderType.LIMIT:
            return [self._final(order, OrderStatus.REJECTED, code=-4005)]
        if order.type is not OrderType.MARKET:
            self.orders[order.client_id] = order
            return [self._update(order, OrderStatus.ACKNOWLEDGED)]
        quantity = order.quantity
        if order.reduce_only:
            quantity = min(quantity, max(0.0, -order.side.sign * self.held))
        if not quantity:
            return [self._final(order, OrderStatus.REJECTED, code=-2022)]
        fill = self.trade(order, quantity)
        return [fill, self._final(order, OrderStatus.FILLED, quantity)]

    def trade(self, order: Order, quantity: float) -> Fill:
        self.held = round(self.held + order.side.sign * quantity, 3)
        fill = Fill(
            len(self.fills) + 1, order.client_id, SYMBOL, order.side, 100.0, quantity, 0.0,
            self.game.now + 1,
        )  # fmt: skip
        self.fills.append(fill)
        return fill

    def _cancel(self, client_id: str) -> list[Fill | OrderUpdate]:
        order = self.orders.pop(client_id, None)
        if order is None:
            known = self.ended.get(client_id)
            return [] if known is None else [known]
        return [self._final(order, OrderStatus.CANCELED)]

    def _final(
        self, order: Order, status: OrderStatus, filled: float = 0.0, code: int = 0
    ) -> OrderUpdate:
        update = self._update(order, status, filled, code)
        self.ended[order.client_id] = update
        return update

    def _update(
        self, order: Order, status: OrderStatus, filled: float = 0.0, code: int = 0
    ) -> OrderUpdate:
        return OrderUpdate(
            order.client_id, SYMBOL, status, self.game.now + 1, "7", filled, 100.0, code
        )

    # -- what happens --------------------------------------------------------------------------

    def step(self, what: str, number: int, is_heard: bool) -> None:
        game = self.game
        if what == "hear":
            self.hear(number + 1)
        elif what in MOVES or what in ("enter", "limit"):
            self.act(list(game.engine.on_signal(self._signal(what, number))), is_heard)
        elif what == "cancel by hand":
            ours = sorted(self.orders)
            if ours:
                news = self._cancel(ours[number % len(ours)])
                self.news += news if is_heard else []
        elif what in ("stray", "foreign"):
            self._place_other(what, number)
        elif what == "liquidation" and self.held:
            side = Side.SELL if self.held > 0.0 else Side.BUY
            made = Order("autoclose-1", SYMBOL, side, OrderType.MARKET, abs(self.held))
            fill = self.trade(made, abs(self.held))
            self.news += [fill] if is_heard else []
        elif what == "by hand":
            side = Side.BUY if number % 2 else Side.SELL
            made = Order("web_1", SYMBOL, side, OrderType.MARKET, 0.5 + number / 2)
            fill = self.trade(made, made.quantity)
            self.news += [fill] if is_heard else []

    def _signal(self, what: str, number: int) -> Signal:
        now = self.game.now
        if what in MOVES:
            size = 0.3 if what == "part" else 0.0
            stop = 90.0 + number if self.held >= 0.0 else 110.0 - number
            return Signal(SYMBOL, MOVES[what], now, size=size, stop=stop)
        buy = bool(number % 2)
        price = (95.0 if buy else 105.0) if what == "limit" else 0.0
        return Signal(
            SYMBOL, SignalAction.BUY if buy else SignalAction.SELL, now, size=1.0, price=price,
            stop=80.0 if buy else 120.0, target=130.0 if buy else 70.0,
        )  # fmt: skip

    def _place_other(self, what: str, number: int) -> None:
        self.strays += 1
        purpose = list(OrderPurpose)[number % 3]
        name = f"web_{self.strays}" if what == "foreign" else f"cw-old-{self.strays:06d}-{purpose}"
        is_entry = purpose is OrderPurpose.ENTRY
        self.orders[name] = Order(
            name, SYMBOL, Side.BUY if number > 2 else Side.SELL, TYPES[purpose],
            min(1.0, self.largest),
            price=50.0 if is_entry else 0.0, trigger_price=0.0 if is_entry else 85.0,
            reduce_only=not is_entry,
        )  # fmt: skip

    def hear(self, count: int) -> None:
        """Let the engine hear the next news, and act on it."""
        for _ in range(min(count, len(self.news))):
            news = self.news.pop(0)
            engine = self.game.engine
            heard = engine.on_fill(news) if isinstance(news, Fill) else engine.on_order_update(news)
            self.act(list(heard))

    # -- reporting -----------------------------------------------------------------------------

    def report(self, later: int = 10_000) -> AccountSnapshot:
        time = self.game.now + later
        newest = self.fills[-1].time if self.fills else 0
        held = (Position(SYMBOL, self.held, 100.0, updated_time=newest),) if self.held else ()
        listed = tuple(resting(order) for order in self.orders.values())
        return AccountSnapshot(
            time, 1_000.0, held, listed, tuple(self.fills), self.game.engine.fills_booked,
            self.game.engine.orders_ended,
        )  # fmt: skip

    def reconcile(self) -> list[Decision]:
        """Report once; returns the commands, which are carried out and heard of."""
        decisions = list(self.game.engine.on_snapshot(self.report()))
        self.act(decisions)
        while self.news:
            self.hear(100)
        return commands_in(decisions)


def commands_in(decisions: list[Decision]) -> list[Decision]:
    return [d for d in decisions if isinstance(d, Submit | Cancel | Query)]


def played(steps: list[tuple[str, int, bool]], policy: str, largest: float = math.inf) -> Account:
    account = Account(policy, largest)
    for what, number, is_heard in steps:
        account.step(what, number, is_heard)
    return account


@pytest.mark.parametrize("largest", LARGEST)
@settings(max_examples=300, deadline=None)
@given(steps=STEPS, policy=POLICIES)
def test_whatever_has_happened_it_converges_and_all_is_as_it_should_be(
    steps: list[tuple[str, int, bool]], policy: str, largest: float
) -> None:
    check_convergence(steps, policy, largest)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(max_examples=50_000, deadline=None)
@given(steps=STEPS, policy=POLICIES, largest=st.sampled_from(LARGEST))
def test_soak_it_converges_whatever_has_happened(
    steps: list[tuple[str, int, bool]], policy: str, largest: float
) -> None:
    check_convergence(steps, policy, largest)


def check_convergence(steps: list[tuple[str, int, bool]], policy: str, largest: float) -> None:
    """Reconcile until nothing is decided, and compare books, orders and protection."""
    account = played(steps, policy, largest)
    foreign = {name for name in account.orders if parse_client_id(name) is None}
    for _ in range(8):
        if not account.reconcile():
            break
    assert account.reconcile() == [], "twice in a row without a change there is nothing to do"
    game, held = account.game, account.held
    assert game.quantity == held
    ours = {n: o for n, o in account.orders.items() if parse_client_id(n) is not None}
    assert {o.client_id for o in game.engine.orders_of(SYMBOL)} == set(ours), "books agree"
    assert foreign <= set(account.orders), "what is not ours is left alone"
    assert set(game.engine.symbols[SYMBOL].foreign) == foreign
    stops = [o for o in ours.values() if o.type is OrderType.STOP_MARKET]
    exits = [o for o in ours.values() if o.reduce_only]
    if held:
        assert round(sum(stop.quantity for stop in stops), 3) == abs(held)
        assert len(stops) <= max(1, math.ceil(abs(held) / largest + 1))
        assert len({stop.trigger_price for stop in stops}) == 1
        assert all(o.side.sign * held < 0.0 for o in exits)
        assert game.engine.next_deadline == 0
    else:
        assert not exits, "nothing rests of a position that is gone"
    assert not game.unknown


@settings(max_examples=200, deadline=None)
@given(steps=STEPS, later=st.lists(st.booleans(), min_size=1, max_size=4))
def test_an_older_answer_never_overwrites_newer_knowledge(
    steps: list[tuple[str, int, bool]], later: list[bool]
) -> None:
    """Reports made before the last trades and ends of orders change neither."""
    account = played(steps, "adopt")
    while account.reconcile():
        pass
    old = account.report(later=0)
    side = SignalAction.BUY if account.held >= 0.0 else SignalAction.SELL
    stop = 80.0 if side is SignalAction.BUY else 120.0
    engine = account.game.engine
    account.act(list(engine.on_signal(Signal(SYMBOL, side, engine.now, size=1.0, stop=stop))))
    while account.news:
        account.hear(100)
    quantity = account.game.quantity
    known = {o.client_id for o in engine.orders_of(SYMBOL)}
    if old.fills_known == engine.fills_booked:
        return  # it was denied: an entry rested already
    for _ in later:
        decisions = engine.on_snapshot(msgspec.structs.replace(old, time=engine.now - 1))
        assert account.game.quantity == quantity
        assert {o.client_id for o in engine.orders_of(SYMBOL)} >= known
        assert not of(Submit, decisions)
        assert not of(Cancel, decisions)


@settings(max_examples=200, deadline=None)
@given(steps=STEPS, times=st.integers(2, 4))
def test_every_trade_is_booked_once_however_often_it_is_told(
    steps: list[tuple[str, int, bool]], times: int
) -> None:
    account = played(steps, "adopt")
    engine = account.game.engine
    for _ in range(times):
        account.reconcile()
        for fill in account.fills:
            assert engine.on_fill(fill) == ()
    ledger = engine.symbols[SYMBOL].ledger
    assert all(ledger.has_seen(fill.trade_id) for fill in account.fills)
    assert engine.fills_booked == len(account.fills)
    assert account.game.quantity == account.held
