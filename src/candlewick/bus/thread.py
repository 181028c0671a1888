"""`ThreadWorker`: the worker of a plain handler, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from time import perf_counter_ns
from typing import Any

from candlewick.bus.activity import Activity
from candlewick.bus.subscription import Subscription, refuse_awaitable

__all__ = ["ThreadWorker"]

_END_S = 1.0  # a thread cannot be interrupted; so long may the event at hand take at the end


class ThreadWorker:
    """Takes events until there are none, sleeps, and is woken by the next one.

    A wake-up costs a system call; it is paid only when the thread sleeps, so that a burst of
    events is handed over at the price of one. ``guard`` is held while an event is taken, not while
    it is handled; the event loop takes it only to sort the queue out or to list it.
    """

    def __init__(self, subscription: Subscription, activity: Activity) -> None:
        self.guard = threading.Lock()
        self._subscription = subscription
        self._activity = activity
        self._handling = True
        self._stopping = False
        # realtime: allow RT103 - holds wake-ups, one a sleep or notice, no events
        self._wakes: SimpleQueue[None] = SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = asyncio.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"bus:{subscription.name}", daemon=True
        )

    @property
    def is_idle(self) -> bool:
        """True when nothing waits and nothing is being handled."""
        return not self._subscription.pending.held and not self._handling

    def start(self) -> None:
        """Begin; the running event loop gets what must run there."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def wake(self) -> None:
        """Go on: an event has come."""
        self._subscription.asleep = False
        self._subscription.woken_ns = perf_counter_ns()
        self._wakes.put(None)

    def _call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        """Call back on the event loop, from this thread; a loop that is closed hears nothing."""
        assert self._loop is not None, "start comes first"
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:
            if not self._loop.is_closed():
                raise

    def _run(self) -> None:
        subscription = self._subscription
        held = subscription.pending.held
        while not self._stopping:
            self._handling = True
            self._handle_all()
            self._handling = False
            if self._activity.is_watched:
                self._call_soon(self._activity.changed)
            subscription.asleep = True
            # an event may have come between the last look and going to sleep
            if held or self._stopping:
                subscription.asleep = False
            else:
                self._wakes.get()
        self._call_soon(self._activity.changed)
        self._call_soon(self._ended.set)

    def _handle_all(self) -> None:
        subscription, guard, clock = self._subscription, self.guard, perf_counter_ns
        held, take = subscription.pending.held, subscription.pending.take
        handler = subscription.handler
        group = 1
        started = clock()
        while held and not self._stopping:
            count = 0
            while count < group and held:
                with guard:
                    try:
                        subscription.current = event = take()
                    except (IndexError, KeyError):  # dropped or discarded this very moment
                        break
                count += 1
                try:
                    result = handler(event)
                    if result is not None:
                        refuse_awaitable(result)
                except BaseException as error:  # noqa: BLE001 - nothing may end this thread
                    report = subscription.failed_on(event, error)
                    if report is not None:
                        self._call_soon(subscription.report, report)
                subscription.handled += 1
            now = clock()
            subscription.current = None
            if count:
                group = subscription.took(now - started, count)
            started = now
            if subscription.waiters:
                self._call_soon(subscription.freed)

    async def end(self, grace_s: float) -> bool:
        """End after the event at hand; False when it takes a second longer than ``grace_s``."""
        self._stopping = True
        self._wakes.put(None)
        try:
            await asyncio.wait_for(self._ended.wait(), grace_s + _END_S)
        except TimeoutError:
            return False
        return True
