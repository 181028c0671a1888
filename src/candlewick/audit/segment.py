"""`Segment`: one preallocated, memory-mapped file that records are copied into.

Its blocks are allocated when it is made, so that a full disk shows then, as an error, and not
later as a signal that kills the process. What is copied into the map belongs to the kernel at once
and survives the process. Behind the last record the file holds zeros until it is sealed.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

__all__ = ["Segment"]


class Segment:
    """A file of ``size`` bytes open for appending; one owner, one thread."""

    __slots__ = ("_fd", "_map", "path", "position", "size")

    def __init__(self, path: Path, size: int) -> None:
        """Create the file with all its blocks; raises OSError when there is no room."""
        self.path = path
        self.size = size
        self.position = 0
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            os.posix_fallocate(self._fd, 0, size)
            populate = getattr(mmap, "MAP_POPULATE", 0)
            self._map = mmap.mmap(self._fd, size, flags=mmap.MAP_SHARED | populate)
            # Writing once to every page now keeps page faults out of the path of a record.
            for page in range(0, size, mmap.PAGESIZE):
                self._map[page] = 0
        except BaseException:
            os.close(self._fd)
            path.unlink(missing_ok=True)
            raise

    def fits(self, count: int) -> bool:
        """True when ``count`` bytes can still be appended."""
        return self.position + count <= self.size

    def append(self, line: bytes) -> None:
        """Copy a line that ends with a newline; the newline goes last and makes it count."""
        start = self.position
        end = start + len(line)
        written = self._map
        written[start : end - 1] = line[:-1]
        written[end - 1] = 10
        self.position = end

    def rename(self, path: Path) -> None:
        """Give the file its final name."""
        os.rename(self.path, path)
        self.path = path

    def sync(self) -> None:
        """Wait until the disk has everything written so far; may take long."""
        os.fdatasync(self._fd)

    def seal(self) -> None:
        """Cut the file to its records, wait for the disk, and close it."""
        self._map.close()
        os.ftruncate(self._fd, self.position)
        os.fsync(self._fd)
        os.close(self._fd)

    def discard(self) -> None:
        """Close and delete a segment that was never used."""
        self._map.close()
        os.close(self._fd)
        self.path.unlink(missing_ok=True)

    def abandon(self) -> None:
        """Close the file descriptors without touching the file: for a forked child."""
        os.close(self._fd)
