"""The event bus: bounded queues, one worker a subscriber, nothing that blocks the event loop."""

from candlewick.bus.bus import BusStoppedError, EventBus
from candlewick.bus.reports import BusReport, HandlerInfo, Mode, Overflow, ReportKind
from candlewick.bus.subscription import QueueFullError, Subscription

__all__ = [
    "BusReport",
    "BusStoppedError",
    "EventBus",
    "HandlerInfo",
    "Mode",
    "Overflow",
    "QueueFullError",
    "ReportKind",
    "Subscription",
]
