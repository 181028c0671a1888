"""`BinanceSettings`: where the exchange is, and how patient the venue is with it."""

from __future__ import annotations

from typing import Literal

import msgspec

from candlewick.errors import ConfigError

__all__ = ["BinanceSettings"]


class BinanceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The venue's settings; the defaults are those of the exchange itself.

    ``rest_url``, ``ws_url`` and ``ws_api_url`` say where it is: `at` fills them in for any server
    that speaks the protocol, `testnet` for the exchange's own test network. ``ws_api_url`` empty
    means that there is none.

    ``name`` is what journals call the venue. ``margin_asset`` is the asset whose wallet balance
    is the account's. ``leverage`` 0 and ``margin_type`` "" leave what the account has.
    ``switch_to_one_way`` allows the venue to change the position mode of the whole account.

    ``recv_window_ms`` is how old a signed request may be when it arrives;
    a shorter one resolves orders without an answer sooner. ``request_timeout_s`` bounds one HTTP
    request. ``orders_over_ws`` sends orders over the WebSocket API while that is healthy.

    ``stale_after_s`` is the greatest age of market data; ``late_candle_s`` how long after its
    close a candle is waited for before it is asked for, ``holes_are_known`` that nobody need be
    told of candles that the exchange lacks. ``heartbeat_s`` is the time between two
    pings of ours, ``connection_life_s`` the age at which a connection is replaced (the exchange
    cuts it after 24 hours), ``overlap_s`` how long old and new connection run beside each other.
    ``backoff_min_s`` and ``backoff_max_s`` bound the pause before a reconnect. ``keepalive_s`` is
    the time between two prolongations of the listen key, ``clock_every_s`` that between two
    measurements of the exchange's clock.

    ``confirm_after_s`` is how long after its acceptance a market order may be silent before it is
    asked for; ``not_found_grace_s`` how long after ``recv_window_ms`` has passed an order that the
    exchange does not know may still appear. ``max_entry_delay_s`` is how long an opening order may
    wait for room within the limits before it is refused, ``max_wait_s`` how long any other request
    may; closing orders wait as long as it takes. ``entry_share`` is the share of the order limits
    that opening orders may use, ``weight_share`` that of the request weight which anything but
    orders may use.
    """

    name: str = "binance"
    rest_url: str = "https://fapi.binance.com"
    ws_url: str = "wss://fstream.binance.com"
    ws_api_url: str = "wss://ws-fapi.binance.com/ws-fapi/v1"
    margin_asset: str = "USDT"
    leverage: int = 0
    margin_type: Literal["", "cross", "isolated"] = ""
    switch_to_one_way: bool = False
    recv_window_ms: int = 3_000
    request_timeout_s: float = 5.0
    orders_over_ws: bool = True
    stale_after_s: float = 15.0
    late_candle_s: float = 2.0
    holes_are_known: bool = False
    heartbeat_s: float = 15.0
    connection_life_s: float = 23 * 3600.0
    overlap_s: float = 5.0
    backoff_min_s: float = 0.25
    backoff_max_s: float = 30.0
    keepalive_s: float = 1_800.0
    clock_every_s: float = 3_600.0
    confirm_after_s: float = 1.0
    not_found_grace_s: float = 1.0
    max_entry_delay_s: float = 1.0
    max_wait_s: float = 15.0
    entry_share: float = 0.8
    weight_share: float = 0.9

    def __post_init__(self) -> None:
        for name, schemes in (("rest_url", ("http", "https")), ("ws_url", ("ws", "wss"))):
            self._check_url(name, schemes)
        if self.ws_api_url:
            self._check_url("ws_api_url", ("ws", "wss"))
        if not 0 <= self.leverage <= 125:
            raise ConfigError(f"leverage {self.leverage!r} must be from 1 to 125, or 0: as it is")
        if not 1 <= self.recv_window_ms <= 60_000:
            raise ConfigError(f"recv_window_ms {self.recv_window_ms!r} must be from 1 to 60000")
        for name in ("entry_share", "weight_share"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} {getattr(self, name)!r} must be above 0 and at most 1")
        for name in _POSITIVE:
            if not getattr(self, name) > 0.0:
                raise ConfigError(f"{name} {getattr(self, name)!r} must be above 0")
        if self.backoff_max_s < self.backoff_min_s:
            raise ConfigError(
                f"backoff_max_s {self.backoff_max_s!r} is below backoff_min_s"
                f" {self.backoff_min_s!r}"
            )

    def _check_url(self, name: str, schemes: tuple[str, ...]) -> None:
        url = getattr(self, name)
        scheme, separator, rest = url.partition("://")
        if scheme not in schemes or not separator or not rest or "?" in url:
            raise ConfigError(
                f"{name} {url!r} must be a URL that begins with"
                f" {' or '.join(f'{s}://' for s in schemes)}"
            )

    @classmethod
    def at(cls, rest_url: str, ws_url: str, ws_api_url: str | None = None) -> BinanceSettings:
        """Settings for a server at these URLs; its WebSocket API is at ``ws_url/ws-fapi/v1``."""
        ws_url = ws_url.rstrip("/")
        api = f"{ws_url}/ws-fapi/v1" if ws_api_url is None else ws_api_url
        return cls(rest_url=rest_url.rstrip("/"), ws_url=ws_url, ws_api_url=api)

    @classmethod
    def testnet(cls) -> BinanceSettings:
        """Settings for the exchange's test network, whose money is not real."""
        return cls(
            name="binance-testnet",
            rest_url="https://testnet.binancefuture.com",
            ws_url="wss://fstream.binancefuture.com",
            ws_api_url="wss://testnet.binancefuture.com/ws-fapi/v1",
        )


_POSITIVE = (
    "request_timeout_s",
    "stale_after_s",
    "late_candle_s",
    "heartbeat_s",
    "connection_life_s",
    "overlap_s",
    "backoff_min_s",
    "keepalive_s",
    "clock_every_s",
    "confirm_after_s",
    "not_found_grace_s",
    "max_entry_delay_s",
    "max_wait_s",
)
