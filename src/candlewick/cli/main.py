"""The command line: a table of commands, each loaded when it is used, and one place for errors."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from candlewick.__about__ import __version__
from candlewick.cli.signals import StopSignals
from candlewick.cli.streams import OutputLostError, keep_streams, lost
from candlewick.errors import (
    CandlewickError,
    ExitCode,
    JournalError,
    UnverifiedError,
    VenueError,
    nearest,
)

__all__ = ["main"]

# name -> (module below candlewick.cli with a typer app, one line of help)
COMMANDS = {
    "run": ("run", "Run a strategy: candles in, journaled and filled orders out."),
    "backtest": ("backtest", "Run a strategy over candles as fast as possible."),
    "status": ("status", "Show a running engine, from another terminal."),
    "flatten": ("flatten", "Close all positions, cancel our orders, and verify it."),
    "guard": ("guard", "Watch an engine from outside; clean up when it is gone."),
    "audit": ("audit", "Read, verify and replay an audit journal."),
    "data": ("data", "Fetch candles, look at files of them, convert or make some."),
    "sandbox": ("sandbox", "Serve an exchange for tests: the real protocol, on this machine."),
    "doctor": ("doctor", "Say what would fail: machine, journal, exchange, keys."),
    "config": ("config", "Write or check a configuration file."),
}

# these go on when nobody reads what they print
_DO_MORE_THAN_PRINT = frozenset({"run", "guard", "flatten", "sandbox"})

_USAGE = """Usage: candlewick COMMAND [OPTIONS]

Candlewick trades crypto perpetual futures: one engine from backtest to live.

Commands:
{commands}

`candlewick COMMAND --help` tells more; `candlewick --version` prints the version."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with a documented exit code."""
    StopSignals.keeps = True
    given = sys.argv[1:] if arguments is None else list(arguments)
    keep_streams(goes_on=bool(given) and given[0] in _DO_MORE_THAN_PRINT)
    try:
        code = run_command(given)
        sys.stdout.flush()
    except OutputLostError:
        code = ExitCode.OK
    sys.exit(_told(code))


def _told(code: int) -> int:
    """The exit code, where what a command has printed did not reach anybody.

    A reader that has seen enough, as ``head`` has, is nothing wrong.
    """
    error = lost(sys.stdout)
    if error is None or isinstance(error, BrokenPipeError):
        return code
    _complain(f"the output could not be written: {error.strerror}")
    return code or ExitCode.UNEXPECTED


def run_command(arguments: Sequence[str]) -> int:
    """Run one command; return its exit code (see `ExitCode`)."""
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help"):
        print(usage())  # noqa: T201
        return ExitCode.OK if arguments else ExitCode.BAD_INPUT
    if name in ("-V", "--version"):
        print(f"candlewick {__version__}")  # noqa: T201
        return ExitCode.OK
    if name not in COMMANDS:
        hint = nearest(name, COMMANDS)
        _complain(f"unknown command {name!r}{hint} (commands: {', '.join(COMMANDS)})")
        return ExitCode.BAD_INPUT
    return _guarded(name, arguments[1:])


def usage() -> str:
    """The help page."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    return _USAGE.format(commands="\n".join(lines))


def _guarded(name: str, arguments: Sequence[str]) -> int:
    """Run a command and turn what it raises into words and an exit code."""
    try:
        return _run(name, arguments)
    except KeyboardInterrupt:  # also while the command's own modules are loaded
        _complain("interrupted")
        return ExitCode.INTERRUPTED


def _run(name: str, arguments: Sequence[str]) -> int:
    import typer

    # typer does not export the root of its usage errors
    usage_error: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")
    try:
        app = import_module(f"candlewick.cli.{COMMANDS[name][0]}").app
        command = typer.main.get_command(app)
        result = command.main(
            list(arguments), prog_name=f"candlewick {name}", standalone_mode=False
        )
    except usage_error as error:
        error.show()
        return ExitCode.BAD_INPUT
    except typer.Abort:
        raise KeyboardInterrupt from None
    except CandlewickError as error:
        _complain(str(error))
        return _code_of(error)
    if result == ExitCode.INTERRUPTED:  # typer makes this of a KeyboardInterrupt
        raise KeyboardInterrupt
    return result if isinstance(result, int) else ExitCode.OK


def _complain(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)  # noqa: T201


def _code_of(error: CandlewickError) -> ExitCode:
    if isinstance(error, JournalError):
        return ExitCode.JOURNAL_UNTRUSTED
    if isinstance(error, VenueError):
        return ExitCode.VENUE_REFUSED
    if isinstance(error, UnverifiedError):
        return ExitCode.ACCOUNT_UNVERIFIED
    return ExitCode.BAD_INPUT
