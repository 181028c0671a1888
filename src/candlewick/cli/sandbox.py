"""``candlewick sandbox``: a server that speaks the exchange's protocol, for clients of any kind."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from candlewick.cli import options
from candlewick.config import Config
from candlewick.errors import ConfigError, ExitCode
from candlewick.live.loop import run_async
from candlewick.sandbox import Fault, Sandbox, SandboxSettings, load_faults

app = typer.Typer(add_completion=False)

_CAPTURES = (".jsonl", ".jsonl.gz")
_SYNTHETIC = 100_000  # 69 days of minutes


@app.command()
def sandbox(
    port: Annotated[int, typer.Option("--port", min=0, max=65_535, help="0 picks a free one.")] = 0,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; other machines can trade there.")
    ] = "127.0.0.1",
    data: Annotated[
        list[str] | None,
        typer.Option("--data", "-d", help="Candle files, or one capture; none: synthetic."),
    ] = None,
    symbol: options.Symbols = None,
    interval: options.Interval = None,
    candles: options.Candles = None,
    history: Annotated[
        int, typer.Option("--history", min=0, help="Candles that are over at the start.")
    ] = 0,
    speed: Annotated[
        str, typer.Option("--speed", help="Times real time, or max: as fast as clients read.")
    ] = "1",
    faults: Annotated[
        Path | None, typer.Option("--faults", help="TOML file with [[fault]] tables.")
    ] = None,
    balance: Annotated[
        float, typer.Option("--balance", help="Wallet at the start, quote currency.")
    ] = 10_000.0,
    seed: options.Seed = None,
) -> int:
    """Serve the exchange's REST API, streams and WebSocket API from this machine.

    One JSON line says where, and with which keys, as soon as clients can come.
    """
    settings = SandboxSettings(
        host=host, port=port, balance=balance, speed=_speed(speed), history=history,
        seed=seed or 0,
    )  # fmt: skip
    rules = load_faults(faults) if faults is not None else []
    config = options.combine(
        None, data_files=data, data_symbols=symbol, data_interval=interval, data_candles=candles,
        data_seed=seed,
    )  # fmt: skip
    return run_async(_serve(_build(config, settings, rules)))


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"--speed {text!r} must be a number or max") from None


def _build(config: Config, settings: SandboxSettings, faults: list[Fault]) -> Sandbox:
    files = config.data.files
    if len(files) == 1 and files[0].endswith(_CAPTURES):
        if config.data.symbols or settings.history:
            raise ConfigError("--symbol and --history do not go with a capture")
        interval = config.data.interval or "1m"
        return Sandbox.of_capture(files[0], settings, faults, interval=interval)
    return Sandbox(options.market_from(config, _SYNTHETIC), settings, faults)


async def _serve(served: Sandbox) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    async with served:
        ready = {
            "rest": served.rest_url,
            "ws": served.ws_url,
            "api_key": served.api_key,
            "api_secret": served.api_secret,
        }
        typer.echo(msgspec.json.encode(ready).decode())
        await stopping.wait()
    return ExitCode.OK
