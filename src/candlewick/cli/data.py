"""``candlewick data``: look at candle files, convert them, make synthetic ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from candlewick.backtesting import utc
from candlewick.cli import options
from candlewick.cli.downloading import download_candles
from candlewick.cli.summary import console_for
from candlewick.data import (
    Entry,
    OnProblem,
    convert,
    describe,
    describe_all,
    load_market,
    write_candles,
)
from candlewick.errors import ConfigError, ExitCode

app = typer.Typer(
    help="Fetch candles, look at files of them, convert or make some.",
    no_args_is_help=True,
    add_completion=False,
)
app.command(name="download")(download_candles)

_SHOWN = 20

Force = Annotated[bool, typer.Option("--force", help="Replace a file that exists.")]


@app.command()
def show(
    paths: Annotated[list[Path], typer.Argument(help="Candle files and folders of them.")],
    json: options.Json = False,
) -> int:
    """Say what candle files hold: symbol, interval, first and last candle, gaps, problems."""
    entries = describe_all(paths)
    _print(entries, json, console_for())
    return ExitCode.BAD_INPUT if any(entry.error for entry in entries) else ExitCode.OK


@app.command(name="convert")
def convert_files(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="SRC... DST", help="Files or folders, then the file to write."),
    ],
    symbol: Annotated[str, typer.Option("--symbol", help="What to pick, or a name.")] = "",
    interval: Annotated[str, typer.Option("--interval", help="Aggregate to it, as 1h.")] = "",
    on_gap: Annotated[
        OnProblem, typer.Option("--on-gap", help="Missing candles: fail, skip or report.")
    ] = OnProblem.REPORT,
    on_problem: Annotated[
        OnProblem, typer.Option("--on-problem", help="Broken rows: fail, skip or report.")
    ] = OnProblem.FAIL,
    force: Force = False,
    json: options.Json = False,
) -> None:
    """Write the candles of one symbol into one file: .parquet, .csv or .csv.gz."""
    if len(paths) < 2:
        raise ConfigError("candlewick data convert needs a source and a destination")
    entry = convert(
        paths[:-1],
        paths[-1],
        symbol=symbol.upper(),
        interval=interval,
        on_problem=on_problem,
        on_gap=on_gap,
        force=force,
    )
    _print([entry], json, console_for())


@app.command()
def synthetic(
    out: Annotated[Path, typer.Argument(help="The file to write; a folder for several symbols.")],
    symbol: options.Symbols = None,
    interval: options.Interval = None,
    candles: options.Candles = None,
    seed: options.Seed = None,
    force: Force = False,
    json: options.Json = False,
) -> None:
    """Write candles of a synthetic market, which is no record of a real one."""
    names = [name.upper() for name in symbol or ["BTCUSDT"]]
    market = load_market(
        [], symbols=names, interval=interval or "1m", candles=candles or 10_000, seed=seed or 0
    )
    if out.suffix:
        if len(names) > 1:
            raise ConfigError(f"{out} is one file; give a folder for {len(names)} symbols")
        files = [out]
    else:
        files = [
            out / f"{name.lower()}-{market.interval}-synthetic-{seed or 0}.csv.gz" for name in names
        ]
    entries = []
    for table, file in zip(market.tables, files, strict=True):
        write_candles(table, file, force=force)
        entries.append(describe(file, table.symbol, table.interval))
    _print(entries, json, console_for(), market.label)


def _print(entries: list[Entry], json: bool, console: Console, label: str = "") -> None:
    if json:
        found = {"files": [entry.as_json() for entry in entries]} | (
            {"source": label} if label else {}
        )
        typer.echo(msgspec.json.encode(found).decode())
        return
    if label:
        console.print(label)
    console.print(_table(entries))
    lines = [str(problem) for entry in entries for problem in entry.problems]
    lines += [entry.error for entry in entries if entry.error]
    for line in lines[:_SHOWN]:
        console.print(f"[yellow]{line}[/]", soft_wrap=True)
    if len(lines) > _SHOWN:
        console.print(f"... and {len(lines) - _SHOWN} more; --json lists all")


def _table(entries: list[Entry]) -> Table:
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for name in ("file", "symbol", "interval", "candles", "first", "last (UTC)", "gaps", "missing"):
        right = name in ("candles", "gaps", "missing")
        table.add_column(name, justify="right" if right else "left", no_wrap=name != "file")
    for entry in entries:
        if entry.error:
            table.add_row(Path(entry.path).name, "[red]cannot be read[/]")
            continue
        table.add_row(
            Path(entry.path).name,
            entry.symbol,
            entry.interval,
            f"{entry.candles:,}",
            utc(entry.first_time),
            utc(entry.last_time),
            f"{entry.gaps:,}",
            f"{entry.missing:,}",
        )
    return table
