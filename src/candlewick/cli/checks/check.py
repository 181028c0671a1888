"""`Check`: one thing that was looked at, what was found, and what to do about it."""

from __future__ import annotations

from enum import StrEnum

import msgspec

__all__ = ["Check", "Level", "ok", "problem", "skipped", "warning"]


class Level(StrEnum):
    """OK, a WARNING that need not stop anybody, or a PROBLEM that would make a run fail.

    SKIPPED says that it could not be looked at, or does not matter for this venue.
    """

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    SKIPPED = "skipped"


class Check(msgspec.Struct, frozen=True):
    """``found`` is what is so, ``advice`` what to do where that is not good."""

    name: str
    level: Level
    found: str
    advice: str = ""


def ok(name: str, found: str) -> Check:
    """All is well."""
    return Check(name, Level.OK, found)


def warning(name: str, found: str, advice: str) -> Check:
    """It works, and could be better."""
    return Check(name, Level.WARNING, found, advice)


def problem(name: str, found: str, advice: str) -> Check:
    """A run would fail, or trade wrongly."""
    return Check(name, Level.PROBLEM, found, advice)


def skipped(name: str, found: str) -> Check:
    """Not looked at."""
    return Check(name, Level.SKIPPED, found)
