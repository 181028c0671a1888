"""`python -m benchmarks [AREA ...]`: run all benchmarks, or those named, and print one table.

Each module ``bench_<area>.py`` beside this one has ``run() -> list[Row]``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.rows import Row
from candlewick import __version__

_PREFIX = "bench_"


def areas() -> list[str]:
    """Return the areas that can be measured."""
    names = (path.stem for path in Path(__file__).parent.glob(f"{_PREFIX}*.py"))
    return sorted(name.removeprefix(_PREFIX) for name in names)


def measure(area: str) -> tuple[list[Row], str]:
    """Run one area; returns its rows, and why it was left out or how it failed."""
    print(f"{area} ...", file=sys.stderr, flush=True)
    try:
        rows: list[Row] = import_module(f"benchmarks.{_PREFIX}{area}").run()
    except Exception as error:
        name = error.name or "" if isinstance(error, ModuleNotFoundError) else "candlewick"
        if name.partition(".")[0] not in ("candlewick", "benchmarks"):
            return [], f"left out: {name} is not installed; `make bench` installs it"
        traceback.print_exc()
        return [], f"failed: {error!r}"
    return rows, ""


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"


def _target(row: Row) -> str:
    parts = []
    if row.limit is not None:
        parts.append(f"{'≤' if row.better == 'lower' else '≥'} {_figure(row.limit)} {row.unit}")
    if row.target_ratio is not None:
        parts.append(f"≥ {row.target_ratio:g}x")
    return ", ".join(parts)


def _verdict(row: Row) -> str:
    if row.met is None:
        wanted = row.target_ratio is not None or row.limit is not None
        return "[yellow]not measured[/]" if wanted else ""
    return "[green]met[/]" if row.met else "[bold red]MISSED[/]"


def _peer(row: Row) -> str:
    if not row.peer:
        return ""
    return row.peer if row.peer_value is not None else f"{row.peer} (not installed)"


def table(rows: Sequence[Row]) -> Table:
    """Lay the rows out for people."""
    shown = Table(title="x: how many times better than the peer, in the same run", box=None)
    for heading in ("area", "what"):
        shown.add_column(heading, no_wrap=heading == "area")
    for heading in ("ours", "unit", "peer", "peer's", "x", "target", "", "note"):
        right = heading in ("ours", "peer's", "x")
        shown.add_column(heading, justify="right" if right else "left")
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        shown.add_row(
            row.area, row.name, _figure(row.value), row.unit, _peer(row), _figure(row.peer_value),
            ratio, _target(row), _verdict(row), row.note,
        )  # fmt: skip
    return shown


def _as_json(rows: Sequence[Row], troubles: dict[str, str]) -> str:
    return json.dumps(
        {
            "candlewick": __version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
            "rows": [
                msgspec.to_builtins(row) | {"ratio": row.ratio, "met": row.met} for row in rows
            ],
            "troubles": troubles,
        },
        indent=2,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when a benchmark raised, 2 for an unknown area, 0 else.

    A missed target is shown, and does not change the exit code: a busy machine is no bug.
    """
    known = areas()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("areas", nargs="*", metavar="AREA", help=f"of: {', '.join(known)}")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.areas if name not in known]:
        parser.error(f"unknown area {', '.join(unknown)} (known: {', '.join(known)})")
    rows: list[Row] = []
    troubles: dict[str, str] = {}
    for area in options.areas or known:
        found, trouble = measure(area)
        rows += found
        if trouble:
            troubles[area] = trouble
    if options.json:
        print(_as_json(rows, troubles))
    else:
        width = None if sys.stdout.isatty() else 200
        console = Console(width=width, highlight=False)
        console.print(table(rows))
        for area, trouble in troubles.items():
            console.print(f"[yellow]{area}[/] {trouble}")
        missed = sum(row.met is False for row in rows)
        met = sum(row.met is True for row in rows)
        console.print(f"{len(rows)} rows, {met} targets met, {missed} missed")
    return int(any(trouble.startswith("failed") for trouble in troubles.values()))


if __name__ == "__main__":
    sys.exit(main())
