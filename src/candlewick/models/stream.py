"""`StreamStatus`: whether what a venue's stream tells can be relied on."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from candlewick.models.enums import direct

__all__ = ["StreamKind", "StreamState", "StreamStatus"]


@direct
class StreamKind(StrEnum):
    """What a stream brings: the market's prices, or news of the account."""

    MARKET = "market"
    ACCOUNT = "account"


@direct
class StreamState(StrEnum):
    """LOST: the connection is gone. STALE: it is there, its data is old. LIVE: all is well."""

    LIVE = "live"
    LOST = "lost"
    STALE = "stale"


class StreamStatus(msgspec.Struct, frozen=True, gc=False):
    """A change of one stream; ``symbol`` is empty where it concerns all of them."""

    kind: StreamKind
    state: StreamState
    time: int
    reason: str = ""
    symbol: str = ""
