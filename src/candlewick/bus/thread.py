"""`HandlerThread`: the thread of one plain handler, fed from the event loop in batches."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from candlewick.models import Event

__all__ = ["HandlerThread"]


class HandlerThread:
    """Takes events until there are none, sleeps, and is woken by the next one.

    A wake-up costs a system call; it is paid only when the thread sleeps, so that a burst of
    events is handed over at the price of one.
    """

    def __init__(
        self,
        name: str,
        take: Callable[[], Event | None],
        handle: Callable[[Event], None],
        idle: Callable[[], None],
    ) -> None:
        self.handling = True
        self._take = take
        self._handle = handle
        self._idle = idle
        self._asleep = False
        self._stopping = False
        # realtime: allow RT103 - holds wake-ups, one a sleep or notice, no events
        self._wakes: SimpleQueue[None] = SimpleQueue()
        self._waiters: list[asyncio.Future[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Event = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name=f"bus:{name}", daemon=True)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the thread; ``loop`` gets what must run on the event loop."""
        self._loop = loop
        self._thread.start()

    def wake(self) -> None:
        """Tell the thread that there are events; called on the event loop."""
        if self._asleep:
            self._asleep = False
            self._wakes.put(None)

    def notify(self) -> None:
        """Make the thread look at its flags, even without an event."""
        self._wakes.put(None)

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        """Call back on the event loop; from this thread. A loop that is closed hears nothing."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(callback, *args)

    def _run(self) -> None:
        while not self._stopping:
            self.handling = True
            while (event := self._take()) is not None:
                self._handle(event)
            self._idle()
            self.handling = False
            if self._waiters:
                self.call_soon(self._release)
            self._asleep = True
            # an event may have come between the last look and going to sleep
            event = self._take()
            if event is None:
                self._wakes.get()
                continue
            self._asleep = False
            self.handling = True
            self._handle(event)
        self.handling = False
        self.call_soon(self._release)
        self.call_soon(self._ended.set)

    def _release(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait_idle(self) -> None:
        """Wait until the thread has nothing to do."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._wakes.put(None)
        await waiter

    async def stop(self, timeout: float) -> bool:
        """Let the thread end after the event at hand; False when it did not in ``timeout`` s."""
        self._stopping = True
        self._wakes.put(None)
        try:
            await asyncio.wait_for(self._ended.wait(), timeout)
        except TimeoutError:
            return False
        self._thread.join(timeout)
        return not self._thread.is_alive()
