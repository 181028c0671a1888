"""`direct`: enum members as plain class attributes, which Python 3.12 has and 3.11 has not."""

from __future__ import annotations

from enum import Enum
from typing import TypeVar

__all__ = ["direct"]

E = TypeVar("E", bound=Enum)


def direct(cls: type[E]) -> type[E]:
    """Put the members into the class itself.

    Python 3.11 finds ``Side.BUY`` through a descriptor, which takes some 70 ns; as a plain
    attribute it takes 15. An order's life passes dozens of such look-ups.
    """
    for name, member in cls.__members__.items():
        type.__setattr__(cls, name, member)
    return cls
