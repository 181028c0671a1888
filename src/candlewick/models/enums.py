"""`direct`: enum members as plain class attributes, which Python 3.12 has and 3.11 has not."""

from __future__ import annotations

from enum import Enum
from typing import TypeVar

__all__ = ["direct"]

E = TypeVar("E", bound=Enum)


def direct(cls: type[E]) -> type[E]:
    """Put the members into the class itself.

    Some releases of Python 3.11 find ``Side.BUY`` through a descriptor; a plain attribute spares
    them that. It remains slow: what runs for every order uses `candlewick.models.members`.
    """
    for name, member in cls.__members__.items():
        type.__setattr__(cls, name, member)
    return cls
