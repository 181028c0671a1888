"""`Limits`: what the exchange allows in a minute, obeyed before it has to complain."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Protocol

from candlewick.errors import VenueError
from candlewick.venues.binance.answers import RateLimit
from candlewick.venues.binance.clock import ServerClock
from candlewick.venues.binance.failures import (
    Code,
    OutcomeUnknown,
    RateLimited,
    Refused,
    explain,
    is_unknown,
)
from candlewick.venues.binance.settings import BinanceSettings

__all__ = ["Headers", "Limits", "Ticket", "Urgency"]

_UNITS_MS = {"SECOND": 1_000, "MINUTE": 60_000, "HOUR": 3_600_000, "DAY": 86_400_000}
_UNIT_LETTERS = {"SECOND": "S", "MINUTE": "M", "HOUR": "H", "DAY": "D"}
_WEIGHT, _ORDERS = "REQUEST_WEIGHT", "ORDERS"
_HEADERS = {_WEIGHT: "X-MBX-USED-WEIGHT-", _ORDERS: "X-MBX-ORDER-COUNT-"}
_log = logging.getLogger(__name__)
_WORTH_TELLING_S = 5.0
_BAN_S = {429: 60.0, 418: 120.0}  # where the answer does not say
_DEFAULTS = (
    RateLimit(_WEIGHT, "MINUTE", 1, 2_400),
    RateLimit(_ORDERS, "SECOND", 10, 300),
    RateLimit(_ORDERS, "MINUTE", 1, 1_200),
)


class Headers(Protocol):
    """The headers of an answer."""

    def get(self, name: str) -> str | None:
        """The header's text, whatever the case of its name."""


class Urgency(IntEnum):
    """What a request is for; it decides how much of a limit it may use and how long it waits."""

    READ = 0
    OPEN = 1
    CLOSE = 2


class Window:
    """One limit over fixed spans of the exchange's time."""

    __slots__ = (
        "counted", "header", "index", "is_weight", "kind", "length_ms", "limit", "name", "pending",
    )  # fmt: skip

    def __init__(self, rule: RateLimit) -> None:
        self.kind = rule.rateLimitType
        self.is_weight = self.kind == _WEIGHT
        self.length_ms = _UNITS_MS.get(rule.interval, 60_000) * max(rule.intervalNum, 1)
        self.name = f"{rule.intervalNum}{_UNIT_LETTERS.get(rule.interval, rule.interval[:1])}"
        self.header = _HEADERS[self.kind] + self.name
        self.limit = rule.limit
        self.index = 0
        self.counted = 0  # what the exchange, or we, have counted in the span
        self.pending = 0  # on its way, not yet counted

    def wait_ms(self, now: int, amount: int, share: float) -> int:
        """How long until ``amount`` more fits into ``share`` of the limit; 0 when it does.

        What is larger than the limit itself goes alone.
        """
        self.roll(now)
        used = self.counted + self.pending
        if amount == 0 or used == 0 or used + amount <= self.limit * share:
            return 0
        return self.length_ms - now % self.length_ms

    def roll(self, now: int) -> None:
        """Begin a new span when the old one is over."""
        index = now // self.length_ms
        if index != self.index:
            self.index = index
            self.counted = 0

    def settle(self, amount: int, index: int, told: int | None) -> None:
        """A request that was sent in the span ``index`` has ended; ``told`` is its header.

        The header of an answer that crossed the end of its span may belong to either side: it says
        nothing, and the request is counted on this one.
        """
        self.pending -= amount
        if told is None or index != self.index:
            self.counted += amount
        else:
            self.counted = max(self.counted, told)


class Ticket:
    """Room for one request, taken from all limits; to be settled once."""

    __slots__ = ("_limits", "_taken")

    def __init__(self, limits: Limits, taken: list[tuple[Window, int, int]]) -> None:
        self._limits = limits
        self._taken = taken

    def settle(self, headers: Headers | None = None, counts: Iterable[RateLimit] = ()) -> None:
        """Give the room back to be counted; ``headers`` or ``counts`` say what the exchange has."""
        now = self._limits.clock.now()
        told = {window.name + window.kind: count for window, count in self._told(headers, counts)}
        taken, self._taken = self._taken, []
        for window, amount, index in taken:
            window.roll(now)
            window.settle(amount, index, told.get(window.name + window.kind))

    def _told(
        self, headers: Headers | None, counts: Iterable[RateLimit]
    ) -> Iterable[tuple[Window, int]]:
        windows = self._limits.windows
        if headers is not None:
            for window in windows:
                text = headers.get(window.header)
                if text is not None and text.isdecimal():
                    yield window, int(text)
        for rule in counts:
            for window in windows:
                same = window.kind == rule.rateLimitType and rule.count is not None
                if same and window.length_ms == Window(rule).length_ms:
                    yield window, rule.count or 0


class Limits:
    """Keeps all requests of one address and account within the exchange's limits.

    Opening orders get ``entry_share`` of the order limits, so that closing ones always find room;
    what the exchange counts for others on the same address or account is known from the headers.
    ``max_wait_s`` is how long what is neither an order nor a cancel waits for room.
    """

    def __init__(self, settings: BinanceSettings, clock: ServerClock) -> None:
        self.clock = clock
        self._settings = settings
        self.windows = [Window(rule) for rule in _DEFAULTS]
        self._blocked_until = 0.0  # monotonic seconds
        self.max_wait_s = settings.max_wait_s
        self.waits = 0
        self.bans = 0

    def adopt(self, rules: Iterable[RateLimit]) -> None:
        """Take over the limits that the exchange tells; what was counted so far is kept."""
        known = {(w.kind, w.length_ms): w for w in self.windows}
        for rule in rules:
            if rule.rateLimitType not in _HEADERS or rule.limit <= 0:
                continue
            window = Window(rule)
            old = known.get((window.kind, window.length_ms))
            if old is None:
                self.windows.append(window)
            else:
                old.limit = rule.limit

    def block(self, seconds: float) -> None:
        """Send nothing for so long: the exchange has asked for it."""
        self.bans += 1
        self._blocked_until = max(self._blocked_until, time.monotonic() + seconds)

    def failure(
        self, name: str, status: int, code: int, message: str, retry_after_s: float | None
    ) -> VenueError:
        """What an error answer to the request ``name`` means; limits that it tells are obeyed.

        ``status`` is that of HTTP, ``code`` 0 where the answer has none.
        """
        if status in _BAN_S:
            wait_s = _BAN_S[status] if retry_after_s is None else retry_after_s
            self.block(wait_s)
            text = f"{name}: HTTP {status}, nothing may be sent for {wait_s:g} s"
            _log.warning("%s", text)
            return RateLimited(text, wait_s, code or Code.TOO_MANY_REQUESTS)
        told = explain(name, code or status, message)
        if code == Code.TOO_MANY_ORDERS:
            return RateLimited(told, self._orders_are_full(), code)
        return OutcomeUnknown(told, code) if is_unknown(status, code) else Refused(told, code)

    def _orders_are_full(self) -> float:
        """More orders are counted than we know of; returns the seconds until there is room."""
        now = self.clock.now()
        fullest = min(
            (window for window in self.windows if window.kind == _ORDERS),
            key=lambda window: window.length_ms,
        )
        fullest.roll(now)
        fullest.counted = max(fullest.counted, fullest.limit)
        return (fullest.length_ms - now % fullest.length_ms) / 1e3

    @property
    def blocked_s(self) -> float:
        """How much longer the exchange wants nothing to be sent."""
        return max(0.0, self._blocked_until - time.monotonic())

    def used(self) -> Mapping[str, tuple[int, int]]:
        """What is used of each limit, and the limit."""
        now = self.clock.now()
        for window in self.windows:
            window.roll(now)
        return {
            f"{w.kind.lower()}_{w.name}": (w.counted + w.pending, w.limit) for w in self.windows
        }

    async def admit(self, weight: int, orders: int, urgency: Urgency) -> Ticket:
        """Wait until a request fits into all limits, and take its room.

        Raises:
            RateLimited: it would have to wait for longer than its kind may.
        """
        begun = 0.0
        while wait_s := self._wait_s(weight, orders, urgency):
            begun = begun or time.monotonic()
            if wait_s > self._patience_s(urgency) - (time.monotonic() - begun):
                raise RateLimited(
                    f"the exchange's limits leave no room for {wait_s:.1f} s more", wait_s
                )
            self.waits += 1
            if wait_s > _WORTH_TELLING_S:
                _log.warning("the exchange's limits leave no room: waiting for %.0f s", wait_s)
            await asyncio.sleep(wait_s)
        taken = []
        for window in self.windows:
            amount = weight if window.is_weight else orders
            window.pending += amount
            taken.append((window, amount, window.index))
        return Ticket(self, taken)

    def _patience_s(self, urgency: Urgency) -> float:
        if urgency is Urgency.CLOSE:
            return float("inf")
        settings = self._settings
        return settings.max_entry_delay_s if urgency is Urgency.OPEN else self.max_wait_s

    def _wait_s(self, weight: int, orders: int, urgency: Urgency) -> float:
        """How long the request has to wait; 0.0 when there is room. All windows are up to date."""
        if self._blocked_until:
            blocked = self.blocked_s
            if blocked:
                return blocked
            self._blocked_until = 0.0
        now = self.clock.now()
        wait_ms = 0
        for window in self.windows:
            if window.is_weight:
                amount = weight
                share = 1.0 if orders or urgency is Urgency.CLOSE else self._settings.weight_share
            else:
                amount = orders
                share = 1.0 if urgency is Urgency.CLOSE else self._settings.entry_share
            wait_ms = max(wait_ms, window.wait_ms(now, amount, share))
        return (wait_ms + 1) / 1e3 if wait_ms else 0.0
