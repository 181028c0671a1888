"""`Ledger`: the engine's own books of one symbol, from fills and funding, each counted once."""

from __future__ import annotations

from collections.abc import Iterable

from candlewick.engine.decisions import Trade
from candlewick.models import Fill, Instrument, Position

__all__ = ["Ledger"]

_REMEMBERED = 20_000


class Ledger:
    """Position, realised profit, fees and funding of one symbol.

    A fill is known by its trade id: booked twice, it counts once.
    """

    __slots__ = (
        "_closed_notional", "_closed_quantity", "_entry_reason", "_forgotten", "_funding",
        "_largest", "_opened_notional", "_opened_quantity", "_seen", "adopted_until", "fees",
        "funding", "instrument", "position", "realized",
    )  # fmt: skip

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.position = Position(instrument.symbol)
        self.realized = 0.0
        self.fees = 0.0
        self.funding = 0.0
        self.adopted_until = 0  # the position has all trades up to this time, UTC ms
        self._seen: set[int] = set()
        self._forgotten = -1  # trade ids up to this one count as seen
        self._start_trade()

    def _start_trade(self) -> None:
        self._largest = 0.0
        self._opened_quantity = 0.0
        self._opened_notional = 0.0
        self._closed_quantity = 0.0
        self._closed_notional = 0.0
        self._funding = 0.0
        self._entry_reason = ""

    def has_seen(self, trade_id: int) -> bool:
        """True when the fill with this trade id has been booked."""
        return trade_id in self._seen or trade_id <= self._forgotten

    def remember(self, trade_ids: Iterable[int]) -> None:
        """Count these trades as booked."""
        for trade_id in trade_ids:
            self._remember(trade_id)

    def _remember(self, trade_id: int) -> None:
        """Remember a trade id. They grow with time, so the oldest are kept as one number."""
        self._seen.add(trade_id)
        if len(self._seen) > _REMEMBERED:
            oldest = sorted(self._seen)[: _REMEMBERED // 2]
            self._forgotten = oldest[-1]
            self._seen.difference_update(oldest)

    def fee_of(self, fill: Fill) -> float:
        """What a fill takes from the wallet, quote currency: nothing where it was paid in another
        asset, as BNB, whose amount says nothing about this one.
        """
        return fill.fee if fill.fee_asset == self.instrument.quote else 0.0

    def book_fill(self, fill: Fill, reason: str = "") -> Trade | None:
        """Book a fill that has not been seen; return the trade that it completed, if any.

        A fill through zero completes one trade and opens the next; its fee is split by quantity.
        """
        self._remember(fill.trade_id)
        fee = self.fee_of(fill)
        self.fees += fee
        signed = fill.side.sign * fill.quantity
        held = self.position.quantity
        if held == 0.0 or (held > 0.0) == (signed > 0.0):
            self._open(fill, signed, fee, reason)
            return None
        if signed == -held:
            return self._close(fill, fill.quantity, fee, reason)
        closing = min(abs(signed), abs(held))
        share = closing / abs(signed)
        trade = self._close(fill, closing, fee * share, reason)
        if abs(signed) > closing:
            rest = self.instrument.nearest_quantity(abs(signed) - closing)
            self._open(fill, fill.side.sign * rest, fee * (1.0 - share), reason)
        return trade

    def book_funding(self, amount: float) -> None:
        """Book a funding payment: positive was received."""
        self.funding += amount
        self._funding += amount

    def note_late(self, fill: Fill) -> None:
        """Count a fill that the position was adopted with: its fee, and that it was seen."""
        self._remember(fill.trade_id)
        self.fees += self.fee_of(fill)

    def adopt(self, position: Position, until: int = 0) -> None:
        """Take over the exchange's position where it differs from what the fills say.

        ``until`` (UTC ms) is the time up to which all trades are in it, told or not.
        """
        self.adopted_until = max(self.adopted_until, until)
        self._start_trade()
        self.position = position
        if not position.is_flat:
            self._opened_quantity = abs(position.quantity)
            self._opened_notional = abs(position.quantity) * position.entry_price
            self._largest = position.quantity

    def _open(self, fill: Fill, signed: float, fee: float, reason: str) -> None:
        before = self.position
        if not before.quantity:
            self._entry_reason = reason
        after = (
            self.instrument.nearest_quantity(before.quantity + signed)
            if before.quantity
            else signed
        )
        cost = before.quantity * before.entry_price + signed * fill.price
        self.position = Position(
            fill.symbol, after, cost / (before.quantity + signed), before.realized,
            before.fees + fee, before.opened_time or fill.time, fill.time,
        )  # fmt: skip
        self._opened_quantity += abs(signed)
        self._opened_notional += abs(signed) * fill.price
        if abs(after) > abs(self._largest):
            self._largest = after

    def _close(self, fill: Fill, quantity: float, fee: float, reason: str) -> Trade | None:
        before = self.position
        direction = 1.0 if before.quantity > 0.0 else -1.0
        realized = direction * quantity * (fill.price - before.entry_price)
        self.realized += realized
        self._closed_quantity += quantity
        self._closed_notional += quantity * fill.price
        after = 0.0
        if quantity != abs(before.quantity):
            after = self.instrument.nearest_quantity(before.quantity - direction * quantity)
        realized += before.realized
        fees = before.fees + fee
        if after != 0.0:
            self.position = Position(
                fill.symbol, after, before.entry_price, realized, fees, before.opened_time,
                fill.time,
            )  # fmt: skip
            return None
        trade = Trade(
            fill.symbol, self._largest, self._opened_notional / self._opened_quantity,
            self._closed_notional / self._closed_quantity, before.opened_time, fill.time,
            realized - fees + self._funding, fees, self._funding, reason,
            self._entry_reason,
        )  # fmt: skip
        self.position = Position(fill.symbol, updated_time=fill.time)
        self._start_trade()
        return trade
