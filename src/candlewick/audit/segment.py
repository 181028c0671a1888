"""`Segment`: one preallocated, memory-mapped file that records are copied into.

Its blocks are allocated and its pages are made writable when it is made, so that a full disk shows
then, as an error, and not later as a signal that kills the process. What is copied into the map
belongs to the kernel at once and survives the process. Behind the last record the file holds
zeros until it is sealed. A record that no longer fits is written behind the map.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
from pathlib import Path

from candlewick.audit.pages import flush_pages, populate

__all__ = ["Segment"]

_PIECE = 1024 * 1024


class Segment:
    """A file open for appending: one thread writes records, another syncs and seals.

    Args:
        path: the new file.
        size: how many bytes to prepare.
    """

    __slots__ = (
        "_handle", "keeps_zeros", "memory", "path", "position", "sealed", "size", "synced",
    )  # fmt: skip

    def __init__(self, path: Path, size: int) -> None:
        """Create the file with all its blocks; raises OSError when there is no room."""
        self.path = path
        self.size = size
        self.position = 0
        self.synced = 0  # the disk has the bytes up to here
        self.sealed = False
        self.keeps_zeros = False  # sealed, it looks as if its process had died
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            _allocate(self._handle, size)
            os.fsync(self._handle)
            self.memory = mmap.mmap(self._handle, size)
            populate(self.memory)
        except BaseException:
            os.close(self._handle)
            path.unlink(missing_ok=True)
            raise

    # -- the writer ------------------------------------------------------------------------------

    def append(self, line: bytes) -> None:
        """Copy a line and, last of all, its newline, which makes it count.

        Raises OSError when the line does not fit and the file cannot grow; then nothing counts.
        """
        start = self.position
        end = start + len(line)
        if end < self.size:
            written = self.memory
            written[start:end] = line
            written[end] = 10
        else:
            self._grow(line, start)
        self.position = end + 1

    def _grow(self, line: bytes, start: int) -> None:
        """Write a line behind the map, in the ordinary way: the kernel has it too.

        A zero follows it, and is there before it: a file that ends otherwise was sealed.
        """
        os.ftruncate(self._handle, max(self.size, start + len(line) + 2))
        rest = memoryview(line + b"\n")
        while rest:
            count = os.pwrite(self._handle, rest, start)
            if not count:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            rest = rest[count:]
            start += count

    # -- the keeper ------------------------------------------------------------------------------

    @property
    def is_dirty(self) -> bool:
        """True when the disk does not have everything written so far."""
        return not self.sealed and self.position != self.synced

    def rename(self, path: Path) -> None:
        """Give the file another name."""
        os.rename(self.path, path)
        self.path = path

    def sync(self) -> None:
        """Wait until the disk has everything written so far; may take long.

        Raises OSError when the disk fails, or when somebody has deleted the file. After an error
        the kernel takes the pages for written, which they are not: they are touched, so that the
        next call writes them again.
        """
        end = self.position
        if self.sealed or end == self.synced:
            return
        self._check_it_is_there()
        try:
            if end > self.size:
                os.fdatasync(self._handle)
            else:
                flush_pages(self.memory, self._handle, self.synced, end)
        except OSError:
            self._touch(end)
            raise
        self.synced = end

    def _check_it_is_there(self) -> None:
        if not os.fstat(self._handle).st_nlink:
            raise FileNotFoundError(errno.ENOENT, f"{self.path.name} was deleted")

    def _touch(self, end: int) -> None:
        first = self.synced - self.synced % mmap.PAGESIZE
        for page in range(first, min(end, self.size), mmap.PAGESIZE):
            self.memory[page] = self.memory[page]

    def seal(self) -> None:
        """Cut the file to its records, wait for the disk, and close it. Can be repeated.

        The map goes first: to write back a page that is mapped, the kernel must interrupt the
        processor on which the writer of records goes on.
        """
        if self.sealed:
            return
        self._check_it_is_there()
        self.memory.close()
        if not self.keeps_zeros:
            os.ftruncate(self._handle, self.position)
        try:
            os.fsync(self._handle)
        except OSError:
            self._rewrite()
            raise
        self.sealed = True
        os.close(self._handle)

    def _rewrite(self) -> None:
        """Make the kernel write again what it failed to write."""
        for start in range(0, self.position, _PIECE):
            os.pwrite(self._handle, os.pread(self._handle, _PIECE, start), start)

    def discard(self) -> None:
        """Close and delete a segment that was never used."""
        self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file, whatever is in it; in a forked child this is all there is to do."""
        self.sealed = True
        with contextlib.suppress(BufferError):  # another thread had its address when this forked
            self.memory.close()
        os.close(self._handle)


def _allocate(handle: int, size: int) -> None:
    """Give the file all its blocks."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, size)
        return
    for start in range(0, size, _PIECE):  # macOS
        os.pwrite(handle, bytes(min(_PIECE, size - start)), start)
