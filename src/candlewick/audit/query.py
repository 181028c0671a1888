"""Questions to a journal: figures of the whole, and the story of one order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from candlewick.audit.chain import Record
from candlewick.audit.events import EventType
from candlewick.audit.files import journal_directory, segment_files
from candlewick.audit.naming import day_of
from candlewick.audit.reading import lines_of, read, type_of
from candlewick.errors import DataError, nearest

__all__ = ["JournalSummary", "OrderStory", "Step", "order_story", "summarize"]


class JournalSummary(msgspec.Struct, frozen=True):
    """Figures of a whole journal; times are UTC ns, ``bytes`` those of the records."""

    files: int
    compressed_files: int
    bytes: int
    records: int
    first_time_ns: int
    last_time_ns: int
    runs: int
    torn_tails: int
    by_type: dict[str, int]
    by_day: dict[str, int]


def summarize(directory: str | Path) -> JournalSummary:
    """Count what is in a journal; raises DataError when there is none."""
    path = journal_directory(directory)
    files = compressed = size = first_ns = last_ns = 0
    types: Counter[str] = Counter()
    days: Counter[str] = Counter()
    for file in segment_files(path):
        lines = lines_of(file.content)
        if not lines:
            continue
        files += 1
        compressed += file.path.suffix == ".zst"
        size += sum(map(len, lines)) + len(lines)
        types.update(map(type_of, lines))
        first, last = _time_of(lines[0]), _time_of(lines[-1])
        first_ns = first_ns or first
        last_ns = last
        if day_of(first) == day_of(last):
            days[day_of(first)] += len(lines)
        else:
            days.update(day_of(_time_of(line)) for line in lines)
    return JournalSummary(
        files, compressed, size, types.total(), first_ns, last_ns,
        types[EventType.JOURNAL_OPENED], types[EventType.JOURNAL_TORN_TAIL],
        dict(types.most_common()), dict(sorted(days.items())),
    )  # fmt: skip


def _time_of(line: bytes) -> int:
    digits = line.split(b":", 3)[2].partition(b",")[0]
    return int(digits) if digits.isdigit() else 0


# -- the story of an order -------------------------------------------------------------------------


class Step(msgspec.Struct, frozen=True):
    """One thing that happened to an order, ``after_ns`` behind the step before."""

    sequence: int
    time_ns: int
    after_ns: int
    type: str
    text: str


class OrderStory(msgspec.Struct, frozen=True):
    """The whole life of one order.

    ``latencies_ns`` are taken from the times of the records, ``related`` are the orders that
    protect or close it, or which it protects or closes.
    """

    order_id: str
    symbol: str
    steps: tuple[Step, ...]
    latencies_ns: dict[str, int]
    related: tuple[str, ...]


_STAGES = (
    ("planned", EventType.ORDER_PLANNED),
    ("sent", EventType.ORDER_SENT),
    ("acknowledged", EventType.ORDER_ACKNOWLEDGED),
    ("filled", EventType.ORDER_FILLED),
)


def order_story(directory: str | Path, order_id: str) -> OrderStory:
    """Tell all that the journal has about one order.

    Args:
        directory: of the journal.
        order_id: client id, or the exchange's id.

    Raises:
        DataError: there is no journal, or it has no such order; the message names a similar one.
    """
    records = list(read(directory, order_id=order_id))
    if not records:
        known = _known_orders(directory)
        raise DataError(
            f"the journal {directory} has no order {order_id!r}{nearest(order_id, known)}"
            f" (it has {len(known)} orders)"
        )
    client_id = _client_id(records, order_id)
    if client_id != order_id:
        records = list(read(directory, order_id=client_id))
    own = [record for record in records if _is_about(record, client_id)]
    steps = []
    before = own[0].time_ns if own else 0
    for record in own:
        after = record.time_ns - before
        steps.append(Step(record.sequence, record.time_ns, after, record.type, _text(record.data)))
        before = record.time_ns
    return OrderStory(
        client_id, _first(records, "symbol"), tuple(steps), _latencies(own),
        _related(records, client_id),
    )  # fmt: skip


def _known_orders(directory: str | Path) -> list[str]:
    planned = read(directory, types=[EventType.ORDER_PLANNED])
    return [record.data["client_id"] for record in planned if "client_id" in _dict(record.data)]


def _dict(data: Any) -> dict[str, Any]:
    return data if isinstance(data, dict) else {}


def _client_id(records: list[Record], order_id: str) -> str:
    """Return the client id that stands beside the exchange's id."""
    for record in records:
        data = _dict(record.data)
        if data.get("venue_id") == order_id and data.get("client_id"):
            return str(data["client_id"])
    return order_id


def _is_about(record: Record, client_id: str) -> bool:
    return bool(_dict(record.data).get("client_id", client_id) == client_id)


def _first(records: list[Record], name: str) -> str:
    return next((str(d[name]) for r in records if name in (d := _dict(r.data))), "")


def _related(records: list[Record], client_id: str) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for record in records:
        data = _dict(record.data)
        for name in ("client_id", "parent_id"):
            if data.get(name) and data[name] != client_id:
                found[str(data[name])] = None
    return tuple(found)


def _latencies(records: list[Record]) -> dict[str, int]:
    """Time between the stages that were reached, and of the whole way."""
    first_of: dict[str, int] = {}
    for record in records:
        first_of.setdefault(record.type, record.time_ns)
    reached = [(name, first_of[kind]) for name, kind in _STAGES if kind in first_of]
    found = {f"{a} to {b}": to - since for (a, since), (b, to) in pairwise(reached)}
    if len(reached) > 2:
        found[f"{reached[0][0]} to {reached[-1][0]}"] = reached[-1][1] - reached[0][1]
    return found


_SAID = (
    "purpose", "side", "quantity", "symbol", "type", "price", "trigger_price", "filled",
    "average_price", "fee", "realized", "maker", "status", "code", "message", "reason", "venue_id",
    "trade_id",
)  # fmt: skip


def _text(data: Any) -> str:
    """Say in one line what a record has to tell about an order."""
    if not isinstance(data, dict):
        return str(data)
    return " ".join(_said(data))


def _said(data: dict[str, Any]) -> Iterator[str]:
    for name in _SAID:
        value = data.get(name)
        if value is None or value in ("", 0, False):
            continue
        shown = f"{value:g}" if isinstance(value, float) else str(value)
        plain = name in ("purpose", "side", "quantity", "symbol", "type", "message")
        yield shown if plain else f"{name.replace('_', ' ')} {shown}"
