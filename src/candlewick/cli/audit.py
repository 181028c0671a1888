"""``candlewick audit``: read, verify, export, compress and replay an audit journal."""

from __future__ import annotations

import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from candlewick.audit import (
    Anchor,
    EventType,
    Filter,
    Record,
    anchors_of,
    archive,
    describe,
    export_parquet,
    follow,
    order_story,
    read,
    read_anchors,
    summarize,
    verify,
)
from candlewick.cli.options import Json
from candlewick.cli.summary import console_for
from candlewick.errors import ConfigError, DataError, ExitCode, JournalError, nearest

if TYPE_CHECKING:
    from candlewick.live.replay import Replayed

app = typer.Typer(
    help="Read, verify and replay an audit journal.", no_args_is_help=True, add_completion=False
)

_AGO = re.compile(r"^(\d+)([smhd])$")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="Directory of the journal.")]
Since = Annotated[
    str | None, typer.Option("--since", help="From this time on: 2026-11-23T14:00, or 30m ago.")
]
Until = Annotated[str | None, typer.Option("--until", help="Up to this time, like --since.")]
Types = Annotated[
    list[str] | None, typer.Option("--type", "-t", help="Event type, or a pattern: 'order_*'.")
]
Symbol = Annotated[str | None, typer.Option("--symbol", help="Records that name this symbol.")]
Order = Annotated[
    str | None, typer.Option("--order", help="Records about this order (client's or venue's id).")
]
_JOURNAL = Path("journal")


@app.command("verify")
def verify_command(
    directory: Directory = _JOURNAL,
    anchor: Annotated[
        list[str] | None, typer.Option("--anchor", help="SEQUENCE:HASH that must be there.")
    ] = None,
    anchors: Annotated[
        Path | None, typer.Option("--anchors", help="File of anchors, from `audit anchor`.")
    ] = None,
    json: Json = False,
) -> int:
    """Check sequence, hash chain, gaps and end; exit code 4 when something is wrong, and where."""
    started = time.perf_counter()
    result = verify(directory, anchors=_anchors(anchor or [], anchors))
    elapsed = time.perf_counter() - started
    if json:
        _print_json(msgspec.to_builtins(result) | {"ok": result.ok, "elapsed_s": elapsed})
    else:
        console = console_for()
        for problem in result.problems:
            console.print(f"[red]{problem.kind}[/] {problem}", soft_wrap=True)
        for note in result.notes:
            console.print(f"[yellow]note[/] {note}", soft_wrap=True)
        end = "closed" if result.closed else "not closed: its process runs, or died"
        verdict = "[green]verified[/]" if result.ok else "[red]does not verify[/]"
        console.print(
            f"{verdict}: {result.records:,} records in {result.files} files, {elapsed:.2f} s; {end}"
        )
        console.print(f"last record {result.last_sequence}, hash {result.last_hash or 'unknown'}")
    return ExitCode.OK if result.ok else ExitCode.JOURNAL_UNTRUSTED


def _anchors(given: list[str], file: Path | None) -> list[Anchor]:
    found = read_anchors("\n".join(given), "--anchor")
    if file is not None:
        try:
            found += read_anchors(file.read_text(encoding="utf-8"), str(file))
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"anchors {file} cannot be read: {error}") from error
    return found


@app.command("anchor")
def anchor_command(directory: Directory = _JOURNAL, json: Json = False) -> None:
    """Print the hash of each day's last record; kept elsewhere, it proves what stands before it."""
    found = anchors_of(directory)
    if json:
        _print_json(found)
        return
    for item in found:
        typer.echo(str(item))


@app.command()
def show(
    directory: Directory = _JOURNAL,
    since: Since = None,
    until: Until = None,
    types: Types = None,
    symbol: Symbol = None,
    order: Order = None,
    last: Annotated[int, typer.Option("--last", "-n", min=0, help="Only so many; 0: all.")] = 0,
    follow_: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is written, until Ctrl+C.")
    ] = False,
    json: Json = False,
) -> None:
    """Show records, oldest first."""
    wanted = _filter(directory, since, until, types, symbol, order)
    form = _json_line if json else _line_for(console_for())
    records: Iterable[Record] = _read(directory, wanted)
    if last:
        records = deque(records, maxlen=last)
    shown = 0
    for record in records:
        typer.echo(form(record))
        shown = record.sequence
    if not follow_:
        if not shown:
            typer.echo(f"no record of {directory} is of that kind", err=True)
        return
    sys.stdout.flush()
    for record in follow(directory, wanted, after=shown):
        typer.echo(form(record))
        sys.stdout.flush()


def _read(directory: Path, wanted: Filter) -> Iterator[Record]:
    return read(
        directory, since=wanted.since, until=wanted.until, types=wanted.types,
        symbol=wanted.symbol, order_id=wanted.order_id,
    )  # fmt: skip


def _filter(
    directory: Path,
    since: str | None,
    until: str | None,
    types: list[str] | None,
    symbol: str | None,
    order: str | None,
) -> Filter:
    known = {kind.value for kind in EventType}
    for pattern in types or ():
        if not any(fnmatchcase(name, pattern) for name in known):
            known |= summarize(directory).by_type.keys()  # a program may have recorded its own
        if not any(fnmatchcase(name, pattern) for name in known):
            raise ConfigError(
                f"--type {pattern!r} is no event type{nearest(pattern, known)}"
                f" (`candlewick audit stats {directory}` lists those of the journal)"
            )
    return Filter(
        since=_time("--since", since), until=_time("--until", until), types=tuple(types or ()),
        symbol=symbol, order_id=order,
    )  # fmt: skip


def _time(option: str, text: str | None) -> int | None:
    """UTC ms of a time as 2026-11-23T14:00 (UTC where it names no zone), or 30m, 2h, 1d ago."""
    if text is None:
        return None
    try:
        if match := _AGO.match(text):
            moment = datetime.now(UTC) - timedelta(**{_UNITS[match[2]]: int(match[1])})
        else:
            moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ConfigError(
            f"{option} {text!r} is no time: write 2026-11-23, 2026-11-23T14:00, or 30m for"
            " 30 minutes ago"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1e3)


def _utc(time_ns: int) -> str:
    moment = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{time_ns // 1_000 % 1_000_000:06d}"


def _line_for(console: Console) -> Callable[[Record], str]:
    """How a record looks: whole lines in a pipe; as wide as a terminal, under a heading, there."""
    if not console.is_terminal:
        return _line
    console.print(f"{'record':>9} {'time (UTC)':<26} {'type':<22} what", style="dim")
    width = console.width

    def fitting(record: Record) -> str:
        line = _line(record)
        return line if len(line) <= width else f"{line[: width - 1]}…"

    return fitting


def _line(record: Record) -> str:
    what = " ".join(describe(record.data).splitlines())
    return f"{record.sequence:>9} {_utc(record.time_ns)} {record.type:<22} {what}"


def _json_line(record: Record) -> str:
    return msgspec.json.encode(record).decode()


def _print_json(value: Any) -> None:
    typer.echo(msgspec.json.encode(value).decode())


@app.command()
def stats(directory: Directory = _JOURNAL, json: Json = False) -> None:
    """Count records by day and type."""
    found = summarize(directory)
    if json:
        _print_json(found)
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_row("records", f"{found.records:,}")
    table.add_row("first", f"{_utc(found.first_time_ns)} UTC")
    table.add_row("last", f"{_utc(found.last_time_ns)} UTC")
    table.add_row("files", f"{found.files:,} ({found.compressed_files:,} compressed)")
    table.add_row("bytes", f"{found.bytes:,}")
    table.add_row("runs", f"{found.runs:,}")
    table.add_row("torn tails", f"{found.torn_tails:,}")
    for heading, counts in (("day", found.by_day), ("type", found.by_type)):
        table.add_row("")
        table.add_row(f"[bold]{heading}[/]", "[bold]records[/]")
        for name, count in counts.items():
            table.add_row(name, f"{count:,}")
    console_for().print(table)


@app.command()
def export(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory of the journal.")],
    output: Annotated[Path, typer.Argument(metavar="FILE", help="The Parquet file to write.")],
    since: Since = None,
    until: Until = None,
    types: Types = None,
    symbol: Symbol = None,
    order: Order = None,
    json: Json = False,
) -> None:
    """Write records to a Parquet file."""
    wanted = _filter(directory, since, until, types, symbol, order)
    count = export_parquet(_read(directory, wanted), output)
    if json:
        _print_json({"file": str(output), "records": count})
    else:
        typer.echo(f"wrote {count:,} records to {output}")


@app.command()
def order(
    order_id: Annotated[str, typer.Argument(metavar="ID", help="Client's or venue's order id.")],
    directory: Directory = _JOURNAL,
    json: Json = False,
) -> None:
    """Tell the whole life of one order, with latencies."""
    story = order_story(directory, order_id)
    if json:
        _print_json(story)
        return
    console = console_for()
    day = _utc(story.steps[0].time_ns)[:10] if story.steps else ""
    console.print(f"[bold]{story.order_id}[/] {story.symbol}, {day}")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("record", "time (UTC)", "after", "what", ""):
        side: Literal["left", "right"] = "right" if name in ("record", "after") else "left"
        table.add_column(name, justify=side, no_wrap=bool(name))
    for step in story.steps:
        moment = _utc(step.time_ns)
        table.add_row(
            str(step.sequence), moment[11:] if moment.startswith(day) else moment,
            _duration(step.after_ns), step.type.replace("_", " "), step.text,
        )  # fmt: skip
    console.print(table)
    for name, taken in story.latencies_ns.items():
        console.print(f"{name}: [bold]{_duration(taken)}[/]")
    for other in story.related:
        console.print(
            f"related: {other.order_id} ({other.purpose}, {other.status})", soft_wrap=True
        )


def _duration(nanoseconds: int) -> str:
    for unit, size in (("s", 1_000_000_000), ("ms", 1_000_000)):
        if abs(nanoseconds) >= size:
            return f"{nanoseconds / size:,.3f} {unit}"
    return f"{nanoseconds / 1_000:,.1f} µs"


@app.command()
def compress(
    directory: Directory = _JOURNAL,
    keep_plain_days: Annotated[
        int, typer.Option("--keep-plain-days", min=0, help="Days before today left as they are.")
    ] = 7,
    keep_days: Annotated[
        int, typer.Option("--keep-days", min=0, help="Remove days that are older; 0: none.")
    ] = 0,
    json: Json = False,
) -> None:
    """Compress the files of old days (zstd), and remove very old ones if told to."""
    done = archive(directory, keep_plain_days=keep_plain_days, keep_days=keep_days)
    if json:
        _print_json(done)
        return
    typer.echo(
        f"compressed {len(done.compressed)} files, {done.bytes_before:,} to"
        f" {done.bytes_after:,} bytes; removed {len(done.removed)}"
    )


@app.command()
def replay(
    directory: Directory = _JOURNAL,
    strategy: Annotated[
        str | None,
        typer.Option("--strategy", "-s", help="Built-in name or FILE.py:Class, if it has moved."),
    ] = None,
    run: Annotated[str | None, typer.Option("--run", help="Only the runs with this id.")] = None,
    json: Json = False,
) -> int:
    """Run the recorded inputs through a fresh engine; exit code 4 where it decides otherwise."""
    from candlewick.live.replay import replay as replay_journal

    checked = verify(directory)
    if not checked.ok:
        raise JournalError(
            f"the journal does not verify: {checked.problems[0]};"
            f" see 'candlewick audit verify {directory}'"
        )
    result = replay_journal(directory, strategy=strategy or "", run_id=run or "")
    if json:
        _print_json(msgspec.to_builtins(result) | {"same": result.same})
    else:
        _print_replayed(result)
    return ExitCode.OK if result.same else ExitCode.JOURNAL_UNTRUSTED


def _print_replayed(result: Replayed) -> None:
    console = console_for()
    console.print(
        f"{result.runs} {'run' if result.runs == 1 else 'runs'}, {result.inputs:,} inputs of"
        f" {result.records:,} records replayed; {result.compared:,} decisions are the recorded ones"
    )
    if result.unrecorded:
        console.print(
            f"{result.unrecorded} decisions were not recorded: the process was killed",
            soft_wrap=True,
        )
    difference = result.first_difference
    if difference is None:
        console.print("[green]no difference[/]")
        return
    console.print(
        f"[red]first difference[/] at record {difference.sequence}"
        f" ({_utc(difference.time_ns)} UTC, run {difference.run_id}): {difference.reason}",
        soft_wrap=True,
    )
    for name, what in (("recorded", difference.recorded), ("replayed", difference.replayed)):
        shown = "nothing" if what is None else msgspec.json.encode(what).decode()
        console.print(f"{name}: {shown}", soft_wrap=True, markup=False)
