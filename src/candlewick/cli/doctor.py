"""``candlewick doctor``: what would fail, before it does."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from candlewick.cli import options
from candlewick.cli.checks import Check, Level, exchange_checks, machine_checks
from candlewick.cli.checks.check import ok, problem
from candlewick.cli.summary import console_for
from candlewick.cli.venues import check_venue, keys_of, server_of
from candlewick.config import Config
from candlewick.errors import ConfigError, ExitCode
from candlewick.live.loop import run_async
from candlewick.logs import hide, redacted
from candlewick.models import interval_ms
from candlewick.venues.binance import ApiKeys, BinanceSettings

app = typer.Typer(add_completion=False)

_STYLES = {
    Level.OK: "[green]ok[/]",
    Level.WARNING: "[yellow]warning[/]",
    Level.PROBLEM: "[red]problem[/]",
    Level.SKIPPED: "[dim]-[/]",
}
_DEFAULT_SYMBOL = "BTCUSDT"

Tell = Callable[[Check], None]


@app.command()
def doctor(
    config: options.ConfigFile = None,
    venue: Annotated[str | None, typer.Option("--venue", help="Where orders would go.")] = None,
    rest: Annotated[str | None, typer.Option("--rest", help="REST address of a server.")] = None,
    ws: Annotated[str | None, typer.Option("--ws", help="WebSocket address of it.")] = None,
    symbol: options.Symbols = None,
    interval: options.Interval = None,
    journal: Annotated[
        Path | None, typer.Option("--journal", "-j", help="Directory of the audit journal.")
    ] = None,
    patience: Annotated[
        float, typer.Option("--patience", min=0.1, help="Seconds a stream may be silent.")
    ] = 10.0,
    json: options.Json = False,
) -> int:
    """Look at everything a run would need, and say what to do about what is not well.

    Nothing is changed and nothing is ordered.

    Exit code 0: no problem; 5: one with the exchange; 2: one on this machine.
    """
    report = _Report(console_for(), quiet=json)
    settings = _settings(
        report.add, config, run_venue=venue, run_rest=rest, run_ws=ws, data_symbols=symbol,
        data_interval=interval, journal_directory=None if journal is None else str(journal),
    )  # fmt: skip
    for check in machine_checks(settings, os.environ):
        report.add(check)
    of_machine = report.problems
    if settings.run.venue != "simulated":
        run_async(_ask(settings, patience, report.add))
    report.end()
    if report.problems > of_machine:
        return ExitCode.VENUE_REFUSED
    return ExitCode.BAD_INPUT if report.problems else ExitCode.OK


def _settings(tell: Tell, config_file: Path | None, **overrides: Any) -> Config:
    """The configuration as far as it can be read; what is wrong with it is a problem."""
    name = "configuration"
    try:
        settings = options.combine(config_file, **overrides)
        check_venue(settings, real_money=True)
    except ConfigError as error:
        tell(problem(name, str(error), "correct it; everything below is about the defaults"))
        return Config()
    tell(ok(name, f"{config_file or 'the defaults'}, venue {settings.run.venue}"))
    return settings


async def _ask(config: Config, patience_s: float, tell: Tell) -> None:
    symbols = [symbol.upper() for symbol in config.data.symbols] or [_DEFAULT_SYMBOL]
    interval = config.data.interval or "1m"
    if config.run.venue == "sandbox" and not config.run.rest:
        await _ask_a_sandbox(symbols, interval, patience_s, tell)
        return
    keys: ApiKeys | None = None
    if config.run.venue != "paper":
        try:
            keys = keys_of(config)
        except ConfigError as error:
            tell(problem("API keys", str(error), "without keys only --venue paper works"))
    async for check in exchange_checks(
        server_of(config), keys, symbols, interval, patience_s, config.risk.max_leverage
    ):
        tell(check)


async def _ask_a_sandbox(symbols: list[str], interval: str, patience_s: float, tell: Tell) -> None:
    """A run on a sandbox of its own needs this machine's loopback alone: start one, and ask it."""
    from candlewick.data import guess_instrument, market_of, synthetic_market
    from candlewick.sandbox import Sandbox, SandboxSettings

    contracts = [guess_instrument(symbol) for symbol in symbols]
    market = market_of(synthetic_market(symbols, interval, 2_000, instruments=contracts))
    pace = interval_ms(interval) / 1_000.0  # a candle a second
    try:
        async with Sandbox(market, SandboxSettings(speed=pace, history=100)) as sandbox:
            settings = BinanceSettings.at(sandbox.rest_url, sandbox.ws_url)
            keys = ApiKeys(sandbox.api_key, sandbox.api_secret)
            hide(keys.secret)
            async for check in exchange_checks(settings, keys, symbols, interval, patience_s):
                tell(check)
    except ConfigError as error:
        advice = "allow this process to listen on the loopback interface"
        tell(problem("sandbox", str(error), advice))


class _Report:
    """Prints checks as they come, or all of them as JSON."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._console = console
        self._quiet = quiet
        self._checks: list[Check] = []

    @property
    def problems(self) -> int:
        return self._count(Level.PROBLEM)

    def _count(self, level: Level) -> int:
        return sum(check.level is level for check in self._checks)

    def add(self, check: Check) -> None:
        """Take a check; no secret leaves here."""
        shown = msgspec.structs.replace(
            check, found=redacted(check.found), advice=redacted(check.advice)
        )
        self._checks.append(shown)
        if self._quiet:
            return
        line = Table.grid(padding=(0, 2))
        line.add_column(width=7)
        line.add_column(width=20)
        line.add_column(overflow="fold")
        line.add_row(_STYLES[shown.level], shown.name, escape(shown.found))
        if shown.advice:
            line.add_row("", "", f"[bold]{escape(shown.advice)}[/]")
        self._console.print(line)

    def end(self) -> None:
        """Print the sum."""
        problems, warnings = self.problems, self._count(Level.WARNING)
        if self._quiet:
            found = {"ok": not problems, "problems": problems, "warnings": warnings,
                     "checks": self._checks}  # fmt: skip
            typer.echo(msgspec.json.encode(found).decode())
        else:
            said = [_counted(problems, "problem"), _counted(warnings, "warning")]
            self._console.print(", ".join(said))


def _counted(number: int, name: str) -> str:
    return f"{number or 'no'} {name}{'' if number == 1 else 's'}"
