"""`DirectoryLock`: one writer for a journal, and a clear word about who it is."""

from __future__ import annotations

import fcntl
import os
import re
import sys
from pathlib import Path
from typing import NamedTuple

from candlewick.errors import JournalError

__all__ = ["DirectoryLock", "Holder", "holder_of", "take_directory"]

_OWNER = re.compile(rb"process (\d+) \((.*)\)")


class DirectoryLock:
    """An exclusive lock on ``.lock`` in a directory; it ends with the process that holds it."""

    __slots__ = ("_handle", "path")

    def __init__(self, directory: Path) -> None:
        """Take the lock.

        Raises JournalError naming the process that has it; OSError where the file cannot be made.
        """
        self.path = directory / ".lock"
        self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            owner = f"process {os.getpid()} ({' '.join(sys.argv)[:300]})\n".encode()
            os.pwrite(self._handle, owner, 0)
            os.ftruncate(self._handle, len(owner))
        except BlockingIOError:
            holder = os.pread(self._handle, 500, 0).decode(errors="replace").strip()
            os.close(self._handle)
            raise JournalError(
                f"the journal {directory} is being written by {holder or 'another process'};"
                " stop it, or choose another directory"
            ) from None
        except BaseException:
            os.close(self._handle)
            raise

    def release(self) -> None:
        """Give the lock back."""
        os.ftruncate(self._handle, 0)
        os.close(self._handle)

    def abandon(self) -> None:
        """In a forked child: let go of the file, so that the lock ends with the parent."""
        os.close(self._handle)


def take_directory(directory: Path) -> DirectoryLock:
    """Make a journal's directory where it is missing, and take its lock.

    Raises JournalError when it cannot be written, or belongs to another process.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return DirectoryLock(directory)
    except OSError as error:
        raise JournalError(
            f"the journal directory {directory} cannot be written: {error.strerror};"
            " check its permissions or choose another with --journal"
        ) from error


class Holder(NamedTuple):
    """The process that holds a journal's lock, and how it was started."""

    pid: int
    command: str


def holder_of(directory: Path) -> Holder | None:
    """Say who holds the lock of a journal; None when nobody does."""
    try:
        handle = os.open(directory / ".lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise JournalError(f"{directory}/.lock cannot be read: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        found = _OWNER.match(os.pread(handle, 500, 0))
        return Holder(int(found[1]), found[2].decode(errors="replace")) if found else Holder(0, "")
    finally:
        os.close(handle)
    return None
