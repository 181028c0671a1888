"""``candlewick config``: write a commented configuration, or check one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from candlewick.cli.venues import check_venue, keys_of
from candlewick.config import commented_toml, load_config
from candlewick.errors import ConfigError
from candlewick.strategies import build_strategy, load_strategy

_DEFAULT = Path("candlewick.toml")
_STANDARD_OUTPUT = Path("-")

app = typer.Typer(
    help="Write or check a configuration file.", no_args_is_help=True, add_completion=False
)


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="The file to write; - prints it.")] = _DEFAULT,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write a configuration with every key, its default and a comment."""
    if path == _STANDARD_OUTPUT:
        typer.echo(commented_toml(), nl=False)
        return
    if path.exists() and not force:
        raise ConfigError(f"{path} exists already; --force replaces it")
    try:
        path.write_text(commented_toml(), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
    typer.echo(f"wrote {path}")


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="The file to check.")] = _DEFAULT,
) -> None:
    """Check keys, types and limits, the strategy with its parameters, and that the files exist."""
    config = load_config(path)
    try:
        check_venue(config, real_money=True)
        if config.run.keys_file:
            keys_of(config)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    build_strategy(load_strategy(config.strategy.name), config.strategy.params)
    rates = [name.rpartition("=")[2] for name in config.account.funding]
    for key, names in (("data.files", config.data.files), ("account.funding", rates)):
        if missing := [name for name in names if not Path(name).exists()]:
            raise ConfigError(f"{path}: {key}: {', '.join(missing)} does not exist")
    typer.echo(f"{path} is valid")
