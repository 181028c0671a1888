"""How a summary looks on a terminal."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from candlewick.backtesting import Summary

__all__ = ["console_for", "print_summary", "utc"]

_PIPE_WIDTH = 200


def console_for(*, stderr: bool = False) -> Console:
    """A console as wide as the terminal; in a pipe wide enough that no path is broken."""
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    return console


def utc(time: int) -> str:
    """A time (UTC ms) for people."""
    return datetime.fromtimestamp(time / 1e3, UTC).strftime("%Y-%m-%d %H:%M") if time else "-"


def print_summary(summary: Summary, label: str, console: Console) -> None:
    """Print the figures of a run as a table of two columns."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in _rows(summary, label):
        table.add_row(name, value)
    console.print()
    console.print(f"[bold]{summary.strategy}[/] on {', '.join(summary.symbols)}, {summary.venue}")
    console.print(table)


def _rows(summary: Summary, label: str) -> list[tuple[str, str]]:
    colour = "green" if summary.net_profit >= 0.0 else "red"
    params = ", ".join(f"{key}={value}" for key, value in summary.params.items())
    rows = [
        ("data", label),
        ("period", f"{utc(summary.first_time)} to {utc(summary.last_time)} UTC"),
        ("parameters", params or "-"),
        ("candles", f"{summary.candles:,} of {summary.interval}{_missing(summary)}"),
        ("signals", f"{summary.signals:,}{_denials(summary)}"),
        ("orders", f"{summary.orders:,}{_rejections(summary)}"),
        ("fills", f"{summary.fills:,}"),
        ("trades", f"{summary.trades:,}, {summary.win_rate:.1%} won"),
        ("fees", f"{summary.fees:,.2f}"),
    ]
    if summary.funding:
        rows.append(("funding", f"{summary.funding:+,.2f}"))
    rows += [
        ("profit", f"[{colour}]{summary.net_profit:+,.2f} ({summary.total_return:+.2%})[/]"),
        ("equity", f"{summary.start_equity:,.2f} -> {summary.final_equity:,.2f}"),
        ("drawdown", f"{summary.max_drawdown:.2%}"),
        ("Sharpe", f"{summary.sharpe:.2f}"),
        ("profit factor", f"{summary.profit_factor:.2f}"),
        ("ended by", summary.ended_by),
        ("time", f"{summary.elapsed_s:.2f} s ({_rate(summary):,.0f} candles/s)"),
    ]
    if summary.failure:
        rows.append(("failure", f"[red]{summary.failure}[/]"))
    if summary.journal:
        rows.append(("journal", summary.journal))
    return rows


def _rate(summary: Summary) -> float:
    return summary.candles / summary.elapsed_s if summary.elapsed_s else 0.0


def _missing(summary: Summary) -> str:
    return f", {summary.missing_candles} missing" if summary.missing_candles else ""


def _rejections(summary: Summary) -> str:
    return f", {summary.rejections} rejected" if summary.rejections else ""


def _denials(summary: Summary) -> str:
    if not summary.denials:
        return ""
    return ", denied: " + ", ".join(f"{count} {code}" for code, count in summary.denials.items())
