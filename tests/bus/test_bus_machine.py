"""A random life of the bus, on a real event loop with real threads, beside a model of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from candlewick.bus import EventBus, HandlerInfo, Mode, QueueFullError
from candlewick.models import Event, EventKind, PriceUpdate

KINDS = (EventKind.CANDLE_CLOSED, EventKind.ORDER_UPDATED, EventKind.PRICE_UPDATED)
PRICE = EventKind.PRICE_UPDATED
SYMBOLS = ("A", "B", "C")


class Handler:
    """A subscriber's handler, and all that is known of it from outside the bus."""

    def __init__(self, number: int, kinds: frozenset[EventKind], overflow: str, size: int) -> None:
        self.name = f"h{number}"
        self.kinds = kinds
        self.overflow = overflow
        self.size = size
        self.fails_on: int | None = None  # raises on multiples
        self.failed = 0
        self.suspends = False
        self.taken: list[Event] = []  # that the bus has taken for it
        self.discarded: set[int] = set()
        self.seen: list[Event] = []
        self.gate = asyncio.Event()
        self.thread_gate = threading.Event()
        self.open()

    def open(self) -> None:
        self.gate.set()
        self.thread_gate.set()

    def close(self) -> None:
        self.gate.clear()
        self.thread_gate.clear()

    async def awaited(self, event: Event) -> None:
        if self.suspends:
            await asyncio.sleep(0)
        await self.gate.wait()
        self._note(event)

    def called(self, event: Event) -> None:
        self._note(event)

    def in_thread(self, event: Event) -> None:
        self.thread_gate.wait(60.0)
        self._note(event)

    def _note(self, event: Event) -> None:
        self.seen.append(event)
        if self.fails_on and event.sequence % self.fails_on == 0:
            self.failed += 1
            raise ValueError(event.sequence)


class BusMachine(RuleBasedStateMachine):
    """Rules act on the bus; the model is what the handlers saw and what `publish` has promised."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.bus = EventBus()
        self.handlers: dict[str, Handler] = {}
        self.sequence = 0
        self.created = 0
        self.started = self.stopped = False
        self.refused = 0

    def wait(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, 30.0))

    def infos(self) -> dict[str, HandlerInfo]:
        return {info.name: info for info in self.bus.handlers()}

    # -- rules ------------------------------------------------------------------------------------

    @initialize(at_once=st.booleans())
    def begin(self, at_once: bool) -> None:
        if at_once:
            self.start()

    @precondition(lambda self: not self.started and not self.stopped)
    @rule()
    def start(self) -> None:
        self.loop.run_until_complete(self._start())
        self.started = True

    async def _start(self) -> None:
        self.bus.start()

    @precondition(lambda self: not self.stopped and len(self.handlers) < 5)
    @rule(
        kinds=st.frozensets(st.sampled_from(KINDS), min_size=1),
        overflow=st.sampled_from(["block", "drop_oldest", "conflate", "fail"]),
        mode=st.sampled_from(["async", "inline", "thread"]),
        size=st.integers(1, 6),
        fails_on=st.sampled_from([None, None, 1, 3]),
        suspends=st.booleans(),
    )
    def subscribe(
        self,
        kinds: frozenset[EventKind],
        overflow: str,
        mode: str,
        size: int,
        fails_on: int | None,
        suspends: bool,
    ) -> None:
        if overflow == "conflate":
            kinds = frozenset([PRICE])
        handler = Handler(self.created, kinds, overflow, size)
        handler.fails_on, handler.suspends = fails_on, suspends
        function: Callable[[Event], Any] = {
            "async": handler.awaited, "inline": handler.called, "thread": handler.in_thread
        }[mode]  # fmt: skip
        self.created += 1
        self.handlers[handler.name] = handler

        async def subscribe() -> None:
            self.bus.subscribe(
                kinds, function, name=handler.name, queue_size=size, overflow=overflow,
                mode="auto" if mode == "async" else mode,
            )  # fmt: skip

        self.loop.run_until_complete(subscribe())

    @rule(
        kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=12),
        symbols=st.lists(st.sampled_from(SYMBOLS), min_size=12, max_size=12),
    )
    def publish(self, kinds: list[EventKind], symbols: list[str]) -> None:
        """A burst within one turn of the loop."""

        async def burst() -> None:
            for kind, symbol in zip(kinds, symbols, strict=False):
                self._publish_one(kind, symbol)

        self.loop.run_until_complete(burst())

    def _event(self, kind: EventKind, symbol: str) -> Event:
        self.sequence += 1
        return Event(kind, PriceUpdate(symbol, 1.0, 0.0, 0), 0, self.sequence)

    def _publish_one(self, kind: EventKind, symbol: str) -> None:
        event = self._event(kind, symbol)
        interested = [h for h in self.handlers.values() if kind in h.kinds]
        before = self.infos()
        try:
            taken = self.bus.publish(event)
        except QueueFullError as error:
            taken = False
            full = next(h for h in interested if f"queue of {h.name} is full" in str(error))
            assert full.overflow == "fail"
            assert before[full.name].depth == full.size
        else:
            if not taken and not self.stopped:
                after = self.infos()
                (full,) = (h for h in interested if after[h.name].refused > before[h.name].refused)
                assert full.overflow == "block"
                assert before[full.name].depth == full.size
        if taken:
            assert not self.stopped
            for handler in interested:
                handler.taken.append(event)
        else:
            self.refused += 1

    @precondition(lambda self: self.started and not self.stopped)
    @rule(kind=st.sampled_from(KINDS), symbol=st.sampled_from(SYMBOLS), times=st.integers(1, 8))
    def publish_wait(self, kind: EventKind, symbol: str, times: int) -> None:
        """With all gates open there is room sooner or later, unless a full queue fails."""
        interested = [h for h in self.handlers.values() if kind in h.kinds]
        for handler in interested:
            handler.open()

        async def publish() -> None:
            for _ in range(times):
                event = self._event(kind, symbol)
                try:
                    await self.bus.publish_wait(event)
                except QueueFullError:
                    assert any(handler.overflow == "fail" for handler in interested)
                    self.refused += 1
                else:
                    for handler in interested:
                        handler.taken.append(event)

        self.wait(publish())

    @precondition(lambda self: self.handlers)
    @rule(data=st.data())
    def close_a_gate(self, data: st.DataObject) -> None:
        """From now on this one is slow: it does not come back at all."""
        self.handlers[data.draw(st.sampled_from(sorted(self.handlers)))].close()

    @precondition(lambda self: self.handlers)
    @rule(data=st.data())
    def open_a_gate(self, data: st.DataObject) -> None:
        self.handlers[data.draw(st.sampled_from(sorted(self.handlers)))].open()

    @rule(turns=st.integers(1, 10))
    def let_the_loop_turn(self, turns: int) -> None:
        async def turn() -> None:
            for _ in range(turns):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turn())

    @rule(divisor=st.integers(2, 4))
    def discard(self, divisor: int) -> None:
        async def discard() -> list[Event]:
            return self.bus.discard(lambda event: event.sequence % divisor == 0)

        before = self.infos()
        gone = {event.sequence for event in self.loop.run_until_complete(discard())}
        assert all(number % divisor == 0 for number in gone)
        after = self.infos()
        for name, handler in self.handlers.items():
            own = {event.sequence for event in handler.taken} & gone
            handler.discarded |= own
            assert after[name].discarded - before[name].discarded <= len(own)

    @precondition(lambda self: self.handlers and not self.stopped)
    @rule(data=st.data())
    def unsubscribe(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.handlers)))
        handler = self.handlers.pop(name)
        handler.open()
        self.wait(self.bus.unsubscribe(name))
        self._check_order(handler)
        assert name not in self.infos()

    @precondition(lambda self: self.started and not self.stopped)
    @rule()
    def drain(self) -> None:
        for handler in self.handlers.values():
            handler.open()
        assert self.wait(self.bus.drain()) == {}
        self._check_all_handled()

    @precondition(lambda self: self.started and not self.stopped)
    @rule(patient=st.booleans())
    def stop(self, patient: bool) -> None:
        if patient:
            for handler in self.handlers.values():
                handler.open()
        for handler in self.handlers.values():
            handler.thread_gate.set()  # a thread that is stuck takes a second each
        left = self.wait(self.bus.stop(timeout=30.0 if patient else 0.0))
        self.stopped = True
        infos = self.infos()
        assert sum(left.values()) == sum(info.depth + info.in_flight for info in infos.values())
        for handler in self.handlers.values():
            self._check_accounts(handler, infos[handler.name])
        if patient:
            assert left == {}
            self._check_all_handled()

    # -- what must hold ---------------------------------------------------------------------------

    @invariant()
    def queues_are_bounded_and_orders_kept(self) -> None:
        infos = self.infos()
        assert infos.keys() == self.handlers.keys()
        assert self.bus.refused == self.refused
        for name, handler in self.handlers.items():
            info = infos[name]
            assert info.depth <= handler.size
            assert info.offered == len(handler.taken)
            self._check_order(handler)
            if info.mode is Mode.INLINE:  # runs on this thread: nothing is in between
                self._check_accounts(handler, info)

    def _check_order(self, handler: Handler) -> None:
        seen = [event.sequence for event in list(handler.seen)]
        assert len(set(seen)) == len(seen)
        assert set(seen) <= {event.sequence for event in handler.taken}
        if handler.overflow == "conflate":
            for symbol in SYMBOLS:
                own = [e.sequence for e in list(handler.seen) if e.payload.symbol == symbol]
                assert own == sorted(own)
        else:
            assert seen == sorted(seen)

    def _check_accounts(self, handler: Handler, info: HandlerInfo) -> None:
        gone = info.handled + info.dropped + info.conflated + info.discarded
        assert info.offered == gone + info.depth + info.in_flight
        assert info.handled == len(handler.seen)
        assert info.failed == handler.failed
        assert info.dropped == 0 or handler.overflow in ("drop_oldest", "conflate")
        assert info.conflated == 0 or handler.overflow == "conflate"
        assert sum(info.latency_ns) <= info.handled

    def _check_all_handled(self) -> None:
        """Nothing waits: each event was seen, or is known to be gone."""
        infos = self.infos()
        for name, handler in self.handlers.items():
            info = infos[name]
            self._check_accounts(handler, info)
            assert (info.depth, info.in_flight) == (0, 0)
            assert sum(info.latency_ns) == info.handled
            seen = [event.sequence for event in handler.seen]
            kept = [e for e in handler.taken if e.sequence not in handler.discarded]
            if handler.overflow in ("block", "fail"):
                assert set(seen) >= {event.sequence for event in kept}
                assert len(seen) + info.discarded == len(handler.taken)
            elif kept and handler.overflow == "drop_oldest" and not handler.discarded:
                assert seen[-1] == kept[-1].sequence, "the newest is never dropped"
            elif handler.overflow == "conflate" and not handler.discarded and not info.dropped:
                newest = {event.payload.symbol: event.sequence for event in handler.taken}
                assert {e.payload.symbol: e.sequence for e in handler.seen} == newest

    def teardown(self) -> None:
        for handler in self.handlers.values():
            handler.open()
        self.wait(self.bus.stop(timeout=30.0))
        for thread in threading.enumerate():
            if thread.name in {f"bus:{name}" for name in self.handlers}:
                thread.join(30.0)
                assert not thread.is_alive()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


BusMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBusMachine = BusMachine.TestCase
