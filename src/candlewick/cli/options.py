"""Options that several commands share, and how they change a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from candlewick.config import Config, load_config, parse_config
from candlewick.data import Market, load_market
from candlewick.errors import ConfigError

__all__ = [
    "Candles",
    "Cash",
    "ConfigFile",
    "Data",
    "FeeMaker",
    "FeeTaker",
    "Funding",
    "Interval",
    "Json",
    "OnGap",
    "OnProblem",
    "Params",
    "Seed",
    "Slippage",
    "Symbols",
    "combine",
    "market_from",
    "problem_lines",
]

ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="TOML configuration; options override it.")
]
Params = Annotated[
    list[str] | None, typer.Option("--param", "-p", help="A strategy parameter as name=value.")
]
Data = Annotated[
    list[str] | None,
    typer.Option("--data", "-d", help="Candle file or folder; none: a synthetic market."),
]
Symbols = Annotated[
    list[str] | None, typer.Option("--symbol", help="Symbol of a file, or to pick or make.")
]
Interval = Annotated[
    str | None, typer.Option("--interval", help="Base interval, as 5m; lower data is aggregated.")
]
Candles = Annotated[
    int | None, typer.Option("--candles", min=1, help="Use at most that many of each symbol.")
]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Of the synthetic market.")]
Cash = Annotated[float | None, typer.Option("--cash", help="Wallet at the start, quote currency.")]
FeeTaker = Annotated[
    float | None, typer.Option("--fee-taker", help="Fraction of the notional, as 0.0005.")
]
FeeMaker = Annotated[
    float | None, typer.Option("--fee-maker", help="Fraction of the notional, as 0.0002.")
]
Slippage = Annotated[
    float | None, typer.Option("--slippage-bps", help="How much worse a taker's price is.")
]
Funding = Annotated[
    list[str] | None,
    typer.Option("--funding", help="Recorded funding rates: FILE, or SYMBOL=FILE."),
]
OnGap = Annotated[
    str | None, typer.Option("--on-gap", help="Missing candles: fail, skip or report.")
]
OnProblem = Annotated[
    str | None, typer.Option("--on-problem", help="Broken rows: fail, skip or report.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def combine(
    config_file: Path | None,
    *,
    params: Sequence[str] | None = None,
    **overrides: Any,
) -> Config:
    """Read the configuration and put the options over it.

    ``overrides`` are named ``section_key``; None means not given.
    """
    config = load_config(config_file) if config_file is not None else Config()
    values: dict[str, dict[str, Any]] = msgspec.to_builtins(config)
    for name, value in overrides.items():
        if value is None:
            continue
        section, _, key = name.partition("_")
        values[section][key] = list(value) if isinstance(value, list | tuple) else value
    for item in params or ():
        key, separator, value = item.partition("=")
        if not separator or not key:
            raise ConfigError(f"--param {item!r} must be written as name=value")
        values["strategy"]["params"][key.strip()] = value.strip()
    return parse_config(_without_none(values))


def _without_none(values: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        section: {key: value for key, value in keys.items() if value is not None}
        for section, keys in values.items()
    }


def market_from(config: Config, synthetic_candles: int = 10_000) -> Market:
    """Load the market that the configuration names; progress goes to standard error."""
    data = config.data
    return load_market(
        data.files,
        symbols=[symbol.upper() for symbol in data.symbols],
        interval=data.interval,
        candles=data.candles,
        seed=data.seed,
        synthetic_candles=synthetic_candles,
        on_problem=data.on_problem,
        on_gap=data.on_gap,
    )


def problem_lines(market: Market) -> list[str]:
    """One line for each source and kind of problem in the data."""
    counts: dict[tuple[str, str], list[int]] = {}
    for problem in market.problems:
        found = counts.setdefault((problem.source, problem.kind.replace("_", " ")), [0, 0])
        found[0] += 1
        found[1] += problem.count
    return [
        f"{Path(source).name}: {_several(number, kind)}, {_several(total, 'candle')}"
        for (source, kind), (number, total) in counts.items()
    ]


def _several(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number > 1 else ''}"
