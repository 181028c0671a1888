"""`Keeper`: the thread that does what may wait for the disk: prepare, name, sync, seal segments.

The writer of records never waits for it: what passes between the two are queues that neither side
can block. Callbacks of the journal's owner are called from here too.
"""

from __future__ import annotations

import errno
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from candlewick.audit.naming import sync_directory
from candlewick.audit.segment import Segment
from candlewick.audit.stats import Latencies

__all__ = ["Keeper"]

_RETRY_S = 1.0
_log = logging.getLogger(__name__)


class Keeper:
    """Has one segment ready, seals used ones, and syncs the active one.

    Args:
        directory: of the journal.
        active: the segment that records go to now.
        make: makes the next segment; OSError when there is no room.
        sync_interval_s: how long written records may be without a sync.
        on_health: told after each round of work: None when all is well, or the error that keeps
            coming back.
    """

    def __init__(
        self,
        directory: Path,
        active: Segment,
        make: Callable[[], Segment],
        sync_interval_s: float,
        on_health: Callable[[OSError | None], None],
    ) -> None:
        self.syncs = Latencies()
        self.errors: dict[str, OSError] = {}
        self._directory = directory
        self._active = active
        self._make = make
        self._interval_s = sync_interval_s
        self._on_health = on_health
        # realtime: allow RT103 - holds wake-ups, which the keeper takes all at once
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        # realtime: allow RT103 - one segment
        self._ready: deque[Segment] = deque()
        # realtime: allow RT103 - one segment: no other is prepared before it has its name
        self._names: deque[tuple[Segment, Path]] = deque()
        # realtime: allow RT103 - as many segments as were prepared
        self._used: deque[Segment] = deque()
        # realtime: allow RT103 - one for each change of state and each day
        self._calls: deque[Callable[[], object]] = deque()
        self._disk = threading.Lock()  # one thread at a time waits for the disk
        self._clean_since = time.monotonic()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="journal-keeper", daemon=True)
        self._thread.start()

    # -- called by the writer: none of these waits -----------------------------------------------

    @property
    def has_ready(self) -> bool:
        """True when a prepared segment can be taken."""
        return bool(self._ready)

    def take(self, path: Path) -> Segment:
        """Take the prepared segment, which gets this name; records go to it from now on."""
        segment = self._ready[0]
        self._names.append((segment, path))  # first: nothing is prepared before it has its name
        self._active = segment
        self._ready.popleft()
        return segment

    def retire(self, segment: Segment) -> None:
        """Seal a segment that records do not go to any more, and prepare the next one."""
        self._used.append(segment)
        self._wake.put(None)

    def call(self, function: Callable[[], object]) -> None:
        """Call this from the keeper's thread."""
        self._calls.append(function)
        self._wake.put(None)

    @property
    def lag_s(self) -> float:
        """How long the oldest record that is not on the disk may have waited, seconds."""
        if not self._used and not self._active.is_dirty:
            return 0.0
        return time.monotonic() - self._clean_since

    # -- called by anybody who can wait ----------------------------------------------------------

    def flush(self) -> None:
        """Wait until the disk has all records written so far; raises OSError."""
        with self._disk:
            self._name_segments()
            self._seal_used()
            self._sync_active()

    def stop(self, timeout_s: float, *, is_whole: bool = True) -> None:
        """Seal the active segment, finish what was asked for, and end the thread.

        One that is not ``is_whole``, because records are missing behind it, keeps the zeros that
        say so.
        After ``timeout_s`` seconds the disk counts as hanging, which is one of `errors`.
        """
        self._active.keeps_zeros = not is_whole
        self._used.append(self._active)
        self._stopping = True
        self._wake.put(None)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            message = f"the disk has not answered for {timeout_s:g} s"
            self.errors["stop"] = OSError(errno.ETIMEDOUT, message)
            return
        for what in ("prepare", "sync"):  # there is nothing to prepare any more; sealing syncs
            self.errors.pop(what, None)
        while self._ready:
            self._ready.popleft().discard()

    def abandon(self) -> None:
        """In a forked child: close the files, which are the parent's."""
        for segment in (self._active, *self._ready, *self._used):
            if not segment.sealed:
                segment.close()

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            stopping = self._stopping
            try:
                self._round(stopping)
            except Exception as error:  # noqa: BLE001 - without it nothing reaches the disk
                _log.exception("the keeper of the journal %s failed", self._directory)
                self.errors["keeper"] = OSError(errno.EIO, f"the keeper failed: {error!r}")
                self._on_health(self.errors["keeper"])
            if stopping:
                return
            if self._stopping:
                continue
            try:
                self._wake.get(timeout=self._patience())
                while True:
                    self._wake.get_nowait()
            except queue.Empty:
                pass

    def _patience(self) -> float:
        return min(_RETRY_S, self._interval_s) if self.errors else self._interval_s

    def _round(self, stopping: bool) -> None:
        self.errors.pop("keeper", None)
        with self._disk:
            self._try("name", self._name_segments)
            self._try("seal", self._seal_used)
        if not stopping:
            if not self._ready and not self._names:
                self._try("prepare", self._prepare)
            if time.monotonic() - self._clean_since >= self._interval_s:
                with self._disk:
                    self._try("sync", self._sync_active)
        self._on_health(next(iter(self.errors.values()), None))
        while self._calls:
            function = self._calls.popleft()
            try:
                function()
            except Exception:  # noqa: BLE001 - a hook that fails must not end the thread
                _log.exception("a hook of the journal %s raised", self._directory)

    def _try(self, what: str, work: Callable[[], None]) -> None:
        try:
            work()
        except OSError as error:
            self.errors[what] = error
        else:
            self.errors.pop(what, None)

    def _prepare(self) -> None:
        segment = self._make()
        try:
            sync_directory(self._directory)
        except OSError:
            segment.discard()
            raise
        self._ready.append(segment)

    def _name_segments(self) -> None:
        while self._names:
            segment, path = self._names[0]
            if segment.path != path:
                segment.rename(path)
            sync_directory(self._directory)
            self._names.popleft()

    def _seal_used(self) -> None:
        while self._used:
            self._used[0].seal()
            self._used.popleft()

    def _sync_active(self) -> None:
        now = time.monotonic()
        segment = self._active
        if segment.is_dirty:
            start = time.perf_counter_ns()
            try:
                segment.sync()
            finally:
                self.syncs.add(time.perf_counter_ns() - start)
        self._clean_since = now
