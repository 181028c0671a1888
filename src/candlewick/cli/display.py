"""What a running system shows: a live panel on a terminal, plain lines in a pipe."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from candlewick.backtesting import utc
from candlewick.cli.streams import lost
from candlewick.live import Status

__all__ = ["show"]

_log = logging.getLogger(__name__)
_PANEL_S = 0.25
_LINE_S = 2.0


async def show(status: Callable[[], Status], console: Console) -> None:
    """Show the status until cancelled, or until nobody can see it any more."""
    if console.is_terminal:
        await _panel(status, console)
    else:
        await _lines(status, console)
    _log.warning("the output has gone (%s); the run goes on", lost(console.file))


async def _panel(status: Callable[[], Status], console: Console) -> None:
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while lost(console.file) is None:
            live.update(panel_of(status()), refresh=True)
            await asyncio.sleep(_PANEL_S)


async def _lines(status: Callable[[], Status], console: Console) -> None:
    while lost(console.file) is None:
        await asyncio.sleep(_LINE_S)
        console.print(line_of(status()), soft_wrap=True)


def line_of(status: Status) -> str:
    """One line for a pipe."""
    held = " ".join(f"{p.symbol} {p.quantity:+g}" for p in status.positions) or "flat"
    journal = "" if status.journal_state in ("ok", "closed") else f" journal {status.journal_state}"
    return (
        f"{utc(status.time)} {status.state} equity {status.equity:,.2f}"
        f" ({status.net_profit:+,.2f}) {held} candles {status.candles:,} orders {status.orders:,}"
        f" fills {status.fills:,} trades {status.trades:,}{journal}"
    )


def panel_of(status: Status, hint: str = "Ctrl+C stops and cleans up") -> Panel:
    """The panel for a terminal; ``hint`` stands in its last line."""
    colour = "green" if status.net_profit >= 0.0 else "red"
    head = Table.grid(padding=(0, 3))
    head.add_row(
        f"[bold]{utc(status.time)}[/] UTC",
        f"equity [bold]{status.equity:,.2f}[/]",
        f"[{colour}]{status.net_profit:+,.2f}[/]",
        f"drawdown {status.max_drawdown:.2%}",
        f"fees {status.fees:,.2f}",
    )
    head.add_row(
        f"{status.candles:,} candles",
        f"{status.signals:,} signals",
        f"{status.orders:,} orders",
        f"{status.fills:,} fills",
        f"{status.trades:,} trades",
    )
    parts: list[Table | Text | ProgressBar] = [head, _positions(status)]
    if status.progress:
        parts.append(ProgressBar(total=1.0, completed=status.progress))
    title = f"{status.strategy} on {status.venue}: {status.state}"
    state = status.journal_state
    shown = state if state in ("ok", "closed") else f"[red]{state.replace('_', ' ')}[/]"
    foot = f"journal {status.journal} ({shown}) - {hint}"
    return Panel(Group(*parts), title=title, subtitle=foot)


def _positions(status: Status) -> Table | Text:
    if not status.positions:
        return Text("flat", style="dim")
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for name in ("symbol", "quantity", "entry", "price", "open profit", "stop"):
        table.add_column(name, justify="left" if name == "symbol" else "right")
    for held in status.positions:
        colour = "green" if held.unrealized >= 0.0 else "red"
        table.add_row(
            held.symbol,
            f"{held.quantity:+g}",
            f"{held.entry_price:,.6g}",
            f"{held.price:,.6g}",
            f"[{colour}]{held.unrealized:+,.2f}[/]",
            f"{held.stop:,.6g}" if held.stop else "[yellow]none[/]",
        )
    return table
