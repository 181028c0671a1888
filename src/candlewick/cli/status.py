"""``candlewick status``: a running engine at a glance, from another terminal."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from candlewick.cli import options
from candlewick.cli.display import line_of, panel_of
from candlewick.cli.summary import console_for
from candlewick.errors import ConfigError, ExitCode
from candlewick.live import Status
from candlewick.monitoring import EngineAddress, Problem, find_engines

__all__ = ["app"]

app = typer.Typer(add_completion=False)

_WATCH_S = 1.0
_PATIENCE_S = 3.0
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class _Process(msgspec.Struct, frozen=True):
    pid: int
    uptime_s: float
    resident_bytes: int
    threads: int
    loop_lag_p99_ms: float
    loop_lag_worst_ms: float


class _Health(msgspec.Struct, frozen=True):
    """What `/status` tells beside the engine's figures."""

    not_ready: tuple[Problem, ...]
    process: _Process


class _GoneError(Exception):
    """The engine has ended while it was being looked at."""


class _NoAnswerError(Exception):
    """The engine runs, and does not answer as it should."""


@app.command()
def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Again every second.")] = False,
    journal: Annotated[
        Path | None, typer.Option("--journal", "-j", help="The engine that writes this journal.")
    ] = None,
    pid: Annotated[int | None, typer.Option("--pid", help="The engine in this process.")] = None,
    json: options.Json = False,
) -> int:
    """Show a running engine: figures, positions, and what is not as it should be."""
    console = console_for()
    found = _matching(find_engines(), journal, pid)
    if not found:
        message = "no engine runs" + (" there" if journal or pid else "")
        console_for(stderr=True).print(f"{message}; `candlewick run` starts one")
        return ExitCode.NOT_RUNNING
    if len(found) > 1:
        listed = "".join(f"\n  --pid {a.pid}  {a.strategy}, journal {a.journal}" for a in found)
        raise ConfigError(f"{len(found)} engines run; choose one:{listed}")
    show = _watch if watch else _once
    try:
        show(found[0], console, json=json)
    except _GoneError:
        console_for(stderr=True).print("the engine has just ended")
        return ExitCode.NOT_RUNNING
    except _NoAnswerError as error:
        console_for(stderr=True).print(f"error: {error}", soft_wrap=True)
        return ExitCode.UNEXPECTED
    return ExitCode.OK


def _matching(
    engines: list[EngineAddress], journal: Path | None, pid: int | None
) -> list[EngineAddress]:
    where = None if journal is None else journal.resolve()
    return [
        engine
        for engine in engines
        if pid in (None, engine.pid) and where in (None, Path(engine.journal).resolve())
    ]


def _ask(engine: EngineAddress) -> bytes:
    """Fetch `/status`.

    Raises:
        _GoneError: nobody listens any more.
        _NoAnswerError: the engine does not answer in time, or not as it should.
    """
    host = _EVERYWHERE.get(engine.host, engine.host)
    connection = http.client.HTTPConnection(host, engine.port, timeout=_PATIENCE_S)
    try:
        connection.request("GET", "/status")
        response = connection.getresponse()
        body = response.read()
    except ConnectionError as error:
        raise _GoneError from error
    except TimeoutError as error:
        raise _NoAnswerError(
            f"the engine in process {engine.pid} does not answer within {_PATIENCE_S:g} s;"
            " its event loop may be blocked"
        ) from error
    finally:
        connection.close()
    if response.status != http.HTTPStatus.OK:
        raise _NoAnswerError(f"the engine in process {engine.pid} answered {response.status}")
    return body


def _once(engine: EngineAddress, console: Console, *, json: bool) -> None:
    body = _ask(engine)
    if json:
        typer.echo(body)
    elif console.is_terminal:
        console.print(_panel(body))
    else:
        typer.echo(_text(body))


def _watch(engine: EngineAddress, console: Console, *, json: bool) -> None:
    """Show it again and again, until the engine ends or the user does not want any more."""
    if json or not console.is_terminal:
        for body in _bodies(engine):
            typer.echo(body if json else _text(body))
        return
    with Live(console=console, auto_refresh=False) as live:
        for body in _bodies(engine):
            live.update(_panel(body), refresh=True)
    console.print("the engine has ended")


def _bodies(engine: EngineAddress) -> Iterator[bytes]:
    while True:
        try:
            yield _ask(engine)
        except _GoneError:
            return
        time.sleep(_WATCH_S)


def _panel(body: bytes) -> Group:
    figures, health = _decode(body)
    panel = panel_of(figures, hint=f"process {health.process.pid}")
    return Group(panel, Text(_process_line(health.process), style="dim"), _problems(health))


def _text(body: bytes) -> str:
    figures, health = _decode(body)
    stops = [
        f"{held.symbol} {held.quantity:+g} at {held.entry_price:,.6g},"
        f" {f'stop {held.stop:,.6g}' if held.stop else 'no confirmed stop'}"
        for held in figures.positions
    ]
    lines = [line_of(figures), *stops, _process_line(health.process)]
    return "\n".join([*lines, *(f"{p.check}: {p.problem}" for p in health.not_ready)])


def _decode(body: bytes) -> tuple[Status, _Health]:
    try:
        return msgspec.json.decode(body, type=Status), msgspec.json.decode(body, type=_Health)
    except msgspec.DecodeError as error:
        raise _NoAnswerError(f"the engine is of another version: {error}") from error


def _process_line(process: _Process) -> str:
    return (
        f"up {process.uptime_s:,.0f} s, {process.resident_bytes / 1e6:,.0f} MB,"
        f" {process.threads} threads, loop lag p99 {process.loop_lag_p99_ms:.2f} ms,"
        f" worst {process.loop_lag_worst_ms:.2f} ms"
    )


def _problems(health: _Health) -> Text:
    if not health.not_ready:
        return Text("ready", style="green")
    lines = [f"{problem.check}: {problem.problem}" for problem in health.not_ready]
    return Text("\n".join(lines), style="yellow")
