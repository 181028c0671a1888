"""``candlewick config``: write a commented configuration, or check one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from candlewick.config import commented_toml, load_config
from candlewick.errors import ConfigError
from candlewick.strategies import build_strategy, load_strategy

app = typer.Typer(help="Write or check a configuration file.", no_args_is_help=True)


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("candlewick.toml"),
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write a configuration with every key, its default and a comment."""
    if path.exists() and not force:
        raise ConfigError(f"{path} exists already; --force replaces it")
    try:
        path.write_text(commented_toml(), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
    typer.echo(f"wrote {path}")


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="The file to check.")] = Path("candlewick.toml"),
) -> None:
    """Check keys, types and limits, the strategy with its parameters, and that the files exist."""
    config = load_config(path)
    build_strategy(load_strategy(config.strategy.name), config.strategy.params)
    missing = [name for name in config.data.files if not Path(name).exists()]
    if missing:
        raise ConfigError(f"{path}: data.files: {', '.join(missing)} does not exist")
    typer.echo(f"{path} is valid")
