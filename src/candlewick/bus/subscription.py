"""`Subscription`: one subscriber's bounded queue, its worker, and its counts."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from time import perf_counter_ns
from typing import Any, Protocol

from candlewick.bus.pending import Fifo, Newest, Pending
from candlewick.bus.reports import BusReport, HandlerInfo, Mode, Overflow, ReportKind
from candlewick.bus.routes import Route
from candlewick.errors import CandlewickError, ConfigError, repr_of
from candlewick.models import Event, EventKind

__all__ = [
    "Handler",
    "QueueFullError",
    "Subscription",
    "Worker",
    "check_handler",
    "is_coroutine_function",
    "refuse_awaitable",
]

Handler = Callable[[Event], Awaitable[None] | None]

_BUCKETS = 64
_GROUP = 16  # so many events are timed at once ...
_FAST_NS = 2_000  # ... while they take less than this each
_FAST_BITS = _FAST_NS.bit_length()
_MARKED = 64  # the bus marks one event in so many


class QueueFullError(CandlewickError):
    """A queue with the policy "fail" is full; the event was not taken."""


class Worker(Protocol):
    """What takes events from the queue to the handler."""

    @property
    def guard(self) -> AbstractContextManager[Any]:
        """Keeps the worker from taking events."""

    @property
    def is_idle(self) -> bool:
        """True when nothing waits and nothing is being handled."""

    def start(self) -> None:
        """Begin on the running event loop."""

    def wake(self) -> None:
        """Called on the event loop when an event has come and the subscription is asleep."""

    async def end(self, grace_s: float) -> bool:
        """End after the event at hand, or after ``grace_s``; False when it does not end."""


class Subscription:
    """One handler and its queue; ``report`` takes what people should know.

    The fields that a worker or the bus needs for each event are public to them: ``asleep`` is
    True while `wake` must be called after an event was put in, ``current`` is being handled.
    """

    __slots__ = (
        "_marks", "_offered_before", "_report", "_reported", "asleep",
        "busy_ns", "current", "discarded", "drain_timeout_s", "failed", "handled",
        "handler", "is_async", "kinds", "latency", "mode", "name", "overflow", "pending",
        "queue_size", "refused", "routes", "slowest_ns", "waiters", "wake", "woken_ns", "worker",
    )  # fmt: skip

    def __init__(
        self,
        kinds: Iterable[EventKind],
        handler: Handler,
        name: str,
        queue_size: int,
        overflow: Overflow,
        mode: Mode,
        drain_timeout_s: float | None,
        report: Callable[[BusReport], None],
    ) -> None:
        self.kinds = tuple(dict.fromkeys(kinds))
        self.handler = handler
        self.name = name
        self.queue_size = queue_size
        self.overflow = overflow
        self.drain_timeout_s = drain_timeout_s
        self.is_async = is_coroutine_function(handler)
        inline = mode is Mode.INLINE or (mode is Mode.AUTO and self.is_async)
        self.mode = Mode.INLINE if inline else Mode.THREAD
        conflates = overflow is Overflow.CONFLATE
        self.pending: Pending = Newest(queue_size) if conflates else Fifo(queue_size)
        self.asleep = False
        self.current: Event | None = None
        self.handled = 0
        self.failed = 0
        self.discarded = 0
        self.refused = 0
        self.slowest_ns = 0
        self.busy_ns = 0
        self.latency = [0] * _BUCKETS
        self.woken_ns = perf_counter_ns()
        self.worker: Worker | None = None
        self.wake: Callable[[], None]
        self.waiters: list[asyncio.Future[None]] = []
        self._report = report
        self._reported: set[str] = set()
        # realtime: allow RT103 - one in 64 of the events that wait
        self._marks: deque[tuple[int, int]] = deque()
        self.routes: list[Route] = []
        self._offered_before = 0

    def employ(self, worker: Worker) -> None:
        """Let this worker take the events from now on."""
        self.worker = worker
        self.wake = worker.wake
        worker.start()

    def connect(self, routes: Iterable[Route]) -> None:
        """Count the events of these routes from now on."""
        self.routes = list(routes)
        self._offered_before = sum(route.count for route in self.routes)

    # -- publishing -------------------------------------------------------------------------------

    @property
    def offered(self) -> int:
        """How many events came since the subscription began."""
        return sum(route.count for route in self.routes) - self._offered_before

    @property
    def depth(self) -> int:
        """How many events wait."""
        return len(self.pending.held)

    @property
    def room(self) -> int:
        """How many events the queue still takes."""
        return self.queue_size - len(self.pending.held)

    def offer(self, event: Event) -> None:
        """Queue an event by the policy; for those that never refuse one."""
        pending = self.pending
        lost = pending.lost
        pending.put(event)
        if self.asleep:
            self.wake()
        if pending.lost != lost:
            self._warn(
                ReportKind.EVENTS_DROPPED, pending.lost,
                f"{self.name} is too slow: {pending.lost} events dropped",
            )  # fmt: skip

    def refuse(self, event: Event) -> None:
        """Count an event that the full queue keeps from being published.

        Raises:
            QueueFullError: if that is the policy.
        """
        self.refused += 1
        message = f"the queue of {self.name} is full: {self.queue_size} events wait"
        if self.overflow is Overflow.FAIL:
            raise QueueFullError(f"{message}; {event.kind} was not taken")
        self._warn(ReportKind.QUEUE_FULL, self.refused, f"{message}; {self.refused} were refused")

    def _warn(self, kind: ReportKind, count: int, message: str) -> None:
        if count & (count - 1) == 0:  # the first, and each time the number has doubled
            context: dict[str, str | int | float] = {"count": count, "queue_size": self.queue_size}
            self._report(BusReport(kind, self.name, message, context))

    def room_again(self) -> asyncio.Future[None]:
        """Return a future that is done once there may be room."""
        waiter = asyncio.get_running_loop().create_future()
        self.waiters.append(waiter)
        if self.room > 0:  # a thread may have taken an event before it could see the waiter
            self.freed()
        return waiter

    def freed(self) -> None:
        """Let those go on who wait for room."""
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    # -- what waits -------------------------------------------------------------------------------

    @property
    def _guard(self) -> AbstractContextManager[Any]:
        return nullcontext() if self.worker is None else self.worker.guard

    def unhandled(self) -> list[Event]:
        """The event being handled, if any, and those that wait."""
        with self._guard:
            current = self.current
            return ([] if current is None else [current]) + self.pending.events()

    def discard(self, unwanted: Callable[[Event], bool]) -> list[Event]:
        """Take the queued events out that ``unwanted`` is true for."""
        with self._guard:
            out = self.pending.remove(unwanted)
        self.discarded += len(out)
        if self.asleep and self.pending.held:
            self.wake()  # it may have looked at a queue that was being sorted out
        if out:
            self.freed()
        return out

    # -- handling ---------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """True when nothing waits and nothing is being handled."""
        return not self.pending.held if self.worker is None else self.worker.is_idle

    def took(self, elapsed: int, count: int) -> int:
        """Count what handling ``count`` events took, ns; returns how many to time next.

        Where a group of fast events took long, one of them is held to be the slow one.
        """
        self.busy_ns += elapsed
        if elapsed < count * _FAST_NS:
            each = elapsed // count
            self.latency[each.bit_length()] += count
            if each > self.slowest_ns:
                self.slowest_ns = each
            return _GROUP
        self.latency[elapsed.bit_length()] += 1
        self.latency[_FAST_BITS] += count - 1
        if elapsed > self.slowest_ns:
            self.slowest_ns = elapsed
        return 1

    def failed_on(self, event: Event, error: BaseException) -> BusReport | None:
        """Count a failure; returns a report when it is the first of its kind."""
        self.failed += 1
        cause = f"{type(error).__name__}:{event.kind}"
        if cause in self._reported:
            return None
        self._reported.add(cause)
        return BusReport(
            ReportKind.HANDLER_FAILED,
            self.name,
            f"{self.name} raised {repr_of(error)} on {event.kind}",
            {"kind": str(event.kind), "sequence": event.sequence, "where": _where(error)},
        )

    def report(self, report: BusReport | None) -> None:
        """Make something known; None is nothing."""
        if report is not None:
            self._report(report)

    # -- looking at it ----------------------------------------------------------------------------

    def mark(self) -> None:
        """Remember when the events up to now have come, for the age of the oldest."""
        marks, offered = self._marks, self.offered
        first = offered - self.depth + 1
        while len(marks) > 1 and marks[1][0] <= first:
            marks.popleft()
        if not marks or marks[-1][0] < offered:
            marks.append((offered, perf_counter_ns()))

    def oldest_ms(self) -> float:
        """The age of the oldest event that waits, or 0.0."""
        if not self.pending.held:
            return 0.0
        with self._guard:
            came = self.pending.oldest_ns()
        self.mark()
        if came is None:
            number, time_ns = self._marks[0]
            known = number <= self.offered - self.depth + 1
            came = max(time_ns, self.woken_ns) if known else self.woken_ns
        return (perf_counter_ns() - came) / 1e6

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
            self.pending.lost,
            self.pending.replaced,
            self.oldest_ms(),
            self.slowest_ns,
            self.busy_ns,
            tuple(self.latency),
            self.discarded,
            self.refused,
            int(self.current is not None),
        )


def is_coroutine_function(handler: Any) -> bool:
    """True for async functions, also behind `functools.partial` and ``__call__``."""
    while hasattr(handler, "func"):
        handler = handler.func
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
        getattr(handler, "__call__", None)  # noqa: B004 - an object with an async __call__
    )


def check_handler(handler: Any, name: str) -> None:
    """Raise ConfigError for what cannot handle an event, or would do nothing when it is called."""
    if not callable(handler):
        raise ConfigError(f"{name}: {handler!r} cannot be called; give a function")
    if inspect.isgeneratorfunction(handler) or inspect.isasyncgenfunction(handler):
        raise ConfigError(f"{name}: a function with `yield` does nothing when it is called")


def refuse_awaitable(result: object) -> None:
    """Raise TypeError where a plain handler has returned what it should have awaited."""
    if hasattr(result, "__await__"):
        if inspect.iscoroutine(result):
            result.close()
        raise TypeError(
            f"a {type(result).__name__} came back, which nobody awaits: subscribe an async def"
        )


def _where(error: BaseException) -> str:
    """File and line where the error was raised, or an empty string."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return ""
    return f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}"
