"""Who asks: API keys, signatures and timestamps, and the listen keys of the user streams."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from urllib.parse import parse_qsl

from candlewick.sandbox.account import Account
from candlewick.sandbox.limits import OrderCounts
from candlewick.sandbox.margin_calls import MarginCalls
from candlewick.sandbox.trading import Trading
from candlewick.sandbox.wire import ApiError, Params

__all__ = ["Client", "ListenKey", "check_time", "new_key", "sign", "signed_params"]

_SIGNATURE = re.compile(r"(?:^|&)signature=([^&]*)")
_MOST_RECV_WINDOW = 60_000
_AHEAD_MS = 1_000


class ListenKey:
    """The key of one user stream; ``until`` is wall-clock seconds."""

    __slots__ = ("client", "key", "until")

    def __init__(self, key: str, client: Client, until: float) -> None:
        self.key = key
        self.client = client
        self.until = until


class Client:
    """One account with its keys, its order counts and its listen key."""

    def __init__(
        self, api_key: str, secret: str, account: Account, trading: Trading, counts: OrderCounts
    ) -> None:
        self.api_key = api_key
        self.secret = secret
        self.account = account
        self.trading = trading
        self.counts = counts
        self.margin_calls = MarginCalls(account)
        self.listen_key: ListenKey | None = None


def new_key() -> str:
    """Make up a key of 64 letters and digits."""
    return secrets.token_hex(32)


def sign(secret: str, payload: str) -> str:
    """HMAC-SHA256 of a payload, in hexadecimal."""
    return hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()


def signed_params(secret: str, query: str, body: str) -> Params:
    """Check the signature over query and body as they were sent; returns their parameters.

    Raises:
        ApiError: -1102 without a signature, -1022 with a wrong one.
    """
    given = _SIGNATURE.search(query) or _SIGNATURE.search(body)
    if given is None:
        raise ApiError(-1102, name="signature")
    payload = _SIGNATURE.sub("", query).lstrip("&") + _SIGNATURE.sub("", body).lstrip("&")
    if not hmac.compare_digest(sign(secret, payload), given[1]):
        raise ApiError(-1022)
    return plain_params(query, body)


def plain_params(query: str, body: str) -> Params:
    """The parameters of query and body; the query's win."""
    pairs = (*parse_qsl(body, keep_blank_values=True), *parse_qsl(query, keep_blank_values=True))
    return Params(dict(pairs))


def check_time(params: Params, server_ms: int) -> None:
    """Check that a signed request is of now; raises ApiError -1102 or -1021."""
    sent = params.need_integer("timestamp")
    window = params.integer("recvWindow", 5_000)
    if not 0 < window <= _MOST_RECV_WINDOW:
        raise ApiError(-1131, "recvWindow must be less than 60000")
    if sent >= server_ms + _AHEAD_MS:
        raise ApiError(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if server_ms - sent > window:
        raise ApiError(-1021)
