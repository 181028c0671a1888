"""The open journals of this process: closed at its exit, left to the parent in a forked child."""

from __future__ import annotations

import atexit
import contextlib
import os
import weakref
from typing import Protocol

from candlewick.errors import JournalError

__all__ = ["open_journals"]


class _Journal(Protocol):
    def stop(self) -> None:
        """Close it."""

    def disown(self) -> None:
        """It is the parent's: refuse all records."""


open_journals: weakref.WeakSet[_Journal] = weakref.WeakSet()


def _after_fork() -> None:
    for journal in list(open_journals):
        journal.disown()
    open_journals.clear()


def _at_exit() -> None:
    for journal in list(open_journals):
        with contextlib.suppress(JournalError):
            journal.stop()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
