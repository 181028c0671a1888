"""Helpers for tests of the running system."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Records = list[dict[str, Any]]


def records_of(directory: Path) -> Records:
    """All records of a journal, read without the package's own reader."""
    return [
        json.loads(line)
        for path in sorted(directory.glob("*.jsonl"))
        for line in path.read_bytes().rstrip(b"\0").splitlines()
    ]


@pytest.fixture
def read_records() -> Callable[[Path], Records]:
    """Reads all records of a journal directory."""
    return records_of
