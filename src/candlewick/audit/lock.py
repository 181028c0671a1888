"""`DirectoryLock`: one writer for a journal, and a clear word about who it is."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

from candlewick.errors import JournalError

__all__ = ["DirectoryLock"]


class DirectoryLock:
    """An exclusive lock on ``.lock`` in a directory; it ends with the process that holds it."""

    __slots__ = ("_fd", "path")

    def __init__(self, directory: Path) -> None:
        """Take the lock; raises JournalError naming the process that has it."""
        self.path = directory / ".lock"
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.read(self._fd, 500).decode(errors="replace").strip() or "another process"
            os.close(self._fd)
            raise JournalError(
                f"the journal {directory} is being written by {owner};"
                " stop it, or choose another directory"
            ) from None
        os.ftruncate(self._fd, 0)
        command = " ".join(sys.argv)[:300]
        os.write(self._fd, f"process {os.getpid()} ({command})\n".encode())

    def release(self) -> None:
        """Give the lock back."""
        os.ftruncate(self._fd, 0)
        os.close(self._fd)
