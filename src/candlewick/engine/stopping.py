"""`StoppingEngine`: how an engine halts, stops and ends; what happens on the way is elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from candlewick.engine.decisions import (
    DayStarted,
    Decision,
    EngineState,
    StateChanged,
    StopPolicy,
)
from candlewick.engine.view import EngineView
from candlewick.errors import repr_of

__all__ = ["StoppingEngine"]


class StoppingEngine(EngineView):
    """Makes no new position any more, for a day or for good, and sees to those that are held."""

    def begin_stop(self, policy: StopPolicy, reason: str) -> Sequence[Decision]:
        """Make no new position; cancel entries; close positions, or keep them with their stops."""
        if self.state is not EngineState.STOPPING:
            self._change_state(EngineState.STOPPING, reason)
        if policy is StopPolicy.FLATTEN:
            self._flatten = reason
        for state in self.symbols.values():
            self._entries.cancel_entries(state)
            if policy is StopPolicy.FLATTEN:
                self._exits.close(state, reason)
            elif policy is StopPolicy.TIGHTEN:
                self._exits.tighten(state)
        return self._take()

    def flatten(self, reason: str) -> Sequence[Decision]:
        """Close what is held and cancel entries, without stopping; asked again, it goes on."""
        self._close_all(reason)
        return self._take()

    def finish(self) -> Sequence[Decision]:
        """Tell the strategy that the run is over."""
        try:
            self.strategy.on_stop()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - there is nothing left to clean up
            self.failure = self.failure or error
        self.strategy._signals.clear()
        self._change_state(EngineState.STOPPED, "stopped")
        return self._take()

    def _new_day(self, now: int) -> None:
        was_halted = self._guardrails.halted
        self._guardrails.new_day(now, self.equity)
        self._desk.out.append(DayStarted(self._guardrails.day_end, self.equity))
        if was_halted and self.state is EngineState.HALTED and self.failure is None:
            self._flatten = ""
            self._change_state(EngineState.RUNNING, "a new UTC day")

    def _halt_for_the_day(self) -> None:
        lost = 1.0 - self.equity / self._guardrails.day_start_equity
        self._guardrails.halted = True
        self._guardrails.halt_below = float("-inf")
        self._halt(f"daily loss of {lost:.2%} of equity")

    def _halt(self, reason: str) -> None:
        if self.state is EngineState.RUNNING:
            self._change_state(EngineState.HALTED, reason)
        self._close_all(reason)

    def _close_all(self, reason: str) -> None:
        self._flatten = reason
        for state in self.symbols.values():
            self._entries.cancel_entries(state)
            self._exits.close(state, reason)

    def _fail(self, where: str, error: BaseException) -> None:
        self.failure = error
        self.strategy._signals.clear()
        self._halt(f"{type(self.strategy).__name__}.{where} raised {repr_of(error)}")

    def _guarded(self, where: str, callback: object, *args: object) -> None:
        try:
            callback(*args)  # type: ignore[operator]
        except KeyboardInterrupt:  # Ctrl+C, not the strategy
            raise
        except BaseException as error:  # noqa: BLE001 - `sys.exit` too: the positions come first
            self._fail(where, error)

    def _change_state(self, state: EngineState, reason: str) -> None:
        self.state = state
        self._alert = 0
        self._desk.out.append(StateChanged(state, reason))

    def _take(self) -> list[Decision]:
        signals = self.strategy._signals
        if signals:
            self._desk.out.extend(signals)
            self.strategy._signals = []
        out = self._desk.out
        self._desk.out = []
        return out
