"""The application log: for people, on the console and in a rotating file, never in the way.

Records pass a bounded queue to a listener thread. When the queue is full, records are counted and
left out, and the count is reported: the log may lose lines, the journal may not.
"""

from __future__ import annotations

import logging
import logging.handlers
import queue
import re
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import IO

from candlewick.errors import ConfigError

__all__ = ["LogSystem", "hide", "redacted"]

_CAPACITY = 10_000
_PATIENCE_S = 10.0
_FILE_BYTES = 10 * 1024 * 1024
_FILES = 5
_NAMED = re.compile(
    r"(?i)(?<!/)((?:api[_-]?key|x-mbx-apikey|secret|signature|listen[_-]?key|token|password|passphrase)"
    r"[\"']?\s*[=:]\s*[\"']?)([^\s\"'&,;}]+)"
)
_HIDDEN: set[str] = set()


def hide(secret: str) -> None:
    """Never let this text appear in the log."""
    if len(secret) >= 6:
        _HIDDEN.add(secret)


def redacted(text: str) -> str:
    """Replace what is known or looks like a secret by ``***``."""
    for secret in _HIDDEN:
        text = text.replace(secret, "***")
    return _NAMED.sub(r"\1***", text)


class _Formatter(logging.Formatter):
    @staticmethod
    def converter(seconds: float | None) -> time.struct_time:
        return time.gmtime(seconds)

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


class _BoundedHandler(logging.handlers.QueueHandler):
    """Puts records into a bounded queue without ever waiting."""

    dropped = 0

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1


class _PatientListener(logging.handlers.QueueListener):
    """Waits for room for its last word: at the end nothing is in a hurry."""

    def enqueue_sentinel(self) -> None:
        self.queue.put(None, timeout=_PATIENCE_S)  # type: ignore[attr-defined]


class LogSystem:
    """Sets up logging for a program; a context manager that flushes at its end.

    Args:
        level: the least severe level that is shown.
        file: a rotating file (10 MiB, five of them); None for the console only.
        stream: the console; standard error by default.
    """

    def __init__(
        self, level: str = "info", file: str | Path | None = None, stream: IO[str] | None = None
    ) -> None:
        self._queue: queue.Queue[logging.LogRecord] = queue.Queue(_CAPACITY)
        self._handler = _BoundedHandler(self._queue)
        console = logging.StreamHandler(stream or sys.stderr)
        console.setFormatter(_Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
        handlers: list[logging.Handler] = [console]
        if file:
            handlers.append(self._file_handler(Path(file)))
        self._handlers = handlers
        self._listener = _PatientListener(self._queue, *handlers)
        self._root = logging.getLogger("candlewick")
        self._root.setLevel(level.upper())

    def _file_handler(self, path: Path) -> logging.Handler:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handler = logging.handlers.RotatingFileHandler(
                path, maxBytes=_FILE_BYTES, backupCount=_FILES, encoding="utf-8"
            )
        except OSError as error:
            raise ConfigError(f"the log file {path} cannot be written: {error.strerror}") from error
        handler.setFormatter(
            _Formatter(
                "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S"
            )
        )
        return handler

    @property
    def dropped(self) -> int:
        """How many records found the queue full."""
        return self._handler.dropped

    def start(self) -> None:
        """Take over the log of the package."""
        self._root.addHandler(self._handler)
        self._root.propagate = False
        self._listener.start()

    def stop(self) -> None:
        """Write out what is queued, and give the log back."""
        self._root.removeHandler(self._handler)
        self._root.propagate = True
        self._listener.stop()
        if self.dropped:
            self._handlers[0].handle(
                self._root.makeRecord(
                    self._root.name, logging.WARNING, "", 0,
                    "%d log records were left out: the queue was full", (self.dropped,), None,
                )
            )  # fmt: skip
        for handler in self._handlers:
            handler.close()

    def __enter__(self) -> LogSystem:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
