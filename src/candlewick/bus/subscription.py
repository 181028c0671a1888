"""`Subscription`: one subscriber's bounded queue, its worker on the event loop, and its counts."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from time import perf_counter_ns
from typing import Any

from candlewick.bus.reports import BusReport, HandlerInfo, Mode, Overflow, ReportKind
from candlewick.bus.thread import HandlerThread
from candlewick.errors import CandlewickError
from candlewick.models import Event, EventKind

__all__ = ["Handler", "QueueFullError", "Subscription"]

Handler = Callable[[Event], Awaitable[None] | None]

_MARK = 63  # the age of one event in 64 is known
_TURN_NS = 1_000_000  # a worker lets others run after this long
_SLOW_TIMES = 3  # that often over its budget, and an inline handler gets a thread
_BUCKETS = 64


class QueueFullError(CandlewickError):
    """A queue with the policy "fail" is full; the event was not taken."""


class Subscription:
    """One handler and its queue.

    ``idle`` and ``busy`` are called when it runs out of events and when it gets the first one;
    ``report`` takes what people should know.
    """

    def __init__(
        self,
        kinds: Iterable[EventKind],
        handler: Handler,
        name: str,
        queue_size: int,
        overflow: Overflow,
        mode: Mode,
        budget_ms: float,
        busy: Callable[[], None],
        idle: Callable[[], None],
        report: Callable[[BusReport], None],
    ) -> None:
        self.kinds = tuple(kinds)
        self.handler = handler
        self.name = name
        self.queue_size = queue_size
        self.overflow = overflow
        self.is_async = is_coroutine_function(handler)
        inline = mode is Mode.INLINE or (mode is Mode.AUTO and self.is_async)
        self.mode = Mode.INLINE if inline else Mode.THREAD
        self.offered = 0
        self.handled = 0
        self.failed = 0
        self.dropped = 0
        self.conflated = 0
        self.slowest_ns = 0
        self.busy_ns = 0
        self.latency = [0] * _BUCKETS
        self._budget_ns = int(budget_ms * 1e6)
        self._over_budget = 0
        self._busy = busy
        self._idle = idle
        self._report = report
        self._reported: set[str] = set()
        self._queue: deque[Event] = deque()
        self._newest: dict[object, Event] = {}
        self._marks: deque[tuple[int, int]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._thread: HandlerThread | None = None

    # -- publishing -------------------------------------------------------------------------------

    @property
    def depth(self) -> int:
        """How many events wait."""
        return len(self._queue)

    @property
    def must_wait(self) -> bool:
        """True when the queue is full and its policy is to block."""
        return len(self._queue) >= self.queue_size and self.overflow is Overflow.BLOCK

    def offer(self, event: Event) -> None:
        """Queue an event; the caller has asked `must_wait` where that matters."""
        queue = self._queue
        offered = self.offered = self.offered + 1
        if self.overflow is Overflow.CONFLATE:
            self._conflate(event)
        else:
            if len(queue) >= self.queue_size:
                self._overflow()
            queue.append(event)
        if not offered & _MARK:
            self._marks.append((offered, perf_counter_ns()))
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            self._marks.append((offered, perf_counter_ns()))
            self._busy()
            waiter.set_result(None)
        elif self._thread is not None:
            self._thread.wake()

    def _overflow(self) -> None:
        if self.overflow is Overflow.FAIL:
            self.offered -= 1
            raise QueueFullError(f"the queue of {self.name} is full: {self.queue_size} events wait")
        self._queue.popleft()
        self.dropped += 1
        self._warn_dropped("dropped", self.dropped)

    def _conflate(self, event: Event) -> None:
        """Replace the waiting event of the same key; its place in the queue stays."""
        key = conflation_key(event)
        if key in self._newest:
            self.conflated += 1
        elif len(self._newest) >= self.queue_size:
            self._newest.pop(conflation_key(self._queue.popleft()), None)
            self.dropped += 1
            self._warn_dropped("dropped", self.dropped)
            self._queue.append(event)
        else:
            self._queue.append(event)
        self._newest[key] = event

    def _warn_dropped(self, what: str, count: int) -> None:
        if count & (count - 1) == 0:  # the first, and each time the number has doubled
            message = f"{self.name} is too slow: {count} events {what}"
            self._report(
                BusReport(
                    ReportKind.EVENTS_DROPPED, self.name, message,
                    {"dropped": count, "queue_size": self.queue_size},
                )
            )  # fmt: skip

    def room(self) -> asyncio.Future[None]:
        """Return a future that is done once there is room."""
        if self._room is None:
            self._room = asyncio.get_running_loop().create_future()
            if self._thread is not None:
                self._thread.notify()
        return self._room

    def _freed(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def discard(self, unwanted: Callable[[Event], bool]) -> list[Event]:
        """Take the queued events out that ``unwanted`` is true for."""
        kept: list[Event] = []
        out: list[Event] = []
        for event in self._queue:
            (out if unwanted(event) else kept).append(event)
        if out:
            self._queue.clear()
            self._queue.extend(kept)
            for event in out:
                self._newest.pop(conflation_key(event), None)
            self._freed()
        return out

    # -- handling ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the worker that the mode asks for."""
        if self._task is not None or self._thread is not None:
            return
        if self.mode is Mode.THREAD:
            self._start_thread()
        else:
            work = self._work_async() if self.is_async else self._work_inline()
            self._task = asyncio.create_task(work, name=f"bus:{self.name}")

    def _start_thread(self) -> None:
        self._thread = HandlerThread(
            self.name, self._take, self._handle_in_thread, self._thread_is_idle
        )
        self._thread.start(asyncio.get_running_loop())

    @property
    def is_idle(self) -> bool:
        """True when nothing waits and nothing is being handled."""
        if self._thread is not None:
            return not self._queue and not self._thread.handling
        return self._waiter is not None or (self._task is None and not self._queue)

    async def settle(self) -> None:
        """Wait until the thread, if there is one, has handled all that was queued."""
        while self._thread is not None and not self.is_idle:
            await self._thread.wait_idle()

    def _take(self) -> Event | None:
        try:
            event = self._queue.popleft()
        except IndexError:
            return None
        return self._newest_of(event) if self.overflow is Overflow.CONFLATE else event

    def _newest_of(self, event: Event) -> Event:
        """The newest event of the key whose place in the queue has come."""
        return self._newest.pop(conflation_key(event), event)

    async def _sleep(self) -> None:
        self._marks.clear()
        self._waiter = asyncio.get_running_loop().create_future()
        self._idle()
        await self._waiter

    async def _work_async(self) -> None:
        queue, latency = self._queue, self.latency
        handler: Callable[[Event], Awaitable[None]] = self.handler  # type: ignore[assignment]
        plain = self.overflow is not Overflow.CONFLATE
        clock = perf_counter_ns
        while True:
            if not queue:
                await self._sleep()
            started = turn = clock()
            while queue:
                event = queue.popleft() if plain else self._newest_of(queue.popleft())
                if self._room is not None:
                    self._freed()
                try:
                    await handler(event)
                except Exception as error:  # noqa: BLE001 - a handler may raise anything
                    self._handler_failed(event, error)
                now = clock()
                elapsed = now - started
                self.handled += 1
                latency[elapsed.bit_length()] += 1
                if elapsed > self.slowest_ns:
                    self.slowest_ns = elapsed
                started = now
                if now - turn > _TURN_NS:
                    self.busy_ns += now - turn
                    await asyncio.sleep(0)
                    started = turn = clock()
            self.busy_ns += started - turn

    async def _work_inline(self) -> None:
        clock = perf_counter_ns
        while True:
            if not self._queue:
                await self._sleep()
            turn = clock()
            while (event := self._take()) is not None:
                if self._room is not None:
                    self._freed()
                elapsed = self._handle(event)
                if elapsed > self._budget_ns and self._is_too_slow(elapsed):
                    return
                if clock() - turn > _TURN_NS:
                    await asyncio.sleep(0)
                    turn = clock()

    def _handle(self, event: Event) -> int:
        """Call a plain handler; return how long it took, ns."""
        started = perf_counter_ns()
        try:
            self.handler(event)
        except Exception as error:  # noqa: BLE001 - a handler may raise anything
            self._handler_failed(event, error)
        elapsed = perf_counter_ns() - started
        self.handled += 1
        self.busy_ns += elapsed
        self.latency[elapsed.bit_length()] += 1
        if elapsed > self.slowest_ns:
            self.slowest_ns = elapsed
        return elapsed

    def _handle_in_thread(self, event: Event) -> None:
        self._handle(event)
        if self._room is not None and self._thread is not None:
            self._thread.call_soon(self._freed)

    def _thread_is_idle(self) -> None:
        self._marks.clear()

    def _is_too_slow(self, elapsed: int) -> bool:
        """Count a breach of the budget; True when the handler has been moved to a thread."""
        self._over_budget += 1
        if self._over_budget < _SLOW_TIMES:
            return False
        message = (
            f"{self.name} took {elapsed / 1e6:.1f} ms on the event loop, for the"
            f" {self._over_budget}th time over its budget of {self._budget_ns / 1e6:g} ms;"
            " it runs in a thread from now on"
        )
        self._report(
            BusReport(ReportKind.HANDLER_SLOW, self.name, message, {"elapsed_ns": elapsed})
        )
        self.mode = Mode.THREAD
        self._task = None
        self._start_thread()
        self._idle()
        return True

    def _handler_failed(self, event: Event, error: Exception) -> None:
        self.failed += 1
        cause = f"{type(error).__name__}:{event.kind}"
        if cause in self._reported:
            return
        self._reported.add(cause)
        report = BusReport(
            ReportKind.HANDLER_FAILED,
            self.name,
            f"{self.name} raised {error!r} on {event.kind}",
            {"kind": str(event.kind), "sequence": event.sequence, "where": _where(error)},
        )
        if self._thread is not None:
            self._thread.call_soon(self._report, report)
        else:
            self._report(report)

    # -- ending ----------------------------------------------------------------------------------

    async def stop(self, timeout: float) -> bool:
        """End the worker; False when its thread did not come back in time."""
        ended = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        if self._thread is not None:
            ended = await self._thread.stop(timeout)
            self._thread = None
        self._waiter = None
        self._freed()
        return ended

    def info(self) -> HandlerInfo:
        """Return the figures as they are now."""
        return HandlerInfo(
            self.name,
            tuple(map(str, self.kinds)),
            self.is_async,
            self.mode,
            self.overflow,
            self.queue_size,
            self.depth,
            self.offered,
            self.handled,
            self.failed,
            self.dropped,
            self.conflated,
            self._oldest_ms(),
            self.slowest_ns,
            self.busy_ns,
            tuple(self.latency),
        )

    def _oldest_ms(self) -> float:
        if not self._queue:
            return 0.0
        first = self.offered - len(self._queue) + 1
        marks = self._marks
        while len(marks) > 1 and marks[1][0] <= first:
            marks.popleft()
        return (perf_counter_ns() - marks[0][1]) / 1e6 if marks else 0.0


def is_coroutine_function(handler: Any) -> bool:
    """True for async functions, also behind `functools.partial` and ``__call__``."""
    while hasattr(handler, "func"):
        handler = handler.func
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
        getattr(handler, "__call__", None)  # noqa: B004 - an object with an async __call__
    )


def conflation_key(event: Event) -> object:
    """What an update is about: kind, symbol and interval, so far as the payload has them."""
    payload = event.payload
    return event.kind, getattr(payload, "symbol", None), getattr(payload, "interval", None)


def _where(error: Exception) -> str:
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return ""
    return f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}"
