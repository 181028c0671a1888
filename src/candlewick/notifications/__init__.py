"""Notifications: what a person must know, told without ever being in the way of an order.

The names below are loaded when they are first used: the configuration needs the settings, not an
HTTP client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from candlewick.notifications.notifier import Notice, Notifier, Severity
    from candlewick.notifications.senders import Sender, SendError, senders_from
    from candlewick.notifications.settings import NotificationSettings

__all__ = [
    "Notice",
    "NotificationSettings",
    "Notifier",
    "SendError",
    "Sender",
    "Severity",
    "senders_from",
]

_MODULES = {
    "Notice": "notifier",
    "NotificationSettings": "settings",
    "Notifier": "notifier",
    "SendError": "senders",
    "Sender": "senders",
    "Severity": "notifier",
    "senders_from": "senders",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
