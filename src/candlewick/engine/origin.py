"""`cause_of`: who made a trade that no order of this run made."""

from __future__ import annotations

from candlewick.engine.client_ids import parse_client_id

__all__ = ["BY_EXCHANGE", "cause_of"]

_BY_EXCHANGE = (
    ("autoclose-", "liquidation"),
    ("adl_autoclose", "ADL"),
    ("settlement_autoclose-", "settlement"),
    ("delivery_autoclose-", "delivery"),
)
BY_EXCHANGE = frozenset(cause for _, cause in _BY_EXCHANGE)
"""What the exchange does to a position by itself."""


def cause_of(client_id: str) -> str:
    """Return what stands behind a client id: empty for an order of ours, of any run."""
    if parse_client_id(client_id) is not None:
        return ""
    for beginning, cause in _BY_EXCHANGE:
        if client_id.startswith(beginning):
            return cause
    return "by hand"
