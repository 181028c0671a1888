"""`Books`: what a journal's own records come to, to be held against the exchange's."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

EIGHT = Decimal("0.00000001")  # the digits that the exchange tells
_INPUTS = (
    "candle_closed", "signal_generated", "order_updated", "funding", "stream_changed",
    "timer_fired", "stop_requested", "order_sent",
)  # fmt: skip


def digits(value: float) -> Decimal:
    """A figure as the exchange tells it."""
    return Decimal(repr(value)).quantize(EIGHT)


class Books:
    """Adds up one symbol's records, in their order, over all runs.

    ``booked`` are the trade ids that ``earned``, the profit after fees, is made of. A fill counts
    once the position that it has led to is recorded; a process that is killed before leaves it to
    the next run.
    """

    def __init__(self) -> None:
        self.booked: set[int] = set()
        self.adoptions = 0
        self._profit = Decimal(0)
        self._open = Decimal(0)  # of the position that is held: realised, less fees
        self._pending: list[int] = []

    @property
    def earned(self) -> Decimal:
        return self._profit + self._open

    def take(self, kind: str, data: Any) -> None:
        """Take in one record."""
        if kind == "engine_started":
            self._pending.clear()
        elif kind in ("fill", "account_snapshot") or kind in _INPUTS:
            self._settle()
            fills = data["fills"] if kind == "account_snapshot" else [data]
            if kind in ("fill", "account_snapshot"):
                new = {fill["trade_id"] for fill in fills} - self.booked
                self._pending = sorted(new)
        elif kind in ("position_opened", "position_changed"):
            self._book()
            after = data["after"]
            self._open = digits(after["realized"]) - digits(after["fees"])
        elif kind == "trade_completed":
            self._book()
            self._profit += digits(data["profit"])
            self._open = Decimal(0)

    def _book(self) -> None:
        if self._pending:
            self.booked.add(self._pending.pop(0))
        else:
            self.adoptions += 1

    def _settle(self) -> None:
        """Another event came, so the engine was done with the one before."""
        self.booked.update(self._pending)
        self._pending.clear()
