"""`order_story`: the whole life of one order, with latencies, out of the journal."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from candlewick.audit.chain import Record
from candlewick.audit.describing import describe
from candlewick.audit.events import EventType
from candlewick.audit.reading import read
from candlewick.errors import DataError, nearest

__all__ = ["OrderStory", "RelatedOrder", "Step", "order_story"]

_NS_PER_MS = 1_000_000
_STAGES = (
    ("planned", EventType.ORDER_PLANNED),
    ("sent", EventType.ORDER_SENT),
    ("acknowledged", EventType.ORDER_ACKNOWLEDGED),
    ("filled", EventType.ORDER_FILLED),
)
_WITHOUT_STATUS: dict[str, str] = {
    EventType.ORDER_SENT: "sent",
    EventType.ORDER_WITHHELD: "withheld",
}
_KNOWN = frozenset(("client_id", "symbol", "time", "created_time"))  # stand beside the steps
_AGAIN = frozenset(("quantity", "price"))  # each fill has its own


class Step(msgspec.Struct, frozen=True):
    """One thing that happened to an order, ``after_ns`` behind the step before."""

    sequence: int
    time_ns: int
    after_ns: int
    type: str
    text: str


class RelatedOrder(msgspec.Struct, frozen=True):
    """An order that protects or closes another, or is protected or closed by it.

    ``status`` is the last thing the journal says of it.
    """

    order_id: str
    purpose: str
    status: str


class OrderStory(msgspec.Struct, frozen=True):
    """The whole life of one order, from the signal that asked for it.

    ``latencies_ns`` are taken from the times of the records; "filled to protected" is the time
    from the first fill to the exchange's word on the stop.
    """

    order_id: str
    symbol: str
    steps: tuple[Step, ...]
    latencies_ns: dict[str, int]
    related: tuple[RelatedOrder, ...]


def order_story(directory: str | Path, order_id: str) -> OrderStory:
    """Tell all that the journal has about one order.

    Args:
        directory: of the journal.
        order_id: client id, or the exchange's id; of the last run that planned it.

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
    since = _run_of(directory, records, client_id)
    records = [record for record in records if record.sequence > since]
    own = [record for record in records if _is_about(record, client_id)]
    others = {
        other: [r for r in read(directory, order_id=other) if r.sequence > since]
        for other in _related(records, client_id)
    }
    asked = _signal_before(directory, records[0])
    return OrderStory(
        client_id, _first(records, "symbol"), _steps([*asked, *own], client_id),
        _latencies(asked, own, others),
        tuple(_told_of(other, about) for other, about in others.items()),
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


def _run_of(directory: str | Path, records: list[Record], client_id: str) -> int:
    """Where the run begins that planned the order, or the last one where several did.

    Simulated runs of one seed name their orders alike.
    """
    planned = [r for r in records if r.type == EventType.ORDER_PLANNED and _is_about(r, client_id)]
    starts = read(directory, types=[EventType.ENGINE_STARTED]) if planned else ()
    return max((r.sequence for r in starts if r.sequence < planned[-1].sequence), default=0)


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


def _signal_before(directory: str | Path, planned: Record) -> list[Record]:
    """The signal that the order answers: it stands right before the plan, if there is one."""
    if planned.type != EventType.ORDER_PLANNED:
        return []
    since = planned.time_ns // _NS_PER_MS - 1_000
    signals = read(directory, since=since, types=[EventType.SIGNAL_GENERATED])
    return [record for record in signals if record.sequence == planned.sequence - 1]


def _part_about(data: dict[str, Any], client_id: str) -> dict[str, Any]:
    """Leave out other orders and their fills, where a record tells of the whole account."""
    return {
        name: [item for item in value if _dict(item).get("client_id", client_id) == client_id]
        if isinstance(value, list)
        else value
        for name, value in data.items()
    }


def _steps(records: list[Record], client_id: str) -> tuple[Step, ...]:
    """The records as steps, each of which tells what the ones before have not told."""
    before = records[0].time_ns if records else 0
    told: dict[str, Any] = {}
    steps = []
    for record in records:
        data = _part_about(_dict(record.data), client_id)
        same = (n for n, value in data.items() if n not in _AGAIN and told.get(n) == value)
        text = describe(data or record.data, leave_out=_KNOWN.union(same))
        told |= data
        steps.append(
            Step(record.sequence, record.time_ns, record.time_ns - before, record.type, text)
        )
        before = record.time_ns
    return tuple(steps)


def _latencies(
    asked: list[Record], own: list[Record], others: dict[str, list[Record]]
) -> dict[str, int]:
    """Time between the stages that were reached, of the whole way, and until it was protected."""
    first_of: dict[str, int] = {}
    for record in own:
        first_of.setdefault(record.type, record.time_ns)
    reached = [("signal", record.time_ns) for record in asked]
    reached += [(name, first_of[kind]) for name, kind in _STAGES if kind in first_of]
    found = {f"{a} to {b}": to - since for (a, since), (b, to) in pairwise(reached)}
    if len(reached) > 2:
        found[f"{reached[0][0]} to {reached[-1][0]}"] = reached[-1][1] - reached[0][1]
    confirmed = [
        record.time_ns
        for name, about in others.items()
        for record in about
        if record.type == EventType.ORDER_ACKNOWLEDGED
        and _is_about(record, name)
        and _purpose(about, name) == "stop"
    ]
    if EventType.FILL in first_of and confirmed:
        found["filled to protected"] = min(confirmed) - first_of[EventType.FILL]
    return found


def _purpose(about: list[Record], client_id: str) -> str:
    """What an order was planned for; its client id says so, too."""
    planned = [r.data for r in about if r.type == EventType.ORDER_PLANNED]
    mine = [data for data in planned if _dict(data).get("client_id") == client_id]
    return str(_dict(mine[0]).get("purpose", "")) if mine else client_id.rpartition("-")[2]


def _told_of(client_id: str, about: list[Record]) -> RelatedOrder:
    status = "planned"
    for record in about:
        if _is_about(record, client_id):
            said = _dict(record.data).get("status") or _WITHOUT_STATUS.get(record.type)
            status = str(said or status)
    return RelatedOrder(client_id, _purpose(about, client_id), status)
