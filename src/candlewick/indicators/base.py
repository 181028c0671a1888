"""`Indicator`: what all indicators share: `update`, `value`, `ready`, and how they are stepped."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Generic, NoReturn, TypeVar

from candlewick.errors import ConfigError

__all__ = ["RESUM", "Indicator", "check_period"]

RESUM = 4_096  # running sums are made exact again after about so many updates

In = TypeVar("In")
Out = TypeVar("Out")


class Indicator(Generic[In, Out]):
    """One `update` a candle; ``value`` is what it returned last.

    ``update(item)`` takes the next price (or candle, as the class says) and returns the
    indicator's value, nan until there are enough of them. It is the ``send`` of a generator,
    because that keeps all running figures in local variables: a method, which must load and store
    each of them in the instance, takes up to three times as long. For the same reason an
    indicator can be neither copied nor pickled; feed the same prices to a new one instead.
    """

    __slots__ = ("update", "value")

    update: Callable[[In], Out]
    value: Out

    def __init__(self) -> None:
        steps = self._steps()
        next(steps)
        self.update = steps.send

    @property
    def ready(self) -> bool:
        """True once ``value`` is a number."""
        return bool(self.value == self.value)  # nan is unequal to itself

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} cannot be copied or pickled; feed the prices to a new one"
        )

    def _steps(self) -> Generator[Out, In, None]:
        """Yield the value that belongs to each item sent; the first yield takes the first one."""
        raise NotImplementedError


def check_period(name: str, period: int, least: int = 1) -> int:
    """Return ``period``; raises ConfigError when it is below ``least`` or not a whole number."""
    if not isinstance(period, int) or isinstance(period, bool) or period < least:
        raise ConfigError(f"{name} needs a whole period of at least {least}, not {period!r}")
    return period
