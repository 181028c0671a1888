"""`MonitoringSettings`: whether and where a running engine tells about itself."""

from __future__ import annotations

import msgspec

from candlewick.errors import ConfigError

__all__ = ["LOOPBACK", "MonitoringSettings"]

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class MonitoringSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where metrics, health and status are served over HTTP.

    ``port`` 0 takes any free one; `candlewick status` finds it. Whoever reaches the address reads
    the account's figures, so it is the loopback interface unless somebody says otherwise.
    An event loop that has not turned for ``stall_ms`` is reported with its culprit; ``strict``
    makes that an error of the run.
    """

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = 0
    stall_ms: float = 50.0
    strict: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise ConfigError(f"monitoring.port {self.port!r} must be from 0 to 65535; 0 is any")
        if not self.stall_ms >= 1.0:
            raise ConfigError(f"monitoring.stall_ms {self.stall_ms!r} must be at least 1")
        if not self.host:
            raise ConfigError("monitoring.host is empty; 127.0.0.1 is this machine alone")
