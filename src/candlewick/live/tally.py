"""`Tally`: the figures of a run as they come, in bounded memory however long it runs."""

from __future__ import annotations

from collections import Counter

from candlewick.backtesting import Summary
from candlewick.backtesting.summary import sharpe_of_daily
from candlewick.engine import Alarm, Decision, Submit, Trade
from candlewick.live.story import Story
from candlewick.models import Event, EventKind, OrderStatus
from candlewick.risk import Denial

__all__ = ["Tally"]

_DAY_MS = 86_400_000
# looked up once: Python 3.11 takes long to find a member in its enum, and this runs on every order
_SIGNAL_GENERATED = EventKind.SIGNAL_GENERATED
_ORDER_UPDATED = EventKind.ORDER_UPDATED
_FUNDING_PAID = EventKind.FUNDING_PAID


class Tally:
    """Counts inputs and decisions, and follows the equity; ``story`` keeps the latest of them."""

    def __init__(self, start_equity: float) -> None:
        self.story = Story()
        self.start_equity = start_equity
        self.peak = start_equity
        self.max_drawdown = 0.0
        self.candles = self.signals = self.orders = self.fills = self.trades = 0
        self.rejections = 0
        self.rejection_codes: Counter[str] = Counter()
        self.denials: Counter[str] = Counter()
        self.alarms: Counter[str] = Counter()
        self.withheld: Counter[str] = Counter()  # orders not sent, by denial code
        self.fees = 0.0
        self.funding = 0.0
        self.won = 0
        self.gained = 0.0
        self.lost = 0.0
        self.last_trade: Trade | None = None
        self.first_time = 0
        self.last_time = 0
        self._daily: list[float] = []
        self._day = -1
        self._last = start_equity  # of the last candle; the end of the run may replace it

    def begin(self, equity: float) -> None:
        """Take the equity at the start, where it was not known before the exchange was asked."""
        if not self.start_equity:
            self.start_equity = self.peak = self._last = equity

    def input(self, event: Event) -> None:
        """Count an event that the engine takes."""
        self.story.input(event)
        payload, kind = event.payload, event.kind
        if kind is _SIGNAL_GENERATED:
            self.signals += 1
        elif kind is _ORDER_UPDATED:
            if payload.status is OrderStatus.REJECTED:
                self.rejections += 1
                self.rejection_codes[str(payload.code or "local")] += 1
        elif kind is _FUNDING_PAID:
            self.funding += payload.amount

    def booked(self, fills: int, fees: float) -> None:
        """Take what the engine has booked, from the stream and from the account."""
        self.fills, self.fees = fills, fees

    def decision(self, decision: Decision) -> None:
        """Count a decision."""
        self.story.decision(decision)
        if isinstance(decision, Submit):
            self.orders += 1
        elif isinstance(decision, Denial):
            self.denials[decision.code] += 1
        elif isinstance(decision, Alarm):
            self.alarms[decision.kind] += 1
        elif isinstance(decision, Trade):
            self.trades += 1
            self.last_trade = decision
            self.won += decision.profit > 0.0
            if decision.profit > 0.0:
                self.gained += decision.profit
            else:
                self.lost -= decision.profit

    def candle(self, close_time: int, equity: float) -> None:
        """Take the equity after a base candle; those that close together are one moment."""
        self.candles += 1
        self.story.candle(close_time, equity)
        self.first_time = self.first_time or close_time
        if close_time != self.last_time:
            self._follow(self._last)
            self.last_time = close_time
        day = close_time // _DAY_MS
        if day != self._day:
            self._day = day
            self._daily.append(equity)
        self.mark(equity)

    def mark(self, equity: float) -> None:
        """Replace the equity of the last candle."""
        self._last = equity
        if self._daily:
            self._daily[-1] = equity

    def _follow(self, equity: float) -> None:
        if equity > self.peak:
            self.peak = equity
        elif self.peak > 0.0:
            self.max_drawdown = max(self.max_drawdown, (self.peak - equity) / self.peak)

    def summary(self, base: Summary, final_equity: float) -> Summary:
        """Return ``base`` with the figures filled in; ``final_equity`` ends the curve."""
        self.mark(final_equity)
        self._follow(final_equity)
        figures = {name: getattr(base, name) for name in Summary.__struct_fields__} | {
            "candles": self.candles,
            "signals": self.signals,
            "orders": self.orders,
            "fills": self.fills,
            "trades": self.trades,
            "rejections": self.rejections,
            "denials": dict(sorted(self.denials.items())),
            "start_equity": self.start_equity,
            "final_equity": final_equity,
            "net_profit": final_equity - self.start_equity,
            "total_return": final_equity / self.start_equity - 1.0 if self.start_equity else 0.0,
            "fees": self.fees,
            "funding": self.funding,
            "max_drawdown": self.max_drawdown,
            "sharpe": sharpe_of_daily(self._daily),
            "win_rate": self.won / self.trades if self.trades else 0.0,
            "profit_factor": self.gained / self.lost if self.lost > 0.0 else 0.0,
            "first_time": self.first_time,
            "last_time": self.last_time,
        }
        return Summary(**figures)
