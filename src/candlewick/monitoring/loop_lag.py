"""`LoopLag`: how late the event loop comes to what is due, measured all the time.

The timers of asyncio and uvloop count whole milliseconds, too coarse for a loop that is to be
less than one late. On Linux the kernel's timerfd tells to the microsecond; elsewhere the loop's
own timer serves, and up to a millisecond of what it reports is its own.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from collections.abc import Callable

from candlewick.monitoring.histogram import LatencyHistogram

__all__ = ["LoopLag"]

_SECOND_NS = 1_000_000_000
_RECENT_NS = 10 * _SECOND_NS
_MOST_MISSED = 10_000
_ABSOLUTE = 1


class LoopLag:
    """Measures the lag at a fixed rhythm, and never leaves out what a stall has hidden.

    A loop that stalls for a second has missed ten beats of 100 ms: each counts with its own
    lateness (1.0 s, 0.9 s, ...), as ten events that came in that second would have felt it.

    Args:
        interval_s: time between two beats; each costs some 10 microseconds.
        on_beat: called after each beat.
    """

    def __init__(self, interval_s: float = 0.1, on_beat: Callable[[], None] | None = None) -> None:
        self.histogram = LatencyHistogram()
        self.worst_ns = 0
        self._interval_ns = int(interval_s * _SECOND_NS)
        self._on_beat = on_beat
        self._due = 0
        self._window_ends = 0
        self._window = self._window_before = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer_fd = -1
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin on the running event loop."""
        self._loop = asyncio.get_running_loop()
        now = time.monotonic_ns()
        self._due = now + self._interval_ns
        self._window_ends = now + _RECENT_NS
        self._timer_fd = _timerfd(self._due, self._interval_ns)
        if self._timer_fd >= 0:
            self._loop.add_reader(self._timer_fd, self._on_timerfd)
        else:
            self._schedule()

    def stop(self) -> None:
        """Measure no more. Idempotent."""
        if self._timer_fd >= 0 and self._loop is not None:
            self._loop.remove_reader(self._timer_fd)
            os.close(self._timer_fd)
            self._timer_fd = -1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def recent_ns(self) -> int:
        """The worst lag of the last 10 to 20 seconds."""
        return max(self._window, self._window_before)

    def _on_timerfd(self) -> None:
        try:
            expired = int.from_bytes(os.read(self._timer_fd, 8), sys.byteorder)
        except BlockingIOError:
            return
        self._beat(time.monotonic_ns(), expired)

    def _schedule(self) -> None:
        assert self._loop is not None, "start comes first"
        delay = max(0, self._due - time.monotonic_ns()) / _SECOND_NS
        self._timer = self._loop.call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        now = time.monotonic_ns()
        late = now - self._due
        if late >= 0:
            self._beat(now, 1 + late // self._interval_ns)
        self._schedule()

    def _beat(self, now: int, expired: int) -> None:
        """Count the beats that were due; ``now`` is monotonic."""
        lag = max(0, now - self._due)
        for missed in range(min(expired, _MOST_MISSED)):
            self.histogram.observe(max(0, lag - missed * self._interval_ns))
        self._due += expired * self._interval_ns
        if lag > self.worst_ns:
            self.worst_ns = lag
        if now >= self._window_ends:
            self._window_before, self._window = self._window, 0
            self._window_ends = now + _RECENT_NS
        if lag > self._window:
            self._window = lag
        if self._on_beat is not None:
            self._on_beat()


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("value", _TimeSpec))


def _timerfd(first_ns: int, interval_ns: int) -> int:
    """Return a file descriptor that is readable when a beat is due, or -1 where there is none.

    See timerfd_create(2); Python has it from 3.13 on, the C library of Linux since 2008.
    """
    if sys.platform != "linux":
        return -1
    try:
        library = ctypes.CDLL(None, use_errno=True)
        create, arm = library.timerfd_create, library.timerfd_settime
    except (OSError, AttributeError):
        return -1
    fd = int(create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
    if fd < 0:
        return -1
    spec = _TimerSpec(
        _TimeSpec(*divmod(interval_ns, _SECOND_NS)), _TimeSpec(*divmod(first_ns, _SECOND_NS))
    )
    if arm(fd, _ABSOLUTE, ctypes.byref(spec), None) != 0:
        os.close(fd)
        return -1
    return fd
