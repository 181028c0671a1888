"""How figures read in the report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["Money", "duration", "percent", "ratio", "table", "tone"]


class Money:
    """Formats amounts of one quote currency, with decimals that fit the size of the account."""

    def __init__(self, quote: str, start_equity: float) -> None:
        self.quote = quote
        size = math.floor(math.log10(start_equity)) if start_equity > 0.0 else 0
        self.decimals = min(max(2, 5 - size), 8)

    def __call__(self, value: float, *, signed: bool = False) -> str:
        """The amount, without its currency."""
        # a rounded nothing has no sign
        value = round(value, self.decimals) + 0.0
        return f"{value:{'+' if signed and value else ''},.{self.decimals}f}"


def percent(value: float, *, signed: bool = False) -> str:
    """A fraction in percent."""
    value = round(value, 4) + 0.0
    return f"{value:{'+' if signed and value else ''}.2%}"


def ratio(value: float | None) -> str:
    """A ratio; a dash where it is not defined."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.2f}"


def duration(ms: float) -> str:
    """A time span in its two largest units."""
    minutes = round(ms / 60_000)
    days, hours = minutes // 1_440, minutes % 1_440 // 60
    if days:
        return f"{days:,} d {hours} h" if hours else f"{days:,} d"
    if hours:
        return f"{hours} h {minutes % 60} min" if minutes % 60 else f"{hours} h"
    return f"{minutes} min" if minutes or not ms else f"{ms / 1e3:.0f} s"


def tone(value: float) -> str:
    """The class of a figure that is good, bad or neither."""
    return "good" if value > 0.0 else "bad" if value < 0.0 else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table; cells that begin with ``<td`` are taken as they are, others are escaped."""
    columns = "".join(f"<th>{escape(name)}</th>" for name in head)
    top = f"<thead><tr>{columns}</tr></thead>" if head else ""
    body = "".join(
        "<tr>" + "".join(c if c.startswith("<td") else f"<td>{escape(c)}</td>" for c in row)
        + "</tr>"
        for row in rows
    )  # fmt: skip
    return f'<div class="scroll"><table class="{kind}">{top}<tbody>{body}</tbody></table></div>'
