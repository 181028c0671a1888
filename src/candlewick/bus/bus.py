"""`EventBus`: events from publishers to subscribers, each with its own bounded queue and worker."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import TypeVar

from candlewick.bus.activity import Activity
from candlewick.bus.loop_worker import LoopWorker
from candlewick.bus.reports import BusReport, HandlerInfo, Mode, Overflow, ReportKind
from candlewick.bus.routes import Route
from candlewick.bus.subscription import (
    Handler,
    Subscription,
    Worker,
    check_handler,
    is_coroutine_function,
)
from candlewick.bus.thread import ThreadWorker
from candlewick.errors import CandlewickError, ConfigError, nearest
from candlewick.models import Event, EventKind

__all__ = ["BusStoppedError", "EventBus"]

_log = logging.getLogger(__name__)
# Every one of these matters; keeping only the newest would forget orders or candles.
_NEVER_CONFLATED = frozenset(EventKind) - {EventKind.PRICE_UPDATED, EventKind.ACCOUNT_UPDATED}
_UNSUBSCRIBE_S = 1.0  # the event at hand may take so long when its subscription ends
_MARK = 63  # one event in 64 of each kind is marked with its time


class BusStoppedError(CandlewickError):
    """The bus has stopped; the event was not taken."""


class EventBus:
    """Delivers events in order, to each subscriber at its own pace.

    Args:
        budget_ms: how long a plain handler that runs inline may take on the event loop.
        on_report: takes `BusReport` when a handler fails, is slow or loses events; the
            application log has them in any case.

    A slow or failing subscriber delays nobody else. All methods belong to the event loop's
    thread, but for `publish_threadsafe`. A bus is started once and stopped once.
    """

    def __init__(
        self, *, budget_ms: float = 5.0, on_report: Callable[[BusReport], None] | None = None
    ) -> None:
        self.refused = 0
        self._budget_ns = int(budget_ms * 1e6)
        self._on_report = on_report
        self._subscriptions: dict[str, Subscription] = {}
        self._routes = {kind: Route() for kind in EventKind}
        self.activity = Activity()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = False
        self._told_stopped = False

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
        drain_timeout_s: float | None = None,
    ) -> Subscription:
        """Let ``handler`` have all events of one or several kinds, in the order of publishing.

        Args:
            kind: one kind, or several that share the queue and so keep their common order.
            handler: an ``async def`` is awaited; a plain function runs in a thread of its own.
            name: unique; the handler's qualified name by default.
            queue_size: how many events may wait.
            overflow: what happens then, see `Overflow`.
            mode: "inline" runs a plain function on the event loop: for those declared fast.
            drain_timeout_s: how long this queue may take to drain, where that is not what the
                others are given.

        Raises:
            ConfigError: a name that is taken, a kind, mode or policy that there is not, a mode
                that does not fit, a function that would do nothing, or "conflate" for events of
                which each one matters.
        """
        name = name or str(getattr(handler, "__qualname__", type(handler).__name__))
        check_handler(handler, name)
        kinds = [_one_of(EventKind, k, name) for k in ([kind] if isinstance(kind, str) else kind)]
        overflow, mode = _one_of(Overflow, overflow, name), _one_of(Mode, mode, name)
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
        if self._stopped:
            raise BusStoppedError(f"{name}: the bus has stopped; make a new one")
        subscription = Subscription(
            kinds, handler, name, queue_size, overflow, mode, drain_timeout_s, self.report
        )
        subscription.connect(self._routes[kind] for kind in subscription.kinds)
        self._subscriptions[name] = subscription
        self._lay_routes()
        if self._loop is not None:
            self._start_worker(subscription)
        return subscription

    async def unsubscribe(self, subscription: Subscription | str) -> None:
        """End a subscription; what still waits in its queue is discarded.

        The event at hand is finished within a second, or cancelled.
        """
        name = subscription if isinstance(subscription, str) else subscription.name
        ended = self._subscriptions.pop(name, None)
        if ended is None:
            raise ConfigError(f"the bus has no subscriber {name!r}")
        self._lay_routes()
        left = ended.discard(lambda _: True)
        if left:
            self._report_left(name, "discarded at the end of its subscription", _by_kind(left))
        if ended.worker is not None and not await ended.worker.end(_UNSUBSCRIBE_S):
            self._report_stuck([name])

    def _lay_routes(self) -> None:
        subscriptions = self._subscriptions.values()
        for kind, route in self._routes.items():
            route.lead_to(s for s in subscriptions if kind in s.kinds)
            route.sure_until = route.count

    def handlers(self) -> list[HandlerInfo]:
        """The inventory of subscribers with their counts."""
        return [subscription.info() for subscription in self._subscriptions.values()]

    # -- publishing -------------------------------------------------------------------------------

    @property
    def published(self) -> int:
        """How many events were taken."""
        return sum(route.count for route in self._routes.values())

    def publish(self, event: Event) -> bool:
        """Offer an event to its subscribers; never waits.

        Returns False, with nothing delivered to anyone, when the queue of a subscriber that
        blocks is full, or when the bus has stopped.

        Raises:
            QueueFullError: the queue of a subscriber with the policy "fail" is full.
        """
        route = self._routes[event.kind]
        count = route.count
        if count >= route.sure_until and not self._admits(event, route):
            return False
        route.count = count = count + 1
        for add, subscription in route.direct:
            add(event)
            if subscription.asleep:
                subscription.wake()
        if route.others:
            for subscription in route.others:
                subscription.offer(event)
        if not count & _MARK:
            route.mark()
        return True

    def _admits(self, event: Event, route: Route) -> bool:
        """Whether no queue is full; if so, it keeps places, and need not be asked for some time."""
        if self._stopped:
            self.refused += 1
            if not self._told_stopped:
                self._told_stopped = True
                message = f"{event.kind} came after the bus had stopped, and was not taken"
                self.report(BusReport(ReportKind.NOT_HANDLED, "", message))
            return False
        for subscription in route.bounded:
            if subscription.room <= 0:
                self.refused += 1
                subscription.refuse(event)  # raises, where that is the policy
                return False
        route.keep_places()
        return True

    async def publish_wait(self, event: Event) -> None:
        """Publish, waiting for room where a subscriber blocks.

        A handler must not wait for room in its own queue: nobody else can make it.

        Raises:
            QueueFullError: the queue of a subscriber with the policy "fail" is full.
            BusStoppedError: the bus has stopped, perhaps while this waited.
        """
        route = self._routes[event.kind]
        while not self._stopped:
            full = (s for s in route.bounded if s.overflow is Overflow.BLOCK and s.room <= 0)
            subscription = next(full, None)
            if subscription is None:
                break
            await subscription.room_again()
        if not self.publish(event):
            raise BusStoppedError(f"the bus has stopped; {event.kind} was not taken")

    def publish_threadsafe(self, event: Event) -> None:
        """Publish from another thread, such as that of a plain handler.

        Whether the event was taken is known only later, and on the event loop: an event that is
        refused is counted and reported.
        """
        if self._loop is None:
            raise CandlewickError("the bus has not been started; there is no loop to publish on")
        self._loop.call_soon_threadsafe(self.publish, event)

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
        if self._stopped:
            raise BusStoppedError("the bus has stopped; make a new one")
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            for subscription in self._subscriptions.values():
                self._start_worker(subscription)

    def _start_worker(self, subscription: Subscription) -> None:
        worker: Worker
        if subscription.mode is Mode.THREAD:
            worker = ThreadWorker(subscription, self.activity)
        else:
            worker = LoopWorker(subscription, self.activity, self._budget_ns, self._move_to_thread)
        subscription.employ(worker)

    def _move_to_thread(self, subscription: Subscription) -> None:
        subscription.mode = Mode.THREAD
        self._start_worker(subscription)

    async def drain(self, timeout: float | None = None) -> Mapping[str, int]:
        """Wait until every queue is empty and every handler has returned.

        Returns what was not handled within ``timeout`` seconds (or those that a subscription has
        asked for), as counts by kind. Not for a handler, which would wait for itself.
        """
        if self._open():
            await self._wait_for_rest(timeout, None)
        return self._left()

    async def stop(self, timeout: float = 5.0) -> Mapping[str, int]:
        """Drain every queue for at most ``timeout`` seconds, or what its subscription asked for.

        Returns what is left, as counts by kind. Handlers may publish until the end; then the bus
        takes nothing any more.
        """
        if self._loop is None or self._stopped:
            self._close()
            return self._left()
        ends: dict[Subscription, asyncio.Task[bool]] = {}

        def end(subscription: Subscription) -> None:
            if subscription.worker is not None and subscription not in ends:
                ends[subscription] = asyncio.ensure_future(subscription.worker.end(0.0))

        await self._wait_for_rest(timeout, end)
        self._close()
        subscriptions = list(self._subscriptions.values())
        for subscription in subscriptions:
            end(subscription)
            subscription.freed()
        stuck = [s.name for s, ended in ends.items() if not await ended]
        for subscription in subscriptions:
            if left := _by_kind(subscription.unhandled()):
                self._report_left(subscription.name, "not handled in time", left)
        if stuck:
            self._report_stuck(stuck)
        return self._left()

    def _close(self) -> None:
        """Take no event any more."""
        self._stopped = True
        for route in self._routes.values():
            route.sure_until = route.count

    @property
    def is_idle(self) -> bool:
        """True when every queue is empty and every handler has returned."""
        return all(subscription.is_idle for subscription in self._subscriptions.values())

    def _open(self) -> list[Subscription]:
        """Those that have events or handle one."""
        return [s for s in self._subscriptions.values() if not s.is_idle]

    def _left(self) -> Mapping[str, int]:
        left: Counter[str] = Counter()
        for subscription in self._subscriptions.values():
            if subscription.pending.held or subscription.current is not None:
                left.update(_by_kind(subscription.unhandled()))
        return left

    async def _wait_for_rest(
        self, timeout: float | None, give_up: Callable[[Subscription], None] | None
    ) -> None:
        """Wait until all is idle; a queue whose time is over is no longer waited for."""
        self._refuse_to_wait_for_oneself()
        loop = asyncio.get_running_loop()
        began = loop.time()
        over: set[Subscription] = set()

        def time_left(subscription: Subscription) -> float:
            given = subscription.drain_timeout_s
            given = timeout if given is None else given
            return math.inf if given is None else began + given - loop.time()

        while True:
            changed = self.activity.watch()  # before the look, as threads come to rest any time
            waited = {s: time_left(s) for s in self._open() if s not in over}
            for subscription, seconds in waited.items():
                if seconds <= 0.0:
                    over.add(subscription)
                    if give_up is not None:
                        give_up(subscription)
            least = min((seconds for s, seconds in waited.items() if s not in over), default=0.0)
            if least <= 0.0:
                changed.cancel()
                return
            if least == math.inf:
                await changed
            else:
                await asyncio.wait([changed], timeout=least)
                changed.cancel()

    def _refuse_to_wait_for_oneself(self) -> None:
        task = asyncio.current_task()
        for subscription in self._subscriptions.values():
            worker = subscription.worker
            if isinstance(worker, LoopWorker) and worker.task is task:
                raise CandlewickError(
                    f"{subscription.name} must not wait for the bus: it would wait for itself;"
                    " let another task drain or stop it"
                )

    # -- reports ----------------------------------------------------------------------------------

    def report(self, report: BusReport) -> None:
        """Log something that people should know, and tell the owner; never raises."""
        _log.warning("%s", report.message)
        if self._on_report is not None:
            try:
                self._on_report(report)
            except Exception:  # noqa: BLE001 - whatever the owner's code may raise
                _log.exception("the bus's report was not taken")

    def _report_left(self, name: str, what: str, left: Counter[str]) -> None:
        listed = ", ".join(f"{count} {kind}" for kind, count in left.items())
        message = f"{name}: {what}: {listed}"
        self.report(BusReport(ReportKind.NOT_HANDLED, name, message, dict(left)))

    def _report_stuck(self, names: Sequence[str]) -> None:
        message = f"still running, and left behind: {', '.join(names)}"
        self.report(BusReport(ReportKind.HANDLER_SLOW, names[0], message))


_Choice = TypeVar("_Choice", bound=StrEnum)


def _one_of(choices: type[_Choice], value: str, name: str) -> _Choice:
    try:
        return choices(value)
    except ValueError:
        known = [str(choice) for choice in choices]
        hint = nearest(str(value), known) or f"; choose one of {', '.join(known)}"
        raise ConfigError(f"{name}: there is no {choices.__name__} {value!r}{hint}") from None


def _by_kind(events: Iterable[Event]) -> Counter[str]:
    return Counter(str(event.kind) for event in events)
