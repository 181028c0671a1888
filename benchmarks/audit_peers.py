"""`python -m benchmarks.audit_peers PEER MODE DIR`: one logger in a process of its own.

MODE is ``full`` (as fast as it goes) or ``paced`` (1,000 records a second). Prints JSON: records a
second until the kernel has all of them, and the caller's latencies in nanoseconds.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import queue
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.timing import percentile

Log = Callable[[str, dict[str, Any]], object]
Stop = Callable[[], object]
Peer = tuple[Log, Stop, Stop]  # log, wait until the kernel has all, close

DATA: dict[str, Any] = {
    "client_id": "cw-run1-000123-entry", "symbol": "BTCUSDT", "side": "buy", "type": "limit",
    "quantity": 0.125, "price": 42_000.5, "filled": 0.0, "status": "sent",
    "time": 1_700_000_000_000, "reduce_only": False,
}  # fmt: skip
FULL = {  # about a second of each; ours fills several files meanwhile
    "candlewick": 300_000, "json + write": 150_000, "QueueHandler": 50_000, "loguru": 10_000,
    "structlog": 75_000, "picologging": 75_000,
}  # fmt: skip
PACED = 1_500
WARM_UP = 2_000


def _nothing() -> None:
    pass


def candlewick(directory: Path) -> Peer:
    """Ours: sequence, SHA-256 chain, in the kernel when the call returns."""
    from candlewick.audit import AuditLogger

    journal = AuditLogger(directory)
    return journal.log_event, _nothing, journal.stop


def write(directory: Path) -> Peer:
    """json.dumps and a write that reaches the kernel, on the caller's thread."""
    file = (directory / "log.jsonl").open("w")

    def log(name: str, data: dict[str, Any]) -> None:
        file.write(json.dumps({"time_ns": time.time_ns(), "type": name, "data": data}) + "\n")
        file.flush()

    return log, _nothing, file.close


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(
            {"time_ns": int(record.created * 1e9), "type": record.msg, "data": record.data}  # type: ignore[attr-defined]
        )


def queue_handler(directory: Path) -> Peer:
    """The standard library's advice: QueueHandler, QueueListener, a file handler behind them."""
    handler = logging.FileHandler(directory / "log.jsonl")
    handler.setFormatter(_JsonFormatter())
    waiting: queue.Queue[Any] = queue.Queue(-1)
    logger = logging.Logger("bench")
    logger.addHandler(logging.handlers.QueueHandler(waiting))
    listener = logging.handlers.QueueListener(waiting, handler)
    listener.start()

    def log(name: str, data: dict[str, Any]) -> None:
        logger.info(name, extra={"data": data})

    return log, listener.stop, _nothing


def loguru(directory: Path) -> Peer:
    """loguru, serialized, with a queue and a thread of its own."""
    from loguru import logger

    logger.remove()
    logger.add(directory / "log.jsonl", enqueue=True, serialize=True, format="{message}")

    def log(name: str, data: dict[str, Any]) -> None:
        logger.bind(**data).info(name)

    return log, logger.complete, logger.remove


def structlog(directory: Path) -> Peer:
    """structlog with its JSON renderer, to a file, flushed each time as its logger does."""
    import structlog as library

    file = (directory / "log.jsonl").open("w")
    logger = library.wrap_logger(
        library.WriteLogger(file),
        processors=[library.processors.TimeStamper(), library.processors.JSONRenderer()],
    )

    def log(name: str, data: dict[str, Any]) -> None:
        logger.info(name, **data)

    return log, _nothing, file.close


def picologging(directory: Path) -> Peer:
    """picologging's queue handler and listener, with a line of JSON as the message."""
    import picologging as library
    from picologging import handlers

    target = library.FileHandler(str(directory / "log.jsonl"))
    target.setFormatter(library.Formatter('{"time":%(created)f,"data":%(message)s}'))
    waiting: queue.Queue[Any] = queue.Queue(-1)
    logger = library.Logger("bench", library.INFO)
    logger.addHandler(handlers.QueueHandler(waiting))
    listener = handlers.QueueListener(waiting, target)
    listener.start()

    def log(name: str, data: dict[str, Any]) -> None:
        logger.info(json.dumps(data))

    return log, listener.stop, _nothing


PEERS: dict[str, Callable[[Path], Peer]] = {
    "candlewick": candlewick,
    "json + write": write,
    "QueueHandler": queue_handler,
    "loguru": loguru,
    "structlog": structlog,
    "picologging": picologging,
}
MODULES = {"loguru": "loguru", "structlog": "structlog", "picologging": "picologging"}


def measure(name: str, mode: str, directory: Path) -> dict[str, float]:
    """Log, and say how long it took."""
    log, drain, close = PEERS[name](directory)
    count = FULL[name] if mode == "full" else PACED
    for _ in range(WARM_UP):
        log("order_planned", DATA)
    taken = [0] * count
    clock = time.perf_counter_ns
    began = due = clock()
    for number in range(count):
        if mode == "paced":
            due += 1_000_000
            while clock() < due:
                time.sleep(max(0.0, (due - clock()) / 1e9))
        start = clock()
        log("order_planned", DATA)
        taken[number] = clock() - start
    drain()
    elapsed_s = (clock() - began) / 1e9
    close()
    return {
        "rate": count / elapsed_s,
        "median": percentile(taken, 0.5),
        "p99": percentile(taken, 0.99),
        "p99.9": percentile(taken, 0.999),
        "max": max(taken),
    }


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], sys.argv[2], Path(sys.argv[3]))))
