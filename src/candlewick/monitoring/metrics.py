"""`Metrics`: all that is measured while the engine runs, in one object."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from candlewick.monitoring.garbage import GarbageWatch
from candlewick.monitoring.journey import Journey
from candlewick.monitoring.loop_lag import LoopLag
from candlewick.monitoring.process import MemoryGrowth

__all__ = ["Metrics"]


class Metrics:
    """The measurements that are taken while events flow; all the rest is read when asked for.

    ``journey`` has the hooks of the live path. Entered as a context, it measures the event loop,
    the garbage collector and the memory until the end. ``on_beat`` holds what else is to be looked
    at ten times a second.
    """

    def __init__(self) -> None:
        self.journey = Journey()
        self.garbage = GarbageWatch()
        self.growth = MemoryGrowth()
        self.on_beat: list[Callable[[], None]] = [self.journey.refill, self.growth.sample]
        self.lag = LoopLag(on_beat=self._beat)

    def _beat(self) -> None:
        for look in self.on_beat:
            look()

    def __enter__(self) -> Metrics:
        self.garbage.start()
        self.lag.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.lag.stop()
        self.garbage.stop()
