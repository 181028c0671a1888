"""`AuditLogger`: writes the journal. A record is in the kernel before `log_event` returns."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from candlewick.audit.encoding import Encoder
from candlewick.audit.events import EventType, JournalState
from candlewick.audit.held import HeldLines
from candlewick.audit.keeper import Keeper
from candlewick.audit.lock import take_directory
from candlewick.audit.naming import NEXT, SegmentNames, sync_directory
from candlewick.audit.open_journals import open_journals
from candlewick.audit.recovery import KEPT_IN_RECORD, End, find_end
from candlewick.audit.segment import Segment
from candlewick.audit.stats import JournalStats, Latencies
from candlewick.errors import ConfigError, JournalError

__all__ = ["AuditLogger"]

FORMAT = 1
_SAMPLE = 63  # one record in 64 is timed
_HELD_BYTES = 16 * 1024 * 1024
_SECOND_NS = 1_000_000_000
_AROUND_DATA = 320  # bytes of a line that are not its data, at most
_LONGEST_TYPE = 100

Durability = Literal["async", "sync"]


class AuditLogger:
    """The journal of one process; any thread may write to it.

    Args:
        directory: holds the files; made when missing. One process writes it at a time.
        run_id: stands in each file's first record.
        durability: "async" syncs to the disk in the background every ``sync_interval_s``; "sync"
            waits for the disk in every call.
        segment_bytes: size of one file; a new one begins there and at UTC midnight.
        sync_interval_s: see ``durability``.
        on_state: called with (state, reason) when the journal runs out of room or recovers, from
            another thread.
        on_anchor: called with (day, sequence, hash) when a day's last record is known, and at the
            end, from another thread.
        clock: UTC nanoseconds.

    Raises:
        JournalError: the directory cannot be written, belongs to another process, or ends with
            something that is not a record.
    """

    __slots__ = (
        "__weakref__", "_active", "_busy", "_clock", "_day_end", "_deferred",
        "_directory_lock", "_encode", "_encoder", "_hash", "_heads", "_held", "_keeper",
        "_last_ns", "_lock", "_lost", "_names", "_nearly_full", "_on_anchor", "_on_state",
        "_opened_after", "_owner", "_sealed_bytes", "_segment_bytes", "_segments", "_sequence",
        "_sync_each", "_writes", "directory", "run_id", "state",
    )  # fmt: skip

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
        if not sync_interval_s > 0.0:
            raise ConfigError(f"sync_interval_s {sync_interval_s!r} must be above 0")
        self.directory = Path(directory)
        self.run_id = run_id
        self.state = JournalState.OK
        self._sync_each = durability == "sync"
        self._segment_bytes = segment_bytes
        self._nearly_full = segment_bytes - _AROUND_DATA
        self._on_state = on_state
        self._on_anchor = on_anchor
        self._clock = clock
        self._encoder = Encoder()
        self._encode = self._encoder.encode
        self._heads: dict[str, bytes] = {}
        self._lock = threading.RLock()
        self._busy = False  # a record is being written; a signal handler may come in between
        # realtime: allow RT103 - what signal handlers record; the next record takes them all
        self._deferred: deque[tuple[str, bytes]] = deque()
        self._held = HeldLines(_HELD_BYTES)
        self._lost = 0
        self._segments = self._sealed_bytes = 0
        self._writes = Latencies()
        self._owner = os.getpid()
        self._directory_lock = take_directory(self.directory)
        try:
            self._open(sync_interval_s)
        except OSError as error:
            self._directory_lock.release()
            raise JournalError(
                f"no journal file can be made in {self.directory}: {error.strerror};"
                " free some space or choose another directory"
            ) from error
        except BaseException:
            self._directory_lock.release()
            raise
        open_journals.add(self)

    # -- opening ---------------------------------------------------------------------------------

    def _open(self, sync_interval_s: float) -> None:
        end = find_end(self.directory)
        self._sequence = self._opened_after = end.sequence
        self._hash = end.hash
        self._last_ns = end.time_ns
        now = self._clock()
        self._names = SegmentNames(self.directory, now, end.day)
        self._day_end = self._names.end_ns
        self._active = Segment(self._names.next(now), self._segment_bytes)
        try:
            sync_directory(self.directory)
            self._write_opening(end, now)
            end.cut()
        except BaseException:
            self._active.close()
            raise
        self._keeper = Keeper(
            self.directory, self._active, self._make_segment, sync_interval_s, self._on_health
        )

    def _write_opening(self, end: End, now: int) -> None:
        """Say in the new segment what was found: the end, the torn tail, a clock set back."""
        after = "closed" if end.closed else "killed" if end.sequence else "nothing"
        opened = self._head() | {"process": os.getpid(), "after": after}
        self._append(EventType.JOURNAL_OPENED, self._encode(opened), max(now, self._last_ns))
        if end.torn:
            text = end.torn[:KEPT_IN_RECORD].decode(errors="replace")
            torn = {"bytes": len(end.torn), "kept": end.kept, "text": text}
            self._append(EventType.JOURNAL_TORN_TAIL, self._encode(torn), self._last_ns)
        if now < self._last_ns:
            self._set_back(now)

    def _head(self) -> dict[str, Any]:
        """What the first record of a segment says: enough to verify it without those before."""
        return {
            "format": FORMAT,
            "run_id": self.run_id,
            "segment_bytes": self._segment_bytes,
            "previous": self._hash.decode(),
        }

    def _make_segment(self) -> Segment:
        return Segment(self.directory / NEXT, self._segment_bytes)

    # -- writing ---------------------------------------------------------------------------------

    def log_event(self, event_type: EventType | str, data: Any = None) -> int:
        """Write one record and return its sequence number.

        The data is encoded now: later changes to it do not alter the record. What cannot be
        encoded is recorded by its repr. Returns 0 for a record that was lost because there is
        no room on the disk and no more in memory, and for one from a signal handler that came in
        the middle of another record: this one follows at once.

        Raises:
            JournalError: the journal is stopped, or belongs to the parent of this process.
        """
        began = 0 if self._sequence & _SAMPLE else time.perf_counter_ns()
        encoded = self._encode(data)
        with self._lock:
            if self._busy:
                self._deferred.append((event_type, encoded))
                return 0
            self._busy = True
            try:
                now = self._clock()
                segment = self._active
                start = segment.position
                head = self._heads.get(event_type)
                if (
                    head is None
                    or now < self._last_ns
                    or now >= self._day_end
                    or start + len(encoded) > self._nearly_full
                    or self._held.bytes
                ):
                    sequence = self._append(event_type, encoded)
                else:  # what `_append` does, in the usual case, without the calls
                    sequence = self._sequence + 1
                    body = b'{"seq":%d,"time_ns":%d%b%b' % (sequence, now, head, encoded)
                    digest = sha256(self._hash + body).hexdigest().encode()
                    line = b'%b,"hash":"%b"}' % (body, digest)
                    try:
                        end = start + len(line)
                        memory = segment.memory
                        memory[start:end] = line
                        memory[end] = 10
                        segment.position = end + 1
                        self._sequence = sequence
                        self._hash = digest
                        self._last_ns = now
                    except BaseException:
                        self._complete(segment, start, line)
                        self._advance(digest, sequence, now)
                        raise
                while self._deferred:
                    self._append(*self._deferred.popleft())
            finally:
                self._busy = False
        if began:
            self._writes.add(time.perf_counter_ns() - began)
        if self._sync_each:
            self._sync()
        return sequence

    def _append(self, event_type: str, encoded: bytes, now: int = 0) -> int:
        """Make the next line of the chain and hand it to the kernel.

        Without a time the record gets the clock's, and goes into the file where it belongs.
        """
        if not now:
            now = self._clock()
            if now < self._last_ns:
                now = self._set_back(now)
            if now >= self._day_end or self._active.position + len(encoded) > self._nearly_full:
                self._rotate(now)
        head = self._heads.get(event_type) or self._learn_type(event_type)
        sequence = self._sequence + 1
        body = b'{"seq":%d,"time_ns":%d%b%b' % (sequence, now, head, encoded)
        digest = sha256(self._hash + body).hexdigest().encode()
        line = b'%b,"hash":"%b"}' % (body, digest)
        segment = self._active
        start = segment.position
        try:
            if self._held.bytes:
                return self._hold(line, digest, sequence, now)
            segment.append(line)
            self._advance(digest, sequence, now)
        except OSError as error:
            self._set_state(JournalState.WITHOUT_ROOM, error.strerror or str(error))
            return self._hold(line, digest, sequence, now)
        except BaseException:
            self._complete(segment, start, line)
            self._advance(digest, sequence, now)
            raise
        return sequence

    @staticmethod
    def _complete(segment: Segment, start: int, line: bytes) -> None:
        """Ctrl+C came in the middle: the record is written all the same."""
        segment.position = start
        segment.append(line)

    def _advance(self, digest: bytes, sequence: int, now: int) -> None:
        self._sequence = sequence
        self._hash = digest
        self._last_ns = now

    def _learn_type(self, event_type: str) -> bytes:
        """Encode an event's type once; it can be any text, and is cut where it is too long."""
        name = self._encode(str(event_type)[:_LONGEST_TYPE])
        head = b',"type":%b,"data":' % name
        if len(self._heads) < 1_000:
            self._heads[event_type] = head
        return head

    def _set_back(self, now: int) -> int:
        """The clock runs behind the last record: wait for it, or record that it was set back."""
        last = self._last_ns
        if last - now <= _SECOND_NS:
            return last
        stepped = {"from_ns": last, "to_ns": now}
        self._append(EventType.JOURNAL_CLOCK_STEPPED, self._encode(stepped), now)
        return now

    def _rotate(self, now: int, *, head: bool = True) -> bool:
        """Go on in the prepared segment; False when there is none."""
        if self.state is JournalState.CLOSED:
            raise self._closed_error()
        keeper = self._keeper
        if not keeper.has_ready:
            return False
        old, day = self._active, self._names.day
        path = self._names.next(now)
        if self._names.day != day:
            self._anchor(day)
        self._day_end = self._names.end_ns
        self._active = keeper.take(path)
        self._segments += 1
        self._sealed_bytes += old.position
        if head:
            self._append(EventType.JOURNAL_SEGMENT, self._encode(self._head()), now)
        keeper.retire(old)
        return True

    def _anchor(self, day: str) -> None:
        if self._on_anchor is not None:
            hook, sequence, digest = self._on_anchor, self._sequence, self._hash.decode()
            self._keeper.call(lambda: hook(day, sequence, digest))

    def _sync(self) -> None:
        try:
            self._keeper.flush()
        except OSError as error:
            self._set_state(JournalState.WITHOUT_ROOM, error.strerror or str(error))

    # -- a full disk -----------------------------------------------------------------------------

    def _hold(self, line: bytes, digest: bytes, sequence: int, now: int) -> int:
        """Keep a line in memory; once one waits there, all later ones wait behind it."""
        if not self._held.add(line):
            self._lost += 1
            return 0
        self._advance(digest, sequence, now)
        return sequence

    def _on_health(self, error: OSError | None) -> None:
        """Called by the keeper after each round: what was wrong may be over."""
        if error is not None:
            self._set_state(JournalState.WITHOUT_ROOM, error.strerror or str(error))
        elif self.state is JournalState.WITHOUT_ROOM and self._write_held():
            with self._lock:
                if self.state is not JournalState.WITHOUT_ROOM or self._held.bytes:
                    return
                lost, self._lost = self._lost, 0
                self._set_state(JournalState.OK, "there is room again")
                recovered = self._encode({"lost": lost})
                self._append(EventType.JOURNAL_RECOVERED, recovered, self._last_ns)

    def _write_held(self) -> bool:
        """Write what waited in memory, in order; False when there is no room for it yet.

        A few lines at a time, so that nobody who records something waits for long.
        """
        while self._held.bytes:
            with self._lock:
                for _ in range(min(len(self._held), 100)):
                    line = self._held.first
                    if self._active.position + len(line) >= self._segment_bytes:
                        self._rotate(self._last_ns, head=False)
                    try:
                        self._active.append(line)
                    except OSError:
                        return False
                    self._held.drop_first()
        return True

    def _set_state(self, state: JournalState, reason: str) -> None:
        with self._lock:
            if self.state is JournalState.CLOSED or self.state is state:
                return
            self.state = state
            if self._on_state is not None:
                hook = self._on_state
                self._keeper.call(lambda: hook(state, reason))

    # -- ending ----------------------------------------------------------------------------------

    def flush(self) -> None:
        """Wait until the disk has every record written so far.

        Raises JournalError where it cannot.
        """
        if self.state is JournalState.CLOSED:
            return
        try:
            self._keeper.flush()
        except OSError as error:
            self._set_state(JournalState.WITHOUT_ROOM, error.strerror or str(error))
            raise JournalError(
                f"the journal {self.directory} cannot be written to the disk: {error.strerror}"
            ) from error

    def stop(self, timeout_s: float = 60.0) -> None:
        """Write the closing record, wait for the disk, and give the directory back. Idempotent.

        Raises JournalError when records are not on the disk, at the latest after ``timeout_s``.
        A file whose last records found no room ends as that of a killed process does.
        """
        with self._lock:
            if self.state is JournalState.CLOSED:
                return
            self._write_held()
            closing = {"records": self._sequence - self._opened_after + 1, "lost": self._lost}
            self._busy = True
            try:
                self._append(EventType.JOURNAL_CLOSED, self._encode(closing))
                while self._deferred:
                    self._append(*self._deferred.popleft())
                    self._append(EventType.JOURNAL_CLOSED, self._encode(closing))
            finally:
                self._busy = False
                self.state = JournalState.CLOSED
                self._day_end = 0  # every later record goes to `_rotate`, which refuses it
            self._anchor(self._names.day)
        missing = len(self._held) + self._lost
        self._keeper.stop(timeout_s, is_whole=not self._held.bytes)
        self._directory_lock.release()
        open_journals.discard(self)
        error = next(iter(self._keeper.errors.values()), None)
        if missing or error is not None:
            what = f"lacks {missing:,} records" if missing else "may lack its last records"
            reason = f"{error.strerror}" if error else "there is no room on the disk"
            raise JournalError(f"the journal {self.directory} {what}: {reason}")

    def stats(self) -> JournalStats:
        """Return the figures as they are now."""
        keeper, writes, syncs = self._keeper, self._writes, self._keeper.syncs
        error = next(iter(keeper.errors.values()), None)
        return JournalStats(
            records=self._sequence - self._opened_after,
            bytes=self._sealed_bytes + self._active.position,
            segments=self._segments + 1,
            held=len(self._held),
            lost=self._lost,
            encoding_failures=self._encoder.failures,
            write_ns_last=writes.last,
            write_ns_max=writes.longest,
            write_ns_total=writes.total,
            write_latency=tuple(writes.by_bit_length),
            syncs=syncs.count,
            sync_ns_last=syncs.last,
            sync_ns_max=syncs.longest,
            sync_ns_total=syncs.total,
            sync_latency=tuple(syncs.by_bit_length),
            sync_lag_s=keeper.lag_s,
            state=self.state,
            error=str(error) if error is not None else "",
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

    def _closed_error(self) -> JournalError:
        if self._owner != os.getpid():
            return JournalError(
                f"the journal {self.directory} belongs to process {self._owner}, from which this"
                " one was forked; open another journal here"
            )
        return JournalError(f"the journal {self.directory} is stopped; nothing can be recorded")

    def disown(self) -> None:
        """In a forked child the journal is the parent's: refuse all records."""
        self.state = JournalState.CLOSED
        self._day_end = 0
        self._lock = threading.RLock()
        self._busy = False
        self._keeper.abandon()
        self._directory_lock.abandon()
