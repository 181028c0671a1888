"""`NotificationSettings`: how often, and how patiently."""

from __future__ import annotations

import msgspec

from candlewick.errors import ConfigError

__all__ = ["NotificationSettings"]


class NotificationSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``repeat_after_s``: notices that are alike come at most that often.

    ``timeout_s`` bounds one delivery, ``give_up_s`` all attempts for one notice;
    ``first_retry_s`` is the first pause between two attempts, doubled each time.
    ``reconnecting_after_s`` is how long entries are blocked, for lost streams or an account that is
    not known, before that is told.
    """

    repeat_after_s: float = 300.0
    timeout_s: float = 5.0
    give_up_s: float = 120.0
    first_retry_s: float = 1.0
    reconnecting_after_s: float = 30.0
    daily_summary: bool = True

    def __post_init__(self) -> None:
        for name in ("timeout_s", "give_up_s", "first_retry_s", "reconnecting_after_s"):
            if not getattr(self, name) > 0.0:
                raise ConfigError(f"notifications.{name} {getattr(self, name)!r} must be above 0")
