"""Standard output and error that may go away: the reader of a pipe, a terminal, room on a disk."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import IO

__all__ = ["LastingStream", "OutputLostError", "keep_streams", "lost"]


class OutputLostError(Exception):
    """What a command prints cannot be written, so that it has nothing left to do."""


class LastingStream(io.TextIOWrapper):
    """A text stream that remembers in ``lost`` why it cannot be written to any more.

    Where the program ``goes_on`` all later text goes nowhere: a run holds money, and that somebody
    reads its words is not why it does. Otherwise the first text that is lost raises
    OutputLostError.
    """

    goes_on = True
    lost: OSError | None = None

    def write(self, text: str) -> int:
        """Write, or pass over the text where nothing can be written."""
        try:
            return super().write(text)
        except OSError as error:
            self._give_up(error)
            return len(text)

    def flush(self) -> None:
        """Write out what is buffered, or pass over it."""
        try:
            super().flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self.lost = error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        with contextlib.suppress(OSError):
            super().flush()
        if not self.goes_on:
            raise OutputLostError(str(error)) from error


def keep_streams(*, goes_on: bool) -> None:
    """Make this process's standard streams last; those that it was started without go nowhere.

    A descriptor that is left closed would be that of the next file which is opened. ``goes_on``
    says whether the program has more to do than to print.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    sys.stdout, sys.stderr = _lasting(sys.stdout, 1), _lasting(sys.stderr, 2)
    sys.stdout.goes_on = goes_on


def _lasting(stream: IO[str] | None, number: int) -> LastingStream:
    if not isinstance(stream, io.TextIOWrapper):  # Python was started without it
        return LastingStream(open(number, "wb", closefd=False), errors="backslashreplace")
    encoding, errors = stream.encoding, stream.errors
    lines, through = stream.line_buffering, stream.write_through
    return LastingStream(
        stream.detach(), encoding, errors, line_buffering=lines, write_through=through
    )


def lost(stream: object) -> OSError | None:
    """Why nothing can be written to a stream any more, where that is so."""
    return stream.lost if isinstance(stream, LastingStream) else None
