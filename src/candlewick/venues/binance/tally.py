"""`Tally`: what arrived, what was not understood, what happened to the connections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import msgspec

__all__ = ["UNREADABLE", "Malformed", "OnMalformed", "PublishError", "Tally"]

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding raises: no JSON, another type, no UTF-8, or brackets within brackets for ever."""

_KINDS = 100  # kinds of unknown messages that are told apart
_SHOWN = 1_000  # characters of a message that are shown


class Malformed(msgspec.Struct, frozen=True, gc=False):
    """A message that could not be understood: where it came from, why, and how it begins."""

    source: str
    error: str
    text: str


class PublishError(RuntimeError):
    """An event could not be published: it is lost, and the system must stop."""


OnMalformed = Callable[[Malformed], None]


class Tally:
    """Counts. ``messages`` and ``unknown`` by kind, ``malformed`` by source, ``events`` by name."""

    def __init__(
        self, on_malformed: OnMalformed | None = None, redact: Callable[[str], str] = str
    ) -> None:
        self.messages: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self.malformed: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self.on_malformed = on_malformed
        self._redact = redact

    def saw_unknown(self, kind: object) -> None:
        """A message of a kind that is not known: counted, not an error."""
        name = str(kind)[:50]
        if name not in self.unknown and len(self.unknown) >= _KINDS:
            name = "other"
        self.unknown[name] += 1

    def saw_malformed(self, source: str, error: BaseException | str, text: bytes | str) -> None:
        """A message that cannot be understood: counted, and told."""
        self.malformed[source] += 1
        if self.on_malformed is None:
            return
        shown = text[:_SHOWN]
        if isinstance(shown, bytes | bytearray):
            shown = bytes(shown).decode("utf-8", "replace")
        self.on_malformed(Malformed(source, self._redact(str(error)[:_SHOWN]), self._redact(shown)))

    def as_dict(self) -> dict[str, dict[str, int]]:
        """All counts, for the status page and metrics."""
        return {
            "messages": dict(self.messages),
            "unknown": dict(self.unknown),
            "malformed": dict(self.malformed),
            "events": dict(self.events),
        }
