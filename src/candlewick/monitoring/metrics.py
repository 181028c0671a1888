"""`Metrics`: all that is measured while the engine runs, in one object."""

from __future__ import annotations

from types import TracebackType

from candlewick.monitoring.garbage import GarbageWatch
from candlewick.monitoring.journey import Journey
from candlewick.monitoring.loop_lag import LoopLag
from candlewick.monitoring.process import MemoryGrowth

__all__ = ["Metrics"]


class Metrics:
    """The measurements that are taken while events flow; all the rest is read when asked for.

    ``journey`` has the hooks of the live path. Entered as a context, it measures the event loop,
    the garbage collector and the memory until the end.
    """

    def __init__(self) -> None:
        self.journey = Journey()
        self.garbage = GarbageWatch()
        self.growth = MemoryGrowth()
        self.lag = LoopLag(on_beat=self.growth.sample)

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
