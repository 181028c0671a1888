"""`Row`: one measured figure, beside its peer and its target."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["Row"]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table that `make bench` prints.

    ``value`` is ours, in ``unit``; ``peer_value`` is the peer's, in the same unit and from the same
    run, None where the peer is not installed. ``better`` says which way is good.

    A row may have two targets: ``limit``, which bounds ``value`` (from above where lower is better,
    from below where higher is), and ``target_ratio``, the least `ratio` that is good enough.
    """

    area: str
    name: str
    value: float
    unit: str
    peer: str = ""
    peer_value: float | None = None
    better: Literal["higher", "lower"] = "higher"
    target_ratio: float | None = None
    limit: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times better than the peer: 2.0 is twice as good, whichever way is good."""
        if self.peer_value is None:
            return None
        ours, theirs = self.value, self.peer_value
        if self.better == "lower":
            ours, theirs = theirs, ours
        return ours / theirs if theirs else float("inf")

    @property
    def met(self) -> bool | None:
        """Whether all targets are met; None where there is none, or its peer was not measured."""
        found: list[bool] = []
        if self.limit is not None:
            lower = self.better == "lower"
            found.append(self.value <= self.limit if lower else self.value >= self.limit)
        if self.target_ratio is not None and self.ratio is not None:
            found.append(self.ratio >= self.target_ratio)
        return all(found) if found else None
