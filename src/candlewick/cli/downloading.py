"""``candlewick data download``: candles of the past into a folder that every command can read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from candlewick.backtesting import utc
from candlewick.cli import options
from candlewick.cli.summary import console_for
from candlewick.data.archive import ARCHIVE_URL, parse_day
from candlewick.data.download import Downloaded, download
from candlewick.data.fetching import ArchiveSettings
from candlewick.data.filling import Step
from candlewick.data.parquet_file import check_parquet
from candlewick.data.shelf import Shelf
from candlewick.errors import ConfigError, nearest
from candlewick.live.loop import run_async
from candlewick.models import INTERVAL_MS, utc_now_ms
from candlewick.venues.binance import BinanceSettings, candle_source

__all__ = ["download_candles"]

_SYMBOL = re.compile(r"^[A-Z0-9]{2,20}$")
_USUAL_DAYS = 30
_MOST_PATIENT_S = 900.0
_SHOWN = 20


def download_candles(
    what: Annotated[
        list[str], typer.Argument(metavar="SYMBOL... INTERVAL", help="As BTCUSDT ETHUSDT 1m.")
    ],
    first: Annotated[
        str, typer.Option("--from", help="First day, UTC: 2024-01-31 or 2024-01; none: 30 days.")
    ] = "",
    last: Annotated[
        str, typer.Option("--to", help="Last day, included: 2024-02-29 or 2024-02; none: today.")
    ] = "",
    directory: Annotated[
        Path, typer.Option("--directory", "--out", "-o", help="Folder for the candle files.")
    ] = Path("candles"),
    kind: Annotated[
        Literal["parquet", "csv"], typer.Option("--format", help="parquet, or csv (gzipped).")
    ] = "parquet",
    archive: Annotated[
        str, typer.Option("--archive", help="Address of the archive of candles.")
    ] = ARCHIVE_URL,
    rest: Annotated[
        str, typer.Option("--rest", help="REST address, for what the archive does not have.")
    ] = BinanceSettings().rest_url,
    json: options.Json = False,
) -> None:
    """Fetch candles of the exchange: from its archive, and over REST what is not there yet.

    Run it again to go on where it was interrupted, or to bring the folder up to date.
    """
    symbols, interval = _parse(what)
    now_ms = utc_now_ms()
    today = datetime.fromtimestamp(now_ms / 1e3, UTC).date()
    end = parse_day(last, is_end=True) if last else today
    begin = parse_day(first) if first else min(end, today) - timedelta(days=_USUAL_DAYS)
    if begin > today:
        raise ConfigError(f"--from {begin} is in the future; today is {today} (UTC)")
    if begin > end:
        raise ConfigError(f"--from {begin} is after --to {end}")
    if kind == "parquet":
        check_parquet("--format csv writes .csv.gz without it")
    settings = BinanceSettings(rest_url=rest.rstrip("/"), max_wait_s=_MOST_PATIENT_S)
    shelf = Shelf(directory, ".parquet" if kind == "parquet" else ".csv.gz")
    console = console_for(stderr=True)
    with _shown(console) as on_step:
        found = run_async(
            download(
                symbols, interval, begin, end, shelf, archive=ArchiveSettings(url=archive),
                listing=lambda: candle_source(settings), now_ms=now_ms, on_step=on_step,
            )
        )  # fmt: skip
    _print(found, directory, json=json)


def _parse(what: list[str]) -> tuple[list[str], str]:
    """Symbols and the interval behind them."""
    *names, interval = what
    if interval not in INTERVAL_MS:
        raise ConfigError(
            f"the last argument {interval!r} must be an interval{nearest(interval, INTERVAL_MS)}"
            f" (known: {', '.join(INTERVAL_MS)})"
        )
    symbols = list(dict.fromkeys(name.upper() for name in names))
    if not symbols:
        raise ConfigError(f"name a symbol before the interval: BTCUSDT {interval}")
    for symbol in symbols:
        if not _SYMBOL.match(symbol):
            raise ConfigError(f"{symbol!r} is not the symbol of a perpetual contract, as BTCUSDT")
    return symbols, interval


@contextmanager
def _shown(console: Console) -> Iterator[Callable[[Step], None]]:
    """A bar on a terminal; in a pipe nothing but the result."""
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("candles", total=None)

        def on_step(step: Step) -> None:
            bar.update(
                task, total=step.total, completed=step.done, description=f"{step.name} {step.how}"
            )

        yield on_step


def _print(found: list[Downloaded], directory: Path, *, json: bool) -> None:
    if json:
        result = {"directory": str(directory), "symbols": [one.as_json() for one in found]}
        typer.echo(msgspec.json.encode(result).decode())
        return
    console = console_for()
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for name in ("candles of", "number", "first", "last (UTC)", "missing"):
        right = name in ("number", "missing")
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    for one in found:
        table.add_row(
            f"{one.symbol} {one.interval}", f"{one.candles:,}", utc(one.first_time),
            utc(one.last_time), f"{one.missing:,}",
        )  # fmt: skip
    console.print(table)
    fetched, asked, kept = (
        sum(getattr(one, name) for one in found) for name in ("fetched", "asked", "kept")
    )
    console.print(
        f"files: {fetched} from the archive, {asked} over REST, {kept} that were there already"
    )
    problems = [str(problem) for one in found for problem in one.problems]
    for line in problems[:_SHOWN]:
        console.print(f"[yellow]{line}[/]", soft_wrap=True)
    if len(problems) > _SHOWN:
        console.print(f"... and {len(problems) - _SHOWN} more; --json lists all")
    console.print(f"candlewick backtest --data {directory}", soft_wrap=True)
