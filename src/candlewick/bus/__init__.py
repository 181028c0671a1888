"""The event bus: bounded queues, one worker a subscriber, nothing that blocks the event loop."""

from candlewick.bus.bus import EventBus
from candlewick.bus.reports import BusReport, HandlerInfo, Mode, Overflow, ReportKind
from candlewick.bus.subscription import QueueFullError, Subscription

__all__ = [
    "BusReport",
    "EventBus",
    "HandlerInfo",
    "Mode",
    "Overflow",
    "QueueFullError",
    "ReportKind",
    "Subscription",
]
