"""`DenialCode`: every reason for which a signal does not become an order."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from candlewick.models import Signal

__all__ = ["Denial", "DenialCode"]


class DenialCode(StrEnum):
    """Why an entry was denied. The value is what stands in the journal; `explanation` says more."""

    CLOSE_PENDING = "close_pending"
    ENGINE_HALTED = "engine_halted"
    ENGINE_STOPPING = "engine_stopping"
    DAILY_LOSS = "daily_loss"
    ENTRY_PENDING = "entry_pending"
    JOURNAL_UNAVAILABLE = "journal_unavailable"
    MAX_LEVERAGE = "max_leverage"
    MAX_OPEN_POSITIONS = "max_open_positions"
    MAX_ORDERS = "max_orders"
    MAX_POSITION = "max_position"
    NO_POSITION = "no_position"
    NO_PRICE = "no_price"
    POSITION_GREW = "position_grew"
    SIZE_INVALID = "size_invalid"
    SIZE_TOO_LARGE = "size_too_large"
    SIZE_TOO_SMALL = "size_too_small"
    STALE_DATA = "stale_data"
    STOP_WRONG_SIDE = "stop_wrong_side"
    TARGET_WRONG_SIDE = "target_wrong_side"
    TRAIL_OUT_OF_RANGE = "trail_out_of_range"
    TRIGGER_PASSED = "trigger_passed"
    UNKNOWN_STATE = "unknown_state"
    UNKNOWN_SYMBOL = "unknown_symbol"
    WITHDRAWN = "withdrawn"

    @property
    def explanation(self) -> str:
        """One sentence for people: what happened and what would help."""
        return _EXPLANATIONS[self]


_EXPLANATIONS = {
    DenialCode.CLOSE_PENDING: "A close of this position is still on its way.",
    DenialCode.ENGINE_HALTED: "The engine is halted after an error; it only closes positions.",
    DenialCode.ENGINE_STOPPING: "A stop has begun; no entry is sent any more.",
    DenialCode.DAILY_LOSS: "The daily loss limit was reached; entries resume the next UTC day.",
    DenialCode.ENTRY_PENDING: "An entry of this symbol is still on its way.",
    DenialCode.JOURNAL_UNAVAILABLE: "The journal cannot be written; an entry would leave no trace.",
    DenialCode.MAX_LEVERAGE: "All positions together would exceed risk.max_leverage.",
    DenialCode.MAX_OPEN_POSITIONS: "risk.max_open_positions symbols are held already.",
    DenialCode.MAX_ORDERS: "risk.max_orders_per_minute orders were sent in the last minute.",
    DenialCode.MAX_POSITION: "The position would exceed risk.max_position.",
    DenialCode.NO_POSITION: "There is no position to close or to move a stop of.",
    DenialCode.NO_PRICE: "No price of this symbol is known yet.",
    DenialCode.POSITION_GREW: "The position has grown since the entry was asked for.",
    DenialCode.SIZE_INVALID: "A size, risk, price or distance is negative, too large or no number.",
    DenialCode.SIZE_TOO_LARGE: "The quantity is above the exchange's maximum for one order.",
    DenialCode.SIZE_TOO_SMALL: "The quantity is below the exchange's minimum after rounding.",
    DenialCode.STALE_DATA: "The market data of this symbol is too old to act on.",
    DenialCode.STOP_WRONG_SIDE: "The stop lies on the profit side of the price.",
    DenialCode.TARGET_WRONG_SIDE: "The target lies on the loss side of the price.",
    DenialCode.TRAIL_OUT_OF_RANGE: "A trail is not from 0.001 to 0.1, or its target has no price.",
    DenialCode.TRIGGER_PASSED: "The price has passed the stop or target; the position is closed.",
    DenialCode.UNKNOWN_STATE: "An order or the position is not known for sure; it is asked for.",
    DenialCode.UNKNOWN_SYMBOL: "The strategy was not started with this symbol.",
    DenialCode.WITHDRAWN: "The order was cancelled before it was sent.",
}


class Denial(msgspec.Struct, frozen=True, gc=False):
    """A signal that was denied, with the figures that broke the rule."""

    code: DenialCode
    signal: Signal
    context: dict[str, float | int | str]

    def __str__(self) -> str:
        figures = " ".join(f"{key}={value}" for key, value in self.context.items())
        return f"{self.signal.symbol} {self.signal.action}: {self.code} {figures}".rstrip()
