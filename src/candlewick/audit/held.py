"""`HeldLines`: records that wait in bounded memory for room on the disk, in their order."""

from __future__ import annotations

from collections import deque

__all__ = ["HeldLines"]


class HeldLines:
    """A queue of lines, at most ``capacity`` bytes in all."""

    __slots__ = ("_lines", "bytes", "capacity")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.bytes = 0
        # realtime: allow RT103 - ``capacity`` is the bound, in bytes
        self._lines: deque[bytes] = deque()

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, line: bytes) -> bool:
        """Put a line at the end; False when there is no room for it."""
        if self.bytes + len(line) > self.capacity:
            return False
        self._lines.append(line)
        self.bytes += len(line)
        return True

    @property
    def first(self) -> bytes:
        """The line that has waited longest."""
        return self._lines[0]

    def drop_first(self) -> None:
        """Forget the line that has waited longest: it is written."""
        self.bytes -= len(self._lines.popleft())
