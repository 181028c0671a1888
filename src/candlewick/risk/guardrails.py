"""`Guardrails`: the limits that need memory: orders a minute and the loss of the UTC day."""

from __future__ import annotations

from collections import deque

from candlewick.risk.settings import RiskSettings

__all__ = ["Guardrails"]

_MINUTE_MS = 60_000
_DAY_MS = 86_400_000


class Guardrails:
    """Counts orders over the last minute and watches the day's equity.

    ``halt_below`` is the equity at which trading halts; the engine compares it at each candle.
    """

    __slots__ = ("_sent", "day_end", "day_start_equity", "halt_below", "halted", "settings")

    def __init__(self, settings: RiskSettings) -> None:
        self.settings = settings
        self.day_end = 0
        self.day_start_equity = 0.0
        self.halt_below = float("-inf")
        self.halted = False
        self._sent: deque[int] = deque(maxlen=max(settings.max_orders_per_minute, 1))

    def new_day(self, now: int, equity: float) -> None:
        """Start the UTC day that holds ``now``: the loss counts from this equity on."""
        self.day_end = (now // _DAY_MS + 1) * _DAY_MS
        self.resume_day(equity)

    def resume_day(self, day_start_equity: float) -> None:
        """Count the present day's loss from this equity, as after a restart."""
        self.day_start_equity = day_start_equity
        self.halted = False
        if self.settings.daily_loss:
            self.halt_below = day_start_equity * (1.0 - self.settings.daily_loss)

    def orders_in_minute(self, now: int) -> int:
        """Number of orders sent in the minute before ``now``."""
        sent = self._sent
        while sent and sent[0] <= now - _MINUTE_MS:
            sent.popleft()
        return len(sent)

    def may_send(self, now: int) -> bool:
        """False when one more order would break the limit."""
        limit = self.settings.max_orders_per_minute
        return not limit or self.orders_in_minute(now) < limit

    def sent(self, now: int) -> None:
        """Count one order."""
        self._sent.append(now)
