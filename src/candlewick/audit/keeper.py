"""`Keeper`: the thread that does what may wait for the disk: prepare, sync and seal segments.

It sleeps until there is something to do, and never holds what a writer of records needs.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from candlewick.audit.segment import Segment

__all__ = ["Keeper"]

_RETRY_S = 1.0


class Keeper:
    """Prepares one segment ahead, seals used ones, and syncs the active one.

    Args:
        make: makes the next segment; OSError when there is no room.
        sync_interval_s: how long written records may be without `fdatasync`.
        on_room: told None when a segment is ready, or the error when none can be made.
    """

    def __init__(
        self,
        make: Callable[[], Segment],
        sync_interval_s: float,
        on_room: Callable[[OSError | None], None],
    ) -> None:
        self.ready: Segment | None = None
        self.syncs = 0
        self.sync_ns_last = 0
        self.sync_ns_max = 0
        self.sync_ns_total = 0
        self.sync_latency = [0] * 64  # counts by the bit length of the nanoseconds
        self.sync_error: OSError | None = None
        self._make = make
        self._interval_s = sync_interval_s
        self._on_room = on_room
        self._wake = threading.Event()
        self._stopping = False
        self._wanted = False
        self._used: deque[tuple[Segment, Callable[[Path], None] | None]] = deque(maxlen=64)
        self._active: Segment | None = None
        self._dirty_since = 0.0
        self._thread = threading.Thread(target=self._run, name="journal-keeper", daemon=True)
        self._thread.start()

    # -- called by the writer: none of these waits -------------------------------------------------

    def activate(self, segment: Segment) -> None:
        """Sync this segment from now on, and prepare the next one."""
        self._active = segment
        self._wanted = True
        self._wake.set()

    def retire(self, segment: Segment, then: Callable[[Path], None] | None = None) -> None:
        """Seal a used segment, and hand its path on."""
        self._used.append((segment, then))
        self._wake.set()

    def written(self) -> None:
        """Something was written since the last sync."""
        if not self._dirty_since:
            self._dirty_since = time.monotonic()
            self._wake.set()

    @property
    def lag_s(self) -> float:
        """How long the oldest record that is not yet on the disk has waited, seconds."""
        since = self._dirty_since
        return time.monotonic() - since if since else 0.0

    def take(self) -> Segment | None:
        """Take the prepared segment, if there is one."""
        segment, self.ready = self.ready, None
        return segment

    def stop(self) -> None:
        """Finish what was asked for and end the thread."""
        self._stopping = True
        self._wake.set()
        self._thread.join()
        if self.ready is not None:
            self.ready.discard()
            self.ready = None

    # -- the thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            self._wake.wait(self._patience())
            self._wake.clear()
            self._seal_used()
            if self._stopping:
                return
            if self._wanted and self.ready is None:
                self._prepare()
            since = self._dirty_since
            if since and time.monotonic() - since >= self._interval_s:
                self._sync()

    def _patience(self) -> float | None:
        """How long to sleep when nobody calls; None for as long as it takes."""
        if self._stopping:
            return 0.0
        waits = []
        if self._dirty_since:
            waits.append(self._dirty_since + self._interval_s - time.monotonic())
        if self._wanted and self.ready is None:
            waits.append(_RETRY_S)
        return max(0.0, min(waits)) if waits else None

    def _prepare(self) -> None:
        try:
            self.ready = self._make()
        except OSError as error:
            self._on_room(error)
            return
        self._wanted = False
        self._on_room(None)

    def _sync(self) -> None:
        segment = self._active
        self._dirty_since = 0.0
        if segment is None:
            return
        start = time.perf_counter_ns()
        try:
            segment.sync()
            self.sync_error = None
        except OSError as error:
            self.sync_error = error
            self._on_room(error)
        self.syncs += 1
        taken = time.perf_counter_ns() - start
        self.sync_ns_last = taken
        self.sync_ns_max = max(self.sync_ns_max, taken)
        self.sync_ns_total += taken
        self.sync_latency[taken.bit_length()] += 1

    def _seal_used(self) -> None:
        while self._used:
            segment, then = self._used.popleft()
            path = segment.path
            segment.seal()
            if then is not None:
                then(path)
