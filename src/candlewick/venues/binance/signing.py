"""How parameters are written and signed. What is signed is what is sent, byte for byte."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from urllib.parse import quote

__all__ = ["Params", "encoded", "signature", "signed_params", "signed_query"]

Params = Mapping[str, str | int | bool]
"""Parameters by name; prices and quantities are text already."""


def _text(value: str | int | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def encoded(params: Params) -> str:
    """Write parameters as a query: ``a=1&b=x%3Ay``."""
    return "&".join(f"{name}={quote(_text(value), safe='')}" for name, value in params.items())


def signature(secret: str, payload: str) -> str:
    """HMAC-SHA256 of the payload, as hexadecimal digits."""
    return hmac.digest(secret.encode(), payload.encode(), "sha256").hex()


def signed_query(params: Params, secret: str, timestamp: int, recv_window_ms: int) -> str:
    """Write parameters with time stamp, window and signature, as REST wants them."""
    time = f"recvWindow={recv_window_ms}&timestamp={timestamp}"
    query = encoded(params)
    query = f"{query}&{time}" if query else time
    return f"{query}&signature={signature(secret, query)}"


def signed_params(
    params: Params, key: str, secret: str, timestamp: int, recv_window_ms: int
) -> dict[str, str | int]:
    """Add key, time stamp and signature, as the WebSocket API wants them.

    Its signature is over the unescaped ``name=value`` of all parameters, sorted by name.
    """
    values: dict[str, str | int] = {
        name: value if isinstance(value, int) and not isinstance(value, bool) else _text(value)
        for name, value in params.items()
    }
    values |= {"apiKey": key, "timestamp": timestamp, "recvWindow": recv_window_ms}
    payload = "&".join(f"{name}={values[name]}" for name in sorted(values))
    values["signature"] = signature(secret, payload)
    return values
