"""The exceptions that Candlewick raises: one small tree, each message says what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import IntEnum

__all__ = [
    "CandlewickError",
    "ConfigError",
    "DataError",
    "ExitCode",
    "JournalError",
    "StrategyError",
    "UnverifiedError",
    "ValidationError",
    "VenueError",
    "nearest",
    "repr_of",
]


class ExitCode(IntEnum):
    """How a command ends; 0 is only returned for what has been verified."""

    OK = 0
    UNEXPECTED = 1
    BAD_INPUT = 2
    STRATEGY_FAILED = 3
    JOURNAL_UNTRUSTED = 4
    VENUE_REFUSED = 5
    ACCOUNT_UNVERIFIED = 6
    NOT_RUNNING = 7
    INTERRUPTED = 130


class CandlewickError(Exception):
    """Root of all errors that Candlewick raises on purpose."""


class ValidationError(CandlewickError, ValueError):
    """A value that cannot exist: a high below the close, a negative volume, NaN."""


class ConfigError(CandlewickError, ValueError):
    """A configuration or command-line value that cannot be used."""


class DataError(CandlewickError, ValueError):
    """A market-data file or stream that is broken; names file, line and reason."""


class StrategyError(CandlewickError):
    """A strategy that cannot be loaded, or that raised while it ran."""


class JournalError(CandlewickError):
    """The audit journal cannot be opened, written or trusted."""


class UnverifiedError(CandlewickError):
    """The account could not be verified; names what is left."""


class VenueError(CandlewickError):
    """The exchange refused something that trading needs.

    Args:
        message: what was refused, and what to do.
        code: the exchange's own code, 0 where it has none.
    """

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


def nearest(word: str, known: Iterable[str], cutoff: float = 0.5) -> str:
    """Return a hint such as ``; did you mean 'fast'?``, or an empty string when nothing is near.

    ``cutoff`` is the least likeness, from 0.0 to 1.0.
    """
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return f"; did you mean {close[0]!r}?" if close else ""


def repr_of(error: BaseException) -> str:
    """Return ``repr(error)``; the code of other people's errors may raise on that in its turn."""
    try:
        return repr(error)
    except Exception as another:  # noqa: BLE001 - what follows from the error matters the more
        return f"{type(error).__name__} (whose repr raised {type(another).__name__})"
