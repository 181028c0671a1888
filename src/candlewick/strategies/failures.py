"""What a strategy raised, in one line that says where."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

from candlewick.errors import repr_of

__all__ = ["describe_failure"]

_OURS = Path(__file__).parents[1]


def describe_failure(error: BaseException) -> str:
    """The error, and the last line of the strategy's file that led to it, where one did."""
    frames = traceback.extract_tb(error.__traceback__)
    others = {_OURS, *(Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib"))}
    theirs = [frame for frame in frames if others.isdisjoint(Path(frame.filename).parents)]
    if not theirs:
        return repr_of(error)
    last = theirs[-1]
    return f"{repr_of(error)} in {last.name}, {Path(last.filename).name}:{last.lineno}"
