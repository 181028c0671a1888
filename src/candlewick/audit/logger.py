"""`AuditLogger`: writes the journal. A record is in the kernel before `log_event` returns."""

from __future__ import annotations

import hashlib
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import msgspec

from candlewick.audit.encoding import Encoder
from candlewick.audit.events import EventType, JournalState
from candlewick.audit.keeper import Keeper
from candlewick.audit.lock import DirectoryLock
from candlewick.audit.naming import DAY_NS, day_of, next_name
from candlewick.audit.recovery import PREPARED, find_end
from candlewick.audit.segment import Segment
from candlewick.errors import ConfigError, JournalError

__all__ = ["AuditLogger", "JournalStats"]

_FORMAT = 1
_SAMPLE = 63  # one record in 64 is timed
_HELD = 10_000
_SECOND_NS = 1_000_000_000

Durability = Literal["async", "sync"]
_OPEN: weakref.WeakSet[AuditLogger] = weakref.WeakSet()


class JournalStats(msgspec.Struct, frozen=True):
    """Figures of a journal for monitoring; ``held`` records wait for room, ``lost`` had none.

    Latencies are nanoseconds of the caller's time (one record in 64) and of `fdatasync`;
    ``write_latency[n]`` and ``sync_latency[n]`` count those of bit length ``n``, ``..._ns_total``
    is their sum. ``sync_lag_s`` is the age of the oldest record not yet on the disk.
    """

    records: int
    bytes: int
    segments: int
    held: int
    lost: int
    encoding_failures: int
    write_ns_last: int
    write_ns_max: int
    write_ns_total: int
    write_latency: tuple[int, ...]
    syncs: int
    sync_ns_last: int
    sync_ns_max: int
    sync_ns_total: int
    sync_latency: tuple[int, ...]
    sync_lag_s: float
    state: JournalState


class AuditLogger:
    """The journal of one process.

    Args:
        directory: holds the files; made when missing. One process writes it at a time.
        run_id: stands in each file's first record.
        durability: "async" syncs to the disk in the background at least every
            ``sync_interval_s``; "sync" waits for the disk in every call.
        segment_bytes: size of one file; a new one begins there and at UTC midnight.
        on_state: called with (state, reason) when the journal runs out of room or recovers; comes
            from another thread.
        on_anchor: called with (day, sequence, hash) when a day's last record is known.
        clock: UTC nanoseconds.

    Raises:
        JournalError: the directory cannot be written, belongs to another process, or ends with
            something that is not a record.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        run_id: str = "",
        durability: Durability = "async",
        segment_bytes: int = 16 * 1024 * 1024,
        sync_interval_s: float = 1.0,
        on_state: Callable[[JournalState, str], None] | None = None,
        on_anchor: Callable[[str, int, str], None] | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        if durability not in ("async", "sync"):
            raise ConfigError(f"durability {durability!r} must be 'async' or 'sync'")
        if segment_bytes < 65_536:
            raise ConfigError(f"segment_bytes {segment_bytes!r} must be at least 65536")
        self.directory = Path(directory)
        self.run_id = run_id
        self.state = JournalState.OK
        self._sync_each = durability == "sync"
        self._segment_bytes = segment_bytes
        self._on_state = on_state
        self._on_anchor = on_anchor
        self._clock = clock
        self._encode = Encoder()
        self._lock = threading.Lock()
        self._held: deque[bytes] = deque(maxlen=_HELD)
        self._lost = 0
        self._records = self._bytes = self._segments = self._prepared = 0
        self._write_ns_last = self._write_ns_max = self._write_ns_total = 0
        self._write_latency = [0] * 64
        self._directory_lock = self._take_directory()
        self._open(sync_interval_s)

    # -- opening -----------------------------------------------------------------------------------

    def _take_directory(self) -> DirectoryLock:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            return DirectoryLock(self.directory)
        except OSError as error:
            raise JournalError(
                f"the journal directory {self.directory} cannot be written: {error.strerror};"
                " check its permissions or choose another with --journal"
            ) from error

    def _open(self, sync_interval_s: float) -> None:
        try:
            end = find_end(self.directory)
            self._sequence = end.sequence
            self._hash = end.hash
            self._last_ns = end.time_ns
            now = max(self._clock(), self._last_ns)
            self._start_day(now)
            self._active = Segment(next_name(self.directory, self._day), self._segment_bytes)
        except OSError as error:
            self._directory_lock.release()
            raise JournalError(
                f"no journal file can be made in {self.directory}: {error.strerror};"
                " free some space or choose another directory"
            ) from error
        except BaseException:
            self._directory_lock.release()
            raise
        self._number = int(self._active.path.name.split(".")[1])
        self._keeper = Keeper(self._make_segment, sync_interval_s, self._room_changed)
        self._keeper.activate(self._active)
        _OPEN.add(self)
        resumed = end.sequence > 0
        self._head(resumed=resumed)
        if end.torn:
            self.log_event(
                EventType.JOURNAL_TORN_TAIL,
                {"bytes": len(end.torn), "text": end.torn[:4096].decode(errors="replace")},
            )

    def _start_day(self, now_ns: int) -> None:
        self._day = day_of(now_ns)
        self._day_end = (now_ns // DAY_NS + 1) * DAY_NS

    def _make_segment(self) -> Segment:
        self._prepared += 1
        path = self.directory / f"{os.getpid()}-{self._prepared}{PREPARED}"
        return Segment(path, self._segment_bytes)

    def _head(self, *, resumed: bool) -> None:
        """Write the first record of a segment."""
        kind = EventType.JOURNAL_OPENED if self._segments == 0 else EventType.JOURNAL_SEGMENT
        self._segments += 1
        self.log_event(
            kind,
            {"format": _FORMAT, "run_id": self.run_id, "process": os.getpid(), "resumed": resumed},
        )

    # -- writing ---------------------------------------------------------------------------------

    def log_event(self, event_type: EventType | str, data: Any = None) -> int:
        """Write one record and return its sequence number.

        The data is encoded now: later changes to it do not alter the record. What cannot be
        encoded is recorded by its repr. Returns 0 for a record that was lost because there is
        no room on the disk and no more in memory.

        Raises:
            JournalError: the journal is stopped, or belongs to the parent of this process.
        """
        start = time.perf_counter_ns() if not self._records & _SAMPLE else 0
        encoded = self._encode(data)
        with self._lock:
            sequence = self._write(event_type, encoded)
        if start:
            self._write_ns_last = taken = time.perf_counter_ns() - start
            self._write_ns_total += taken
            self._write_latency[taken.bit_length()] += 1
            if taken > self._write_ns_max:
                self._write_ns_max = taken
        if self._sync_each:
            self._active.sync()
        else:
            self._keeper.written()
        return sequence

    def _write(self, event_type: str, encoded: bytes) -> int:
        if self.state is not JournalState.OK:
            return self._write_without_room(event_type, encoded)
        now = self._clock()
        if now < self._last_ns:
            now = self._clock_stepped(now)
        if now >= self._day_end:
            self._rotate(now)
        line = self._line(event_type, now, encoded)
        if not self._active.fits(len(line)) and not self._rotate(now):
            return self._hold(line)
        self._active.append(line)
        return self._sequence

    def _line(self, event_type: str, now: int, encoded: bytes) -> bytes:
        """Make the next line of the chain."""
        self._last_ns = now
        self._sequence = sequence = self._sequence + 1
        head = f'{{"seq":{sequence},"time_ns":{now},"type":"{event_type}","data":'
        body = head.encode() + encoded
        digest = hashlib.sha256(self._hash + body).hexdigest().encode()
        self._hash = digest
        line = body + b',"hash":"' + digest + b'"}\n'
        self._records += 1
        self._bytes += len(line)
        return line

    def _clock_stepped(self, now: int) -> int:
        """Times never run backwards in the journal; a step of more than a second is recorded."""
        last = self._last_ns
        if last - now > _SECOND_NS:
            data = b'{"clock_ns":%d,"behind_ns":%d}' % (now, last - now)
            line = self._line(EventType.JOURNAL_CLOCK_STEPPED, last, data)
            if self._active.fits(len(line)):
                self._active.append(line)
            else:
                self._held.append(line)
        return last

    def _rotate(self, now: int) -> bool:
        """Go on in the prepared segment; False when there is none."""
        segment = self._keeper.take()
        if segment is None:
            return False
        old, ended = self._active, self._day
        if now >= self._day_end:
            self._start_day(now)
            self._number = 0
        self._number += 1
        segment.rename(self.directory / f"{self._day}.{self._number:04d}.jsonl")
        self._active = segment
        self._segments += 1
        self._keeper.retire(old, self._anchor_of(ended) if ended != self._day else None)
        self._keeper.activate(segment)
        return True

    def _anchor_of(self, day: str) -> Callable[[Path], None] | None:
        if self._on_anchor is None:
            return None
        hook, sequence, digest = self._on_anchor, self._sequence, self._hash.decode()
        return lambda _: hook(day, sequence, digest)

    # -- a full disk -----------------------------------------------------------------------------

    def _hold(self, line: bytes) -> int:
        self._held.append(line)
        self._set_state(JournalState.WITHOUT_ROOM, "no segment is ready")
        return self._sequence

    def _write_without_room(self, event_type: str, encoded: bytes) -> int:
        if self.state is JournalState.CLOSED:
            raise JournalError(f"the journal {self.directory} is stopped; nothing can be recorded")
        now = max(self._clock(), self._last_ns)
        # Once a record waits in memory, all later ones wait behind it: the chain has one order.
        if len(self._held) >= _HELD - 1:
            self._lost += 1
            return 0
        line = self._line(event_type, now, encoded)
        if not self._held and self._active.fits(len(line)):
            self._active.append(line)
        else:
            self._held.append(line)
        return self._sequence

    def _room_changed(self, error: OSError | None) -> None:
        """Called by the keeper when a segment is ready, or cannot be made."""
        if error is not None:
            self._set_state(JournalState.WITHOUT_ROOM, error.strerror or str(error))
            return
        with self._lock:
            if self.state is not JournalState.WITHOUT_ROOM:
                return
            if not self._write_held():
                return
            lost, self._lost = self._lost, 0
            self.state = JournalState.OK
        self.log_event(EventType.JOURNAL_RECOVERED, {"lost": lost})
        if self._on_state is not None:
            self._on_state(JournalState.OK, "there is room again")

    def _write_held(self) -> bool:
        """Write what waited in memory, in order; False when it needs one more segment."""
        while self._held:
            if not self._active.fits(len(self._held[0])) and not self._rotate(self._last_ns):
                return False
            self._active.append(self._held.popleft())
        return True

    def _set_state(self, state: JournalState, reason: str) -> None:
        if self.state is JournalState.CLOSED or self.state is state:
            return
        self.state = state
        if self._on_state is not None:
            self._on_state(state, reason)

    # -- ending ----------------------------------------------------------------------------------

    def flush(self) -> None:
        """Wait until the disk has every record written so far."""
        if self.state is not JournalState.CLOSED:
            self._active.sync()

    def stop(self) -> None:
        """Write the closing record, wait for the disk, and give the directory back. Idempotent."""
        if self.state is JournalState.CLOSED:
            return
        self.log_event(EventType.JOURNAL_CLOSED, {"records": self._records + 1})
        with self._lock:
            self._write_held()
            self.state = JournalState.CLOSED
        self._keeper.retire(self._active, self._anchor_of(self._day))
        self._keeper.stop()
        self._directory_lock.release()
        _OPEN.discard(self)
        if self._held:
            raise JournalError(
                f"{len(self._held)} records could not be written to {self.directory}:"
                " there is no room on the disk"
            )

    def stats(self) -> JournalStats:
        """Return the figures as they are now."""
        keeper = self._keeper
        return JournalStats(
            self._records,
            self._bytes,
            self._segments,
            len(self._held),
            self._lost,
            self._encode.failures,
            self._write_ns_last,
            self._write_ns_max,
            self._write_ns_total,
            tuple(self._write_latency),
            keeper.syncs,
            keeper.sync_ns_last,
            keeper.sync_ns_max,
            keeper.sync_ns_total,
            tuple(keeper.sync_latency),
            keeper.lag_s,
            self.state,
        )

    def __enter__(self) -> AuditLogger:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _disown(self) -> None:
        """In a forked child the journal is the parent's: refuse all records."""
        self.state = JournalState.CLOSED
        self._lock = threading.Lock()
        self._active.abandon()


def _after_fork() -> None:
    for journal in list(_OPEN):
        journal._disown()
    _OPEN.clear()


os.register_at_fork(after_in_child=_after_fork)
