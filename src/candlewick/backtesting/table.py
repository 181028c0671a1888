"""The figures of a run as rows of words, for a terminal, a notebook or a page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from candlewick.backtesting.summary import Summary

__all__ = ["as_text", "figures_of", "utc"]


def utc(time: int) -> str:
    """A time (UTC ms) for people."""
    return datetime.fromtimestamp(time / 1e3, UTC).strftime("%Y-%m-%d %H:%M") if time else "-"


def as_text(summary: Summary) -> str:
    """The figures as plain text, a line each, below a line that says what was run."""
    rows = figures_of(summary)
    width = max(len(name) for name, _ in rows)
    head = f"{summary.strategy} on {', '.join(summary.symbols)}, {summary.venue}"
    return "\n".join([head, *(f"{name:<{width}}  {value}" for name, value in rows)])


def figures_of(summary: Summary) -> list[tuple[str, str]]:
    """The figures by name, in the order in which they are read."""
    params = ", ".join(f"{key}={value}" for key, value in summary.params.items())
    rows = [
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
        ("profit", f"{summary.net_profit:+,.2f} ({summary.total_return:+.2%})"),
        ("equity", f"{summary.start_equity:,.2f} -> {summary.final_equity:,.2f}"),
        ("drawdown", f"{summary.max_drawdown:.2%}"),
        ("Sharpe", f"{summary.sharpe:.2f}"),
        ("profit factor", f"{summary.profit_factor:.2f}"),
        ("ended by", summary.ended_by),
        ("time", f"{summary.elapsed_s:.2f} s ({_rate(summary):,.0f} candles/s)"),
    ]
    if summary.failure:
        rows.append(("failure", summary.failure))
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
