"""How a summary looks on a terminal."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from candlewick.backtesting import Summary, figures_of

__all__ = ["console_for", "print_summary"]

_PIPE_WIDTH = 200


def console_for(*, stderr: bool = False) -> Console:
    """A console as wide as the terminal; in a pipe wide enough that no path is broken."""
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    return console


def print_summary(
    summary: Summary, label: str, console: Console, report: Path | None = None
) -> None:
    """Print the figures of a run as a table of two columns, and where its report is."""
    rows = [("data", label), *figures_of(summary)]
    if report is not None:
        rows.append(("report", str(report)))
    console.print()
    console.print(
        f"[bold]{escape(summary.strategy)}[/] on {', '.join(summary.symbols)}, {summary.venue}"
    )
    if not console.is_terminal:
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            console.print(Text(f"{name:<{width}}  {value}"), soft_wrap=True)
        return
    colours = {"profit": "green" if summary.net_profit >= 0.0 else "red", "failure": "red"}
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, Text(value, style=colours.get(name, "")))
    console.print(table)
