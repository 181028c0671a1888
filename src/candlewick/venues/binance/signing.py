"""How parameters are written and signed. What is signed is what is sent, byte for byte."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from urllib.parse import quote

__all__ = ["Params", "Signer", "encoded", "signed_params", "signed_query"]

_BLOCK = 64  # bytes that SHA-256 takes at a time

Params = Mapping[str, str | int | bool]
"""Parameters by name; prices and quantities are text already."""


def _text(value: str | int | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def encoded(params: Params) -> str:
    """Write parameters as a query: ``a=1&b=x%3Ay``."""
    return "&".join(f"{name}={quote(_text(value), safe='')}" for name, value in params.items())


class Signer:
    """HMAC-SHA256 with one secret (RFC 2104), as hexadecimal digits.

    The two hashes that begin with the secret are made once; a signature copies them, which takes a
    third of the time of a new HMAC, and less still where the caches are cold.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, secret: str) -> None:
        key = secret.encode()
        block = (hashlib.sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def __repr__(self) -> str:
        return "Signer(***)"

    def sign(self, payload: str) -> str:
        """The signature of a payload."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(payload.encode())
        outer.update(inner.digest())
        return outer.hexdigest()


def signed_query(params: Params, signer: Signer, timestamp: int, recv_window_ms: int) -> str:
    """Write parameters with time stamp, window and signature, as REST wants them."""
    time = f"recvWindow={recv_window_ms}&timestamp={timestamp}"
    query = encoded(params)
    query = f"{query}&{time}" if query else time
    return f"{query}&signature={signer.sign(query)}"


def signed_params(
    params: Params, key: str, signer: Signer, timestamp: int, recv_window_ms: int
) -> dict[str, str | int]:
    """Add key, time stamp and signature, as the WebSocket API wants them.

    Its signature is over the unescaped ``name=value`` of all parameters, sorted by name.
    """
    values: dict[str, str | int] = {
        "apiKey": key, "timestamp": timestamp, "recvWindow": recv_window_ms,
    }  # fmt: skip
    for name, value in params.items():
        values[name] = _text(value) if isinstance(value, bool) else value
    pairs = [f"{name}={values[name]}" for name in sorted(values)]
    values["signature"] = signer.sign("&".join(pairs))
    return values
