"""`StopSignals`: what Ctrl+C, SIGTERM and a terminal that goes do, all through a command."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

__all__ = ["StopSignals", "stop_signals"]


def stop_signals() -> list[signal.Signals]:
    """SIGINT, SIGTERM, and SIGHUP: the terminal has gone. ``nohup`` turns that one off."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    return numbers


class StopSignals:
    """Takes the signals of `stop_signals` while it is entered.

    Before `begin` they interrupt: nothing has been touched. From then on the account may be, and
    they are handed to ``stop``, also those that came before it was set; it is called on the event
    loop with the signal's name. After `end` the result is known, and no signal may replace it.

    They are handled here and not by the event loop, because that gives its handlers up when it
    closes, when the result is known and not yet told. In a process of its own (``keeps``) they are
    not given back afterwards either.
    """

    keeps = False

    def __init__(self) -> None:
        self._loop: AbstractEventLoop | None = None
        self._stop: Callable[[str], None] | None = None
        self._early: list[str] = []
        self._is_over = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        for number in stop_signals():
            self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()
        if not self.keeps:
            for number, handler in self._before.items():
                signal.signal(number, handler)

    def begin(self) -> None:
        """From now on signals are kept for ``stop``; called on the event loop."""
        import asyncio

        self._loop = asyncio.get_running_loop()

    def hand_to(self, stop: Callable[[str], None]) -> None:
        """Say who takes them; those that are waiting are handed over at once."""
        self._stop = stop
        early, self._early = self._early, []
        for name in early:
            stop(name)

    def hand_back(self) -> None:
        """Nobody takes them for now: those that come wait for the next one who does."""
        self._stop = None

    @property
    def came(self) -> bool:
        """True when one has come that nobody has taken yet."""
        return bool(self._early)

    def end(self) -> None:
        """The result is known: signals change nothing any more, not even while Python ends."""
        self._is_over = True
        if self.keeps:  # a handler would be taken away at the end of the interpreter, this is not
            for number in self._before:
                signal.signal(number, signal.SIG_IGN)

    def _take(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self._is_over:
            return
        loop = self._loop
        if loop is None:
            raise KeyboardInterrupt
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._deliver, name)

    def _deliver(self, name: str) -> None:
        if self._stop is None:
            self._early.append(name)
        else:
            self._stop(name)
