"""`Holding`: one position on the simulated exchange and the arithmetic of changing it."""

from __future__ import annotations

from candlewick.models import Instrument, Position, PositionSide

__all__ = ["Holding"]


class Holding:
    """A position that changes: signed quantity, average entry price, isolated margin.

    Quantities stay exact multiples of the step, since each change is put back on the grid.
    """

    __slots__ = (
        "added_margin", "entry_price", "fees", "instrument", "isolated_margin", "opened_time",
        "quantity", "realized", "side", "updated_time",
    )  # fmt: skip

    def __init__(self, instrument: Instrument, side: PositionSide) -> None:
        self.instrument = instrument
        self.side = side
        self.quantity = 0.0
        self.entry_price = 0.0
        self.realized = 0.0
        self.fees = 0.0
        self.isolated_margin = 0.0
        self.added_margin = 0.0  # how much more than the initial margin was set apart
        self.opened_time = 0
        self.updated_time = 0

    def change(self, signed_quantity: float, price: float, time: int) -> float:
        """Book a trade and return the profit it realised, before fees, in quote currency.

        The entry price is the average over what was added; a reduction realises
        ``closed * (price - entry)``; a trade through zero closes and opens at ``price``.
        """
        held = self.quantity
        realized = 0.0
        if held == 0.0:
            after = signed_quantity
            self.entry_price = price
            self.realized = self.fees = 0.0
            self.opened_time = time
        elif signed_quantity == -held:
            after = 0.0
            realized = held * (price - self.entry_price)
        elif (held > 0.0) == (signed_quantity > 0.0):
            after = self.instrument.nearest_quantity(held + signed_quantity)
            self.entry_price = (held * self.entry_price + signed_quantity * price) / (
                held + signed_quantity
            )
        else:
            after = self.instrument.nearest_quantity(held + signed_quantity)
            through_zero = after != 0.0 and (after > 0.0) != (held > 0.0)
            closed = held if through_zero or after == 0.0 else -signed_quantity
            realized = closed * (price - self.entry_price)
            if through_zero:
                self.entry_price = price
                self.opened_time = time
        self.quantity = after
        if after == 0.0:
            self.entry_price = 0.0
        self.realized += realized
        self.updated_time = time
        return realized

    def initial_margin(self, leverage: int) -> float:
        """What the position binds at its entry price, quote currency."""
        return self.notional(self.entry_price) / leverage

    def set_apart(self, leverage: int, before: float) -> None:
        """Set the isolated margin after a trade; ``before`` is the quantity held before it.

        What was added by hand stays with what is left of the position.
        """
        if self.added_margin:
            kept = self.quantity / before if before else 0.0
            self.added_margin *= min(max(kept, 0.0), 1.0)
        self.isolated_margin = self.initial_margin(leverage) + self.added_margin

    def unrealized(self, price: float) -> float:
        """Open profit at ``price``, in quote currency."""
        return self.quantity * (price - self.entry_price)

    def notional(self, price: float) -> float:
        """Absolute value of the position at ``price``, in quote currency."""
        return abs(self.quantity) * price

    def as_position(self, liquidation_price: float = 0.0) -> Position:
        """Return the immutable value of what is held now."""
        return Position(
            self.instrument.symbol,
            self.quantity,
            self.entry_price,
            self.realized,
            self.fees,
            self.opened_time,
            self.updated_time,
            liquidation_price,
            self.side,
        )
