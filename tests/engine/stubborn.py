"""A small exchange in virtual time that fails as it is told, and an engine that trades on it."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from candlewick.engine import (
    Alarm,
    AskAccount,
    Cancel,
    Decision,
    Query,
    StopPolicy,
    Submit,
    TradingEngine,
)
from candlewick.live.verification import examine
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
)
from candlewick.risk import RiskSettings
from candlewick.strategies import Strategy

SYMBOL = "BTCUSDT"
_ANSWER_MS = 5
_UNKNOWN_AFTER_MS = {"lost reply": 20, "lost request": 20, "timeout": 5_000}
_RESOLVED_MS = 4_000  # what the exchange does not know by then was never accepted
_EVERY_MS = 30_000
_PAUSE_MS = 1_000
FOR_EVER = 1_000_000


class Failure(NamedTuple):
    """How orders of one purpose fail: ``times`` of them, behind the first ``after``.

    ``kind`` is an error code, or ``lost reply`` (carried out, the answer lost), ``lost request``
    or ``timeout`` (not carried out, and nobody knows).
    """

    kind: str | int
    times: int
    after: int = 0


class Stubborn:
    """The exchange's truth, the engine's view, and the events on their way between them.

    ``largest`` is what it takes in one market order or stop; limit orders fill at once.
    """

    def __init__(
        self,
        failures: dict[OrderPurpose, Failure],
        largest: float = math.inf,
        **limits: object,
    ) -> None:
        self.largest = largest
        instrument = Instrument(SYMBOL, 0.1, 0.001, market_max_quantity=largest)
        self.failures = failures
        self.seen: Counter[OrderPurpose] = Counter()
        self.now = 60_000
        self.held = 0.0
        self.resting: dict[str, Order] = {}
        self.answers: dict[str, OrderUpdate] = {}
        self.fills: list[Fill] = []
        self.alarms: list[Alarm] = []
        self.sent: list[Order] = []
        self.gaps: list[str] = []
        self.watches_cover = False  # from the moment on at which a stop rests
        self._asked_at = 0
        self._queue: list[tuple[int, int, Callable[[], Sequence[Decision]]]] = []
        self._number = 0
        self.engine = TradingEngine(
            Strategy(), {SYMBOL: instrument}, balance=10_000.0, run_id="now",
            risk=RiskSettings(**limits), awaits_snapshot=True,  # type: ignore[arg-type]
        )  # fmt: skip
        self.engine.start(0)
        self.engine.on_candle(
            Candle(SYMBOL, "1m", 0, 100.0, 100.0, 100.0, 100.0, 1.0, 59_999, True)
        )
        self._snapshot()
        self._later(_EVERY_MS, self._periodic)

    # -- time ----------------------------------------------------------------------------------

    def _later(self, delay: int, work: Callable[[], Sequence[Decision]]) -> None:
        self._number += 1
        heapq.heappush(self._queue, (self.now + delay, self._number, work))

    def run(self, duration: int, until: Callable[[], bool] = lambda: False) -> None:
        """Let events arrive and deadlines pass for so many virtual ms."""
        end = self.now + duration
        while not until():
            due = self._queue[0][0]
            deadline = self.engine.next_deadline
            if min(due, deadline or due) > end:
                self.now = end
                return
            if deadline and deadline < due:
                self.now = max(self.now, deadline)
                self.act(self.engine.on_timer(self.now))
            else:
                self.now, _, work = heapq.heappop(self._queue)
                self.act(work())
            self._look_for_gaps()

    def act(self, decisions: Sequence[Decision]) -> None:
        for decision in decisions:
            if isinstance(decision, Submit):
                self._submit(decision.order)
            elif isinstance(decision, Cancel):
                self._later(_ANSWER_MS, lambda order=decision.order: self._cancel(order))  # type: ignore[misc]
            elif isinstance(decision, Query):
                self._later(_ANSWER_MS, lambda order=decision.order: self._query(order))  # type: ignore[misc]
            elif isinstance(decision, AskAccount):
                wait = max(_ANSWER_MS, self._asked_at + _PAUSE_MS - self.now)
                self._later(wait, self._snapshot)
            elif isinstance(decision, Alarm):
                self.alarms.append(decision)

    def _look_for_gaps(self) -> None:
        kinds = {order.type for order in self.resting.values()}
        targets, stops = OrderType.TAKE_PROFIT_MARKET in kinds, OrderType.STOP_MARKET in kinds
        if self.held and targets and not stops:
            self.gaps.append(f"a target without a stop at {self.now}")
        if self.watches_cover and not self.is_covered:
            self.gaps.append(f"{self.held} held and not covered at {self.now}")

    # -- the exchange --------------------------------------------------------------------------

    def _submit(self, order: Order) -> None:
        self.sent.append(order)
        failure = self.failures.get(order.purpose)
        kind: str | int = ""
        if failure is not None:
            self.seen[order.purpose] += 1
            if 0 < self.seen[order.purpose] - failure.after <= failure.times:
                kind = failure.kind
        if order.quantity > self.largest and order.type is not OrderType.LIMIT:
            kind = -4005
        if isinstance(kind, int):
            self._end(order, OrderStatus.REJECTED, kind)
            return
        if kind in ("", "lost reply"):
            self._accept(order, told=not kind)
        if kind:
            wait = _UNKNOWN_AFTER_MS[kind]
            self._later(wait, lambda: self._tell(order, OrderStatus.UNKNOWN))
            if kind == "lost reply":
                self._later(wait + 100, lambda: self._query(order))
            else:
                self._later(wait + _RESOLVED_MS, lambda: self._tell(order, OrderStatus.REJECTED))

    def _accept(self, order: Order, told: bool) -> None:
        if order.trigger_price:
            self.resting[order.client_id] = order
            self.answers[order.client_id] = self._update(order, OrderStatus.ACKNOWLEDGED)
            if told:
                self._later(_ANSWER_MS, lambda: self._tell(order, OrderStatus.ACKNOWLEDGED))
            return
        quantity = order.quantity
        if order.reduce_only:
            quantity = min(quantity, max(0.0, -order.side.sign * self.held))
            if not quantity:
                self._end(order, OrderStatus.REJECTED, -2022)
                return
        self.held = round(self.held + order.side.sign * quantity, 3)
        fill = Fill(
            len(self.fills) + 1, order.client_id, SYMBOL, order.side, 100.0, quantity, 0.0, self.now
        )
        self.fills.append(fill)
        done = self._update(order, OrderStatus.FILLED, filled=quantity)
        self.answers[order.client_id] = done
        self._later(_ANSWER_MS, lambda: self.engine.on_fill(fill))  # over the account's stream
        if told:
            self._later(_ANSWER_MS, lambda: self.engine.on_order_update(done))

    def _cancel(self, order: Order) -> Sequence[Decision]:
        if self.resting.pop(order.client_id, None) is None:
            self._later(_ANSWER_MS, lambda: self._query(order))
            return self._tell(order, OrderStatus.REJECTED, -2011)
        self.answers[order.client_id] = self._update(order, OrderStatus.CANCELED)
        return self._tell(order, OrderStatus.CANCELED)

    def _query(self, order: Order) -> Sequence[Decision]:
        known = self.answers.get(order.client_id)
        if known is None:
            return ()  # the resolver goes on asking; what was never accepted is told in its time
        return self.engine.on_order_update(known)

    def _end(self, order: Order, status: OrderStatus, code: int) -> None:
        self.answers[order.client_id] = self._update(order, status, code)
        self._later(_ANSWER_MS, lambda: self._tell(order, status, code))

    def _update(
        self, order: Order, status: OrderStatus, code: int = 0, filled: float = 0.0
    ) -> OrderUpdate:
        return OrderUpdate(
            order.client_id, SYMBOL, status, self.now, "7", filled, 100.0, code, "no"
        )

    def _tell(self, order: Order, status: OrderStatus, code: int = 0) -> Sequence[Decision]:
        return self.engine.on_order_update(self._update(order, status, code))

    # -- the account ---------------------------------------------------------------------------

    def report(self) -> AccountSnapshot:
        """The account as it is."""
        entry = 100.0 if self.held else 0.0
        newest = self.fills[-1].time if self.fills else 0
        held = (Position(SYMBOL, self.held, entry, updated_time=newest),) if self.held else ()
        listed = tuple(
            Order(
                o.client_id, SYMBOL, o.side, o.type, o.quantity, trigger_price=o.trigger_price,
                reduce_only=True, status=OrderStatus.ACKNOWLEDGED, venue_id="7",
            )
            for o in self.resting.values()
        )  # fmt: skip
        return AccountSnapshot(
            self.now, 10_000.0, held, listed, tuple(self.fills), self.engine.fills_booked
        )

    def _snapshot(self) -> Sequence[Decision]:
        self._asked_at = self.now
        decisions = self.engine.on_snapshot(self.report())
        self.act(decisions)
        return ()

    def _periodic(self) -> Sequence[Decision]:
        self._later(_EVERY_MS, self._periodic)
        return self._snapshot()

    # -- what is done and found ----------------------------------------------------------------

    def enter(self) -> None:
        """Have the engine buy 1.0 with a stop and a target."""
        self.buy(1.0)

    def buy(self, size: float) -> None:
        self.signal(SignalAction.BUY, size=size, price=100.0, stop=90.0, target=120.0)

    def signal(self, action: SignalAction, **wishes: float) -> None:
        """Have the engine act on a signal."""
        signal = Signal(SYMBOL, action, self.now, **wishes)  # type: ignore[arg-type]
        self.act(self.engine.on_signal(signal))

    def stop(self, policy: StopPolicy) -> list[str]:
        """Clean up as a system does; returns what is not as the policy wants it."""
        problems: list[str] = []
        for attempt in range(6):
            self.act(self.engine.begin_stop(policy, "the end"))
            self.run(10_000, lambda: not self.engine.is_closing)
            problems = examine(self.report(), self.engine, policy).problems
            if not problems:
                break
            self.run(250 * 2**attempt)
            self._snapshot()
        return problems

    @property
    def is_covered(self) -> bool:
        """True when stops at the exchange cover what is held there."""
        stops = sum(
            order.quantity
            for order in self.resting.values()
            if order.type is OrderType.STOP_MARKET and order.side is Side.SELL
        )
        return stops >= self.held
