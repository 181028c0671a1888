"""Request weights and order counts, in the windows of the wall clock, with their headers."""

from __future__ import annotations

from collections.abc import Callable

from candlewick.sandbox.settings import Limits
from candlewick.sandbox.wire import ApiError

__all__ = ["OrderCounts", "Throttled", "Weights"]


class Throttled(ApiError):
    """A refusal that says when to come back."""

    def __init__(self, code: int, message: str, status: int, retry_after_s: int) -> None:
        super().__init__(code, message, status)
        self.retry_after_s = retry_after_s


class _Window:
    """A count that starts anew in each window."""

    __slots__ = ("count", "length_s", "number")

    def __init__(self, length_s: int) -> None:
        self.length_s = length_s
        self.number = -1
        self.count = 0

    def add(self, amount: int, now_s: float) -> int:
        """Count, and return what the window holds then."""
        number = int(now_s // self.length_s)
        if number != self.number:
            self.number, self.count = number, 0
        self.count += amount
        return self.count

    def left_s(self, now_s: float) -> int:
        """Whole seconds until the window ends."""
        return int(self.length_s - now_s % self.length_s) + 1


class _Address:
    __slots__ = ("banned_until", "strikes", "window")

    def __init__(self) -> None:
        self.window = _Window(60)
        self.strikes = 0
        self.banned_until = 0.0


class Weights:
    """The weight that each address has used."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._addresses: dict[str, _Address] = {}

    def use(self, address: str, weight: int) -> int:
        """Count a request; returns the weight used in this minute, or raises `Throttled`."""
        now = self._clock()
        known = self._addresses.get(address)
        if known is None:
            known = self._addresses[address] = _Address()
        if known.banned_until > now:
            raise self._banned(known, now)
        used = known.window.add(weight, now)
        limit = self._limits.weight
        if not limit or used <= limit:
            known.strikes = 0
            return used
        known.strikes += 1
        if known.strikes > self._limits.strikes:
            known.banned_until = now + self._limits.ban_s
            raise self._banned(known, now)
        message = ApiError(-1003, limit=limit).message
        raise Throttled(-1003, message, 429, known.window.left_s(now))

    @staticmethod
    def _banned(address: _Address, now: float) -> Throttled:
        until = round(address.banned_until * 1e3)
        return Throttled(
            -1003, f"Way too many requests; IP banned until {until}.", 418,
            max(1, int(address.banned_until - now)),
        )  # fmt: skip


class OrderCounts:
    """The orders that one account has sent."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._short = _Window(10)
        self._long = _Window(60)

    def use(self, orders: int = 1) -> None:
        """Count orders; raises `Throttled` beyond a limit."""
        now = self._clock()
        spans = (
            (self._short, self._limits.orders_10s, "10 SECOND"),
            (self._long, self._limits.orders_1m, "1 MINUTE"),
        )
        counts = [(window.add(orders, now), limit, span) for window, limit, span in spans]
        for (count, limit, span), (window, _, _) in zip(counts, spans, strict=True):
            if limit and count > limit:
                message = ApiError(-1015, limit=limit, span=span).message
                raise Throttled(-1015, message, 429, window.left_s(now))

    def used(self) -> tuple[int, int]:
        """What the present 10 seconds and the present minute hold."""
        now = self._clock()
        return self._short.add(0, now), self._long.add(0, now)
