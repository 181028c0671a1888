"""The report of a backtest: one HTML file that opens offline and is the same for the same run."""

from __future__ import annotations

import os
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from candlewick.__about__ import __version__
from candlewick.backtesting.performance import performance
from candlewick.backtesting.report import sections
from candlewick.backtesting.report.words import Money
from candlewick.backtesting.table import utc
from candlewick.backtesting.trade_figures import trade_figures
from candlewick.errors import ConfigError

if TYPE_CHECKING:
    from candlewick.backtesting.api import Result

__all__ = ["check_path", "report_html", "write_report"]


def check_path(path: str | Path) -> Path:
    """Return ``path`` if a report can be written there; raises ConfigError otherwise."""
    file = Path(path)
    folder = file.absolute().parent
    if file.is_dir():
        raise ConfigError(f"report {str(file)!r} is a folder; name a file in it, as report.html")
    if not folder.is_dir():
        raise ConfigError(
            f"report {str(file)!r}: there is no folder {str(folder)!r}; make it first"
        )
    if not os.access(folder, os.W_OK):
        raise ConfigError(f"report {str(file)!r}: the folder {str(folder)!r} cannot be written to")
    return file


def write_report(result: Result, path: str | Path) -> Path:
    """Write the report of a result, in one step: a reader sees the old file or the new one.

    Raises ConfigError for a path that cannot be written to.
    """
    file = check_path(path)
    made = file.with_name(f".{file.name}.new")
    try:
        made.write_text(report_html(result), encoding="utf-8")
        made.replace(file)
    except OSError as error:
        made.unlink(missing_ok=True)
        raise ConfigError(f"report {str(file)!r} cannot be written: {error.strerror}") from error
    return file


def report_html(result: Result) -> str:
    """The whole page. It holds no time of its own making, so the same run gives the same bytes."""
    quote = next(iter(result.market.instruments.values())).quote
    money = Money(quote, result.start_equity)
    figures = performance(
        result.equity_times, result.equity_curve, result.start_equity, result.max_drawdown
    )
    made = trade_figures(result.trade_list, result.first_time, result.last_time)
    style, script = (_packaged(f"page.{kind}") for kind in ("css", "js"))
    title = escape(f"{result.strategy} on {', '.join(result.symbols)}")
    body = "".join(
        (
            _head(result, money),
            sections.warnings(result),
            sections.tiles(result, money, figures, made),
            sections.curves(result, money),
            sections.prices(result),
            sections.months(result),
            sections.trades(result, money, made),
            sections.costs(result, money),
            sections.trade_table(result, money),
            sections.settings(result),
        )
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{style}</style></head><body>{body}"
        f"<footer>Candlewick {__version__}. A backtest is no promise.</footer>"
        f"<script>{script}</script></body></html>\n"
    )


def _head(result: Result, money: Money) -> str:
    symbols = ", ".join(result.symbols[:6]) + (", ..." if len(result.symbols) > 6 else "")
    return (
        f"<header><div><h1>{escape(result.strategy)}</h1><p>{escape(symbols)},"
        f" {result.interval} · {utc(result.first_time)} to {utc(result.last_time)}"
        f" UTC · {result.candles:,} candles · {escape(result.market.label)} ·"
        f" {escape(money.quote)}</p></div>"
        '<button id="theme" title="light or dark" aria-label="light or dark">◐</button></header>'
    )


def _packaged(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
