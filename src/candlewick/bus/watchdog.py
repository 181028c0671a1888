"""`Watchdog`: catches the handler that keeps the event loop from turning, in the act."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections import Counter, deque
from queue import Empty, SimpleQueue
from time import perf_counter_ns
from types import FrameType, TracebackType

import msgspec

from candlewick.bus.bus import EventBus
from candlewick.bus.loop_worker import LoopWorker
from candlewick.bus.reports import BusReport, ReportKind
from candlewick.errors import CandlewickError
from candlewick.models import utc_now_ms

__all__ = ["LoopStalledError", "Stall", "Watchdog"]

_log = logging.getLogger(__name__)

_DOZE_S = 0.25  # so often an idle loop is asked for a sign of life
_HUNG_NS = 2_000_000_000  # a stall as long is logged before it ends, as it may never end
_KEPT = 100  # stalls
_FRAMES = 20
_BUCKETS = 64
_WORKERS = (LoopWorker._await_handler.__code__, LoopWorker._call_handler.__code__)


class LoopStalledError(CandlewickError):
    """The event loop did not turn for too long, and that was declared to be an error."""


class Stall(msgspec.Struct, frozen=True):
    """One time that the event loop stood still.

    ``handler`` is the subscriber's name, or says what else was running; ``duration_ms`` is a lower
    bound; ``stack`` has the lines that were being executed, the innermost last, and is empty where
    C code held the interpreter so that nobody could look. ``time`` is the end, UTC ms.
    """

    handler: str
    duration_ms: float
    stack: tuple[str, ...]
    time: int


class _Sample(msgspec.Struct, frozen=True):
    asked_ns: int
    handler: str
    stack: tuple[str, ...]


class Watchdog:
    """A thread that asks the event loop for a sign of life; if none comes, it looks why.

    While the bus has events it asks every half threshold, so that a stall of one and a half times
    the threshold is always noticed; while it has none, four times a second. It measures the
    loop's lag thereby.

    Args:
        bus: gets the reports, as ``LOOP_STALLED``: each handler's first, second, fourth, ... stall.
        threshold_ms: a loop that has not turned for so long stands still.
        strict: leaving ``async with`` raises `LoopStalledError` if the loop stood still.

    ``lag_ns`` counts the lags by the bit length of their nanoseconds, as `HandlerInfo` does.
    """

    def __init__(self, bus: EventBus, *, threshold_ms: float = 50.0, strict: bool = False) -> None:
        self.stalls: deque[Stall] = deque(maxlen=_KEPT)
        self.by_handler: Counter[str] = Counter()
        self.lag_ns = [0] * _BUCKETS
        self.worst_ns = 0
        self._bus = bus
        self._threshold_ns = int(threshold_ms * 1e6)
        self._step_s = threshold_ms / 2e3
        self._strict = strict
        self._asked_ns = 0
        self._answered = True
        self._sample: _Sample | None = None
        self._told_hung = 0
        self._turns = 0
        self._stopping = False
        # realtime: allow RT103 - holds wake-ups, at most one a doze and one to stop
        self._wakes: SimpleQueue[None] = SimpleQueue()
        self._loop: asyncio.AbstractEventLoop
        self._loop_thread = 0
        self._thread: threading.Thread | None = None

    @property
    def count(self) -> int:
        """How often the loop stood still."""
        return self.by_handler.total()

    def start(self) -> None:
        """Watch over the running event loop, which this must be called on."""
        if self._thread is None:
            self._loop = asyncio.get_running_loop()
            self._loop_thread = threading.get_ident()
            self._thread = threading.Thread(target=self._run, name="bus:watchdog", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Watch no more. Idempotent."""
        self._stopping = True
        self._bus.activity.alarm = None
        self._wakes.put(None)

    def check(self) -> None:
        """Raise `LoopStalledError` if the loop stood still."""
        if self.by_handler:
            worst = max(self.stalls, key=lambda stall: stall.duration_ms)
            where = worst.stack[-1] if worst.stack else "C code"
            times = "once" if self.count == 1 else f"{self.count} times, at worst"
            raise LoopStalledError(
                f"the event loop stood still {times} for {worst.duration_ms:.0f} ms in"
                f" {worst.handler} at {where}; move what blocks there into a plain handler,"
                " or await it"
            )

    async def __aenter__(self) -> Watchdog:
        self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        if self._strict and error is None:
            self.check()

    # -- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping:
            self._ask()
            self._pause(self._step_s)
            while not self._answered and not self._stopping:
                self._look()
                self._pause(self._step_s)
            if not self._stopping and not self._is_active():
                self._doze()

    def _pause(self, seconds: float) -> None:
        try:
            self._wakes.get(timeout=seconds)
        except Empty:
            return

    def _ask(self) -> None:
        self._answered = False
        self._asked_ns = perf_counter_ns()
        try:
            self._loop.call_soon_threadsafe(self._answer, self._asked_ns)
        except RuntimeError:  # the loop is closed
            self._stopping = True

    def _is_active(self) -> bool:
        activity = self._bus.activity
        before, self._turns = self._turns, activity.turns
        return activity.busy > 0 or before != self._turns

    def _doze(self) -> None:
        """Sleep until the bus has events, or for a while."""
        activity = self._bus.activity
        activity.alarm = self._alarm
        if activity.turns == self._turns:  # none has begun before the alarm was set
            self._pause(_DOZE_S)

    def _alarm(self) -> None:
        self._wakes.put(None)

    def _look(self) -> None:
        """See what the loop is doing, once it has been silent for too long."""
        asked = self._asked_ns
        silent = perf_counter_ns() - asked
        if silent < self._threshold_ns or self._answered:
            return
        if self._sample is None or self._sample.asked_ns != asked:
            frame = sys._current_frames().get(self._loop_thread)
            handler, stack = self._culprit(frame)
            self._sample = _Sample(asked, handler, stack)
        elif silent > _HUNG_NS and self._told_hung != asked:
            self._told_hung = asked
            where = " < ".join(reversed(self._sample.stack))
            _log.error(
                "the event loop has not turned for %.0f s: %s at %s",
                silent / 1e9, self._sample.handler, where,
            )  # fmt: skip

    def _culprit(self, frame: FrameType | None) -> tuple[str, tuple[str, ...]]:
        """Who is running, and where: the lines from the handler inwards."""
        lines: list[str] = []
        while frame is not None:
            code = frame.f_code
            if code in _WORKERS:
                return str(frame.f_locals["subscription"].name), tuple(reversed(lines[:_FRAMES]))
            lines.append(f"{code.co_filename}:{frame.f_lineno} {code.co_qualname}")
            frame = frame.f_back
        task = asyncio.current_task(self._loop)
        name = "a callback" if task is None else f"task {task.get_name()}"
        return name, tuple(reversed(lines[:_FRAMES]))

    # -- on the event loop ------------------------------------------------------------------------

    def _answer(self, asked_ns: int) -> None:
        lag = perf_counter_ns() - asked_ns
        self._answered = True
        self.lag_ns[lag.bit_length()] += 1
        if lag > self.worst_ns:
            self.worst_ns = lag
        if lag >= self._threshold_ns and not self._stopping:
            self._stood_still(asked_ns, lag)

    def _stood_still(self, asked_ns: int, lag: int) -> None:
        seen = self._sample
        if seen is None or seen.asked_ns != asked_ns:
            seen = _Sample(asked_ns, "unknown", ())
        stall = Stall(seen.handler, lag / 1e6, seen.stack, utc_now_ms())
        self.stalls.append(stall)
        self.by_handler[stall.handler] += 1
        times = self.by_handler[stall.handler]
        if times & (times - 1) == 0:
            self._bus.report(_report_on(stall, times))


def _report_on(stall: Stall, times: int) -> BusReport:
    where = stall.stack[-1] if stall.stack else "C code that held the interpreter"
    message = (
        f"{stall.handler} kept the event loop from turning for {stall.duration_ms:.0f} ms, at"
        f" {where} (number {times})"
    )
    return BusReport(
        ReportKind.LOOP_STALLED, stall.handler, message,
        {
            "duration_ms": stall.duration_ms,
            "count": times,
            "where": where,
            "stack": " < ".join(reversed(stall.stack)),
        },
    )  # fmt: skip
