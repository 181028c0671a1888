"""`EventBus`: events from publishers to subscribers, each with its own bounded queue and worker."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from candlewick.bus.reports import BusReport, HandlerInfo, Mode, Overflow, ReportKind
from candlewick.bus.subscription import Handler, Subscription, is_coroutine_function
from candlewick.errors import ConfigError
from candlewick.models import Event, EventKind

__all__ = ["EventBus"]

_log = logging.getLogger(__name__)
_NONE: tuple[Subscription, ...] = ()
# Every one of these matters; keeping only the newest would forget orders or candles.
_NEVER_CONFLATED = frozenset(EventKind) - {EventKind.PRICE_UPDATED, EventKind.ACCOUNT_UPDATED}


class EventBus:
    """Delivers events in order, to each subscriber at its own pace.

    Args:
        budget_ms: how long a plain handler that runs inline may take on the event loop.
        on_report: takes `BusReport` when a handler fails, is slow or loses events; the
            application log has them in any case.

    A slow or failing subscriber delays nobody else. All methods belong to the event loop's
    thread.
    """

    def __init__(
        self, *, budget_ms: float = 5.0, on_report: Callable[[BusReport], None] | None = None
    ) -> None:
        self.published = 0
        self.refused = 0
        self._budget_ms = budget_ms
        self._on_report = on_report
        self._subscriptions: dict[str, Subscription] = {}
        self._routes: dict[EventKind, tuple[Subscription, ...]] = {}
        self._blocking: dict[EventKind, tuple[Subscription, ...]] = {}
        self._running = False
        self._busy = 0
        self._settled: asyncio.Future[None] | None = None

    # -- subscribing ------------------------------------------------------------------------------

    def subscribe(
        self,
        kind: EventKind | str | Iterable[EventKind | str],
        handler: Handler,
        *,
        name: str | None = None,
        queue_size: int = 10_000,
        overflow: Overflow | str = Overflow.BLOCK,
        mode: Mode | str = Mode.AUTO,
    ) -> Subscription:
        """Let ``handler`` have all events of one or several kinds, in the order of publishing.

        Args:
            kind: one kind, or several that share the queue and so keep their common order.
            handler: an ``async def`` is awaited; a plain function runs in a thread of its own.
            name: unique; the handler's qualified name by default.
            queue_size: how many events may wait.
            overflow: what happens then, see `Overflow`.
            mode: "inline" runs a plain function on the event loop: for those declared fast.

        Raises:
            ConfigError: a name that is taken, a mode that does not fit, or "conflate" for events
                of which each one matters.
        """
        kinds = [EventKind(kind)] if isinstance(kind, str) else [EventKind(k) for k in kind]
        overflow, mode = Overflow(overflow), Mode(mode)
        name = name or str(getattr(handler, "__qualname__", type(handler).__name__))
        if name in self._subscriptions:
            raise ConfigError(f"the bus has a subscriber {name!r} already; give another name")
        if not kinds or queue_size < 1:
            raise ConfigError(
                f"{name}: at least one kind and a queue_size of at least 1 are needed"
            )
        if overflow is Overflow.CONFLATE and (lost := _NEVER_CONFLATED.intersection(kinds)):
            raise ConfigError(f"{name}: {', '.join(sorted(lost))} must not be conflated")
        if mode is Mode.THREAD and is_coroutine_function(handler):
            raise ConfigError(f"{name}: an async handler runs on the event loop, not in a thread")
        subscription = Subscription(
            kinds, handler, name, queue_size, overflow, mode, self._budget_ms,
            self._one_busy, self._one_idle, self._report,
        )  # fmt: skip
        self._subscriptions[name] = subscription
        self._route()
        if self._running:
            self._busy += 1
            subscription.start()
        return subscription

    async def unsubscribe(self, subscription: Subscription | str) -> None:
        """End a subscription; what still waits in its queue is not handled."""
        name = subscription if isinstance(subscription, str) else subscription.name
        ended = self._subscriptions.pop(name, None)
        if ended is None:
            raise ConfigError(f"the bus has no subscriber {name!r}")
        self._route()
        was_busy = self._running and not ended.is_idle and ended.mode is Mode.INLINE
        await ended.stop(timeout=1.0)
        if was_busy:
            self._one_idle()

    def _route(self) -> None:
        self._routes.clear()
        self._blocking.clear()
        for kind in EventKind:
            subscribed = tuple(s for s in self._subscriptions.values() if kind in s.kinds)
            if subscribed:
                self._routes[kind] = subscribed
                self._blocking[kind] = tuple(
                    s for s in subscribed if s.overflow in (Overflow.BLOCK, Overflow.FAIL)
                )

    def handlers(self) -> list[HandlerInfo]:
        """The inventory of subscribers with their counts."""
        return [subscription.info() for subscription in self._subscriptions.values()]

    # -- publishing -------------------------------------------------------------------------------

    def publish(self, event: Event) -> bool:
        """Offer an event to its subscribers; never waits.

        Returns False, with nothing delivered to anyone, when the queue of a subscriber that
        blocks is full.

        Raises:
            QueueFullError: the queue of a subscriber with the policy "fail" is full.
        """
        kind = event.kind
        for subscription in self._blocking.get(kind, _NONE):
            if len(subscription._queue) >= subscription.queue_size:
                if subscription.overflow is Overflow.FAIL:
                    subscription.offer(event)  # raises
                self.refused += 1
                return False
        self.published += 1
        for subscription in self._routes.get(kind, _NONE):
            subscription.offer(event)
        return True

    async def publish_wait(self, event: Event) -> None:
        """Publish, waiting for room where a subscriber blocks."""
        while True:
            full = [s for s in self._blocking.get(event.kind, _NONE) if s.must_wait]
            if not full:
                self.publish(event)
                return
            await full[0].room()

    def discard(self, unwanted: Callable[[Event], bool]) -> list[Event]:
        """Take events out of all queues; returns each once, in no particular order."""
        found: dict[int, Event] = {}
        for subscription in self._subscriptions.values():
            for event in subscription.discard(unwanted):
                found[id(event)] = event
        return list(found.values())

    # -- running ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the workers, on the running event loop."""
        if self._running:
            return
        self._running = True
        for subscription in self._subscriptions.values():
            if subscription.mode is Mode.INLINE:
                self._busy += 1
            subscription.start()

    async def drain(self, timeout: float | None = None) -> Mapping[str, int]:
        """Wait until every queue is empty and every handler has returned.

        Returns what was not handled within ``timeout`` seconds, as counts by kind.
        """
        try:
            async with asyncio.timeout(timeout):
                while not self._is_settled():
                    await self._settle()
        except TimeoutError:
            pass
        waiting: Counter[str] = Counter()
        for subscription in self._subscriptions.values():
            waiting.update(str(event.kind) for event in subscription._queue)
        return waiting

    def _is_settled(self) -> bool:
        return self._busy == 0 and all(s.is_idle for s in self._subscriptions.values())

    async def _settle(self) -> None:
        if self._busy:
            if self._settled is None:
                self._settled = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._settled)
        for subscription in list(self._subscriptions.values()):
            await subscription.settle()

    def _one_busy(self) -> None:
        self._busy += 1

    def _one_idle(self) -> None:
        self._busy -= 1
        settled = self._settled
        if settled is not None and not self._busy:
            self._settled = None
            if not settled.done():
                settled.set_result(None)

    async def stop(self, timeout: float = 5.0) -> Mapping[str, int]:
        """Drain for at most ``timeout`` seconds and end the workers; returns what is left."""
        if not self._running:
            return {}
        left = await self.drain(timeout)
        if left:
            listed = ", ".join(f"{count} {kind}" for kind, count in left.items())
            self._report(
                BusReport(ReportKind.NOT_HANDLED, "", f"not handled in time: {listed}", dict(left))
            )
        stuck = [s.name for s in self._subscriptions.values() if not await s.stop(timeout)]
        if stuck:
            names: Sequence[str] = stuck
            message = f"still running after {timeout:g} s: {', '.join(names)}"
            self._report(BusReport(ReportKind.HANDLER_SLOW, names[0], message))
        self._running = False
        self._busy = 0
        return left

    def _report(self, report: BusReport) -> None:
        _log.warning("%s", report.message)
        if self._on_report is not None:
            self._on_report(report)
