"""The event bus: bounded queues, one worker a subscriber, nothing that blocks the event loop."""

from candlewick.bus.bus import BusStoppedError, EventBus
from candlewick.bus.clock import Clock, SimulatedClock, SystemClock
from candlewick.bus.reports import BusReport, HandlerInfo, Mode, Overflow, ReportKind
from candlewick.bus.subscription import QueueFullError, Subscription
from candlewick.bus.timers import Timer, Timers
from candlewick.bus.watchdog import LoopStalledError, Stall, Watchdog

__all__ = [
    "BusReport",
    "BusStoppedError",
    "Clock",
    "EventBus",
    "HandlerInfo",
    "LoopStalledError",
    "Mode",
    "Overflow",
    "QueueFullError",
    "ReportKind",
    "SimulatedClock",
    "Stall",
    "Subscription",
    "SystemClock",
    "Timer",
    "Timers",
    "Watchdog",
]
