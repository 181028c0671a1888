"""`LoopWorker`: the worker of a handler that runs on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from time import perf_counter_ns

from candlewick.bus.activity import Activity
from candlewick.bus.reports import BusReport, ReportKind
from candlewick.bus.subscription import Subscription, refuse_awaitable
from candlewick.errors import repr_of
from candlewick.models import Event

__all__ = ["LoopWorker"]

_BREACHES = 3  # that often over its budget ...
_WITHIN = 1_000  # ... in so many events, and an inline handler gets a thread
_CANCEL_S = 1.0  # a handler that is cancelled has this long to clean up


class LoopWorker:
    """Takes events until there are none or its turn is over, and sleeps on a future.

    ``move`` is called when a plain handler has been over ``budget_ns`` too often: the worker has
    then ended, and the subscription needs a thread.
    """

    guard = nullcontext()

    def __init__(
        self,
        subscription: Subscription,
        activity: Activity,
        budget_ns: int,
        move: Callable[[Subscription], None],
    ) -> None:
        self._subscription = subscription
        self._activity = activity
        self._budget_ns = budget_ns
        self._move = move
        self._breaches: list[int] = []
        self._loop: asyncio.AbstractEventLoop
        self._waiter: asyncio.Future[None] | None = None
        self._stopping = False
        self._resting = True
        self.task: asyncio.Task[None] | None = None

    @property
    def is_idle(self) -> bool:
        """True when nothing waits and nothing is being handled."""
        return self._resting and not self._subscription.pending.held

    def start(self) -> None:
        """Begin on the running event loop."""
        self._begin()
        self._loop = asyncio.get_running_loop()
        self.task = self._loop.create_task(self._run(), name=f"bus:{self._subscription.name}")
        self.task.add_done_callback(self._has_ended)

    def wake(self) -> None:
        """Go on: an event has come."""
        self._subscription.asleep = False
        self._subscription.woken_ns = perf_counter_ns()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
            self._begin()

    def _sleep(self) -> asyncio.Future[None]:
        """Return the future that `wake` sets."""
        self._subscription.asleep = True
        self._waiter = self._loop.create_future()
        self._rest()
        return self._waiter

    def _begin(self) -> None:
        if self._resting:
            self._resting = False
            self._activity.busy += 1

    def _rest(self) -> None:
        if not self._resting:
            self._resting = True
            self._activity.rest()

    def _has_ended(self, task: asyncio.Task[None]) -> None:
        """Make an end known that nobody has asked for."""
        if task.cancelled():
            cause = "" if self._stopping else "it was cancelled"
        else:
            error = task.exception()
            cause = "" if error is None else repr_of(error)
        if cause:
            name = self._subscription.name
            message = f"the worker of {name} has ended: {cause}; its events are not handled"
            self._subscription.report(BusReport(ReportKind.HANDLER_FAILED, name, message))

    async def _run(self) -> None:
        try:
            if self._subscription.is_async:
                await self._await_handler()
            else:
                await self._call_handler()
        finally:
            self._subscription.asleep = False
            self._rest()
        if not self._stopping:
            self._move(self._subscription)

    async def _await_handler(self) -> None:
        """Await the handler for one event after the other."""
        subscription, activity, clock = self._subscription, self._activity, perf_counter_ns
        held, take = subscription.pending.held, subscription.pending.take
        handler: Callable[[Event], Awaitable[None]] = subscription.handler  # type: ignore[assignment]
        group = 1
        while not self._stopping:
            if not held:
                await self._sleep()
            started = clock()
            turn_ends = started + activity.turn()
            while held:
                left = group
                while left and held:
                    left -= 1
                    subscription.current = event = take()
                    try:
                        await handler(event)
                    except Exception as error:  # noqa: BLE001 - a handler may raise anything
                        subscription.report(subscription.failed_on(event, error))
                    except asyncio.CancelledError as error:
                        if self._is_cancelled():
                            raise
                        subscription.report(subscription.failed_on(event, error))
                    subscription.handled += 1
                now = clock()
                subscription.current = None
                group = subscription.took(now - started, group - left)
                if subscription.waiters:
                    subscription.freed()
                if now > turn_ends:
                    await asyncio.sleep(0)
                    break
                started = now

    async def _call_handler(self) -> None:
        """Call the handler likewise, until it has been too slow too often."""
        subscription, activity, clock = self._subscription, self._activity, perf_counter_ns
        held, take = subscription.pending.held, subscription.pending.take
        handler = subscription.handler
        group = 1
        while not self._stopping:
            if not held:
                await self._sleep()
            started = clock()
            turn_ends = started + activity.turn()
            while held:
                left = group
                while left and held:
                    left -= 1
                    subscription.current = event = take()
                    try:
                        result = handler(event)
                        if result is not None:
                            refuse_awaitable(result)
                    except Exception as error:  # noqa: BLE001 - a handler may raise anything
                        subscription.report(subscription.failed_on(event, error))
                    subscription.handled += 1
                now = clock()
                elapsed = now - started
                subscription.current = None
                group = subscription.took(elapsed, group - left)
                if subscription.waiters:
                    subscription.freed()
                if elapsed > self._budget_ns and self._is_too_slow(elapsed):
                    return
                if now > turn_ends:
                    await asyncio.sleep(0)
                    break
                started = now

    def _is_cancelled(self) -> bool:
        """True when this worker is meant, and not something that the handler has awaited."""
        return self._stopping or (self.task is not None and self.task.cancelling() > 0)

    def _is_too_slow(self, elapsed: int) -> bool:
        """Note a breach of the budget; True when there were too many lately."""
        subscription, breaches = self._subscription, self._breaches
        breaches.append(subscription.handled)
        del breaches[:-_BREACHES]
        if len(breaches) < _BREACHES or breaches[-1] - breaches[0] > _WITHIN:
            return False
        message = (
            f"{subscription.name} took {elapsed / 1e6:.1f} ms on the event loop, over its budget of"
            f" {self._budget_ns / 1e6:g} ms for the {_BREACHES}rd time within {_WITHIN} events;"
            " it runs in a thread from now on"
        )
        subscription.report(
            BusReport(ReportKind.HANDLER_SLOW, subscription.name, message, {"elapsed_ns": elapsed})
        )
        return True

    async def end(self, grace_s: float) -> bool:
        """End after the event at hand, or cancel it after ``grace_s``; False if it does not end."""
        self._stopping = True
        task = self.task
        if task is None or task.done() or task is asyncio.current_task():
            return True  # a handler that ends its own subscription returns to a worker that ends
        if grace_s > 0.0 and not self._subscription.asleep:
            await asyncio.wait([task], timeout=grace_s)
        task.cancel()
        await asyncio.wait([task], timeout=_CANCEL_S)
        return task.done()
