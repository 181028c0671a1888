"""What it costs to write something down: the journal, the log, a log call that says nothing."""

from __future__ import annotations

import logging
import logging.handlers
import queue
import tempfile

from benchmarks.rows import Row
from benchmarks.timing import in_turns, progress
from candlewick.audit import AuditLogger
from candlewick.models import Order, OrderType, Side

AREA = "guidelines"
_COUNT = 20_000
_ORDER = Order("cw-run-1-e", "BTCUSDT", Side.BUY, OrderType.MARKET, 0.5)


def silent() -> list[Row]:
    """Log calls below the level."""
    progress("records: log calls that say nothing")
    log = logging.getLogger("candlewick.benchmarks.silent")
    log.setLevel(logging.INFO)

    def arguments() -> None:
        for _ in range(_COUNT):
            log.debug("sending %s", _ORDER)

    def formatted() -> None:
        for _ in range(_COUNT):
            log.debug(f"sending {_ORDER}")

    taken = in_turns({"arguments": arguments, "formatted": formatted})
    return [
        Row(
            area=AREA, name='log.debug("... %s", order) below the level',
            value=taken["arguments"].each_ns(_COUNT) / 1e3, unit="µs", better="lower",
            peer="with an f-string", peer_value=taken["formatted"].each_ns(_COUNT) / 1e3,
        )
    ]  # fmt: skip


def written() -> list[Row]:
    """A record of ten fields in the journal, beside a line through a queue to a log file."""
    progress("records: the journal, and a log file behind a queue")
    fields = {f"field_{number}": number * 1.5 for number in range(10)}
    with (
        tempfile.TemporaryDirectory(dir=".") as folder,
        AuditLogger(f"{folder}/journal") as journal,
    ):
        records: queue.Queue[logging.LogRecord] = queue.Queue(_COUNT)
        log = logging.getLogger("candlewick.benchmarks.written")
        log.setLevel(logging.INFO)
        log.propagate = False
        handler = logging.handlers.QueueHandler(records)
        log.addHandler(handler)
        file = logging.FileHandler(f"{folder}/log.txt")
        listener = logging.handlers.QueueListener(records, file)

        def journaled() -> None:
            for _ in range(_COUNT):
                journal.log_event("note", fields)

        def queued() -> None:
            listener.start()
            for _ in range(_COUNT):
                log.info("%s", fields)
            listener.stop()  # the lines are in the file, as the records are in the journal

        taken = in_turns({"journal": journaled, "queue": queued})
        log.removeHandler(handler)
        file.close()
    return [
        Row(
            area=AREA, name="a record of 10 fields in the journal",
            value=taken["journal"].each_ns(_COUNT) / 1e3, unit="µs", better="lower",
            peer="QueueHandler, QueueListener and a file",
            peer_value=taken["queue"].each_ns(_COUNT) / 1e3,
        )
    ]  # fmt: skip


def rows() -> list[Row]:
    """All of this topic."""
    return [*silent(), *written()]
