"""How long it takes until something happens: the import, and the first candle of a backtest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.rows import Row
from benchmarks.timing import in_turns, progress


def _import(module: str) -> None:
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)


def _backtest() -> None:
    command = ("backtest", "sma_cross", "--candles", "1", "--json")
    program = Path(sys.executable).with_name("candlewick")
    subprocess.run([program, *command], check=True, stdout=subprocess.DEVNULL)


def run() -> list[Row]:
    progress("import candlewick, beside an interpreter that imports nothing of it")
    taken = in_turns(
        {"candlewick": lambda: _import("candlewick"), "nothing": lambda: _import("sys")},
        repeats=9,
    )
    own = taken["candlewick"].median - taken["nothing"].median
    progress("cold start of a backtest")
    cold = in_turns({"backtest": _backtest}, repeats=5)["backtest"].median
    return [
        Row(
            area="cold_start", name="import candlewick", value=own * 1e3, unit="ms",
            better="lower", limit=150.0, note="above the start of the interpreter",
        ),
        Row(
            area="cold_start", name="candlewick backtest, to its first candle and out",
            value=cold, unit="s", better="lower", limit=1.0, note="the whole process",
        ),
    ]  # fmt: skip
