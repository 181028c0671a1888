"""What a strategy raised is told with the line of its own file."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from candlewick import Candle, Fill, Strategy, backtest
from candlewick.backtesting import Result
from candlewick.models import Signal
from candlewick.strategies import describe_failure

HEAD = "import json\nfrom candlewick import Strategy\nclass Mine(Strategy):\n"


def failure_of(path: Path, body: str) -> str:
    path.write_text(HEAD + body)
    return backtest(f"{path}:Mine", candles=50).failure


def test_the_line_is_the_strategys_own(tmp_path: Path) -> None:
    told = failure_of(
        tmp_path / "mine.py",
        "    def on_candle(self, candle):\n        self.deeper({})\n"
        "    def deeper(self, found):\n        return found['x']\n",
    )
    assert told == "KeyError('x') in deeper, mine.py:7"


def test_also_where_a_library_or_the_engine_raised_it(tmp_path: Path) -> None:
    told = failure_of(tmp_path / "one.py", "    def on_start(self):\n        json.loads('{')\n")
    assert told.startswith("JSONDecodeError(")
    assert told.endswith(" in on_start, one.py:5")
    told = failure_of(
        tmp_path / "two.py",
        "    def on_candle(self, candle):\n        self.buy(size=1.0, risk=0.5)\n",
    )
    assert told.endswith("not both') in on_candle, two.py:5")


def test_an_error_without_a_file_of_the_users_is_told_as_it_is() -> None:
    class Mine(Strategy):
        def on_candle(self) -> None:  # type: ignore[override]
            pass

    told = backtest(Mine, candles=5).failure
    assert told.endswith("Mine.on_candle() takes 1 positional argument but 2 were given')")
    with pytest.raises(json.JSONDecodeError) as raised:
        json.loads("{")
    assert "test_failures.py" in describe_failure(raised.value)


# -- whatever is raised, wherever ---------------------------------------------------------------


class PanicError(BaseException):
    """As the panic of a library in Rust: no Exception."""


class Holding(Strategy):
    """Holds a position from the third candle on."""

    def on_start(self) -> None:
        self.seen = 0

    def on_candle(self, candle: Candle) -> None:
        self.seen += 1
        if self.seen == 3:
            self.buy(size=0.1)


@pytest.mark.parametrize("error", [ValueError(), SystemExit(0), PanicError("at src/lib.rs")])
@pytest.mark.parametrize("where", ["on_start", "on_candle", "on_fill", "on_stop"])
def test_it_is_halted_and_flat_whatever_it_raises(where: str, error: BaseException) -> None:
    class Raising(Holding):
        def on_start(self) -> None:
            super().on_start()
            self.fail("on_start")

        def on_candle(self, candle: Candle) -> None:
            super().on_candle(candle)
            if self.seen > 5:
                self.fail("on_candle")

        def on_fill(self, fill: Fill) -> None:
            self.fail("on_fill")

        def on_stop(self) -> None:
            self.fail("on_stop")

        def fail(self, name: str) -> None:
            if name == where:
                raise error

    result = backtest(Raising, candles=50)
    assert repr(error) in result.failure
    assert sum(f.quantity if f.side == "buy" else -f.quantity for f in result.fill_list) == 0.0
    assert len(result.fill_list) == (0 if where == "on_start" else 2)


def test_ctrl_c_in_a_backtest_is_no_failure_of_the_strategy() -> None:
    class Interrupted(Holding):
        def on_candle(self, candle: Candle) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backtest(Interrupted, candles=50)


# -- what it asks for ---------------------------------------------------------------------------


def asking(ask: Callable[[Strategy], None]) -> Result:
    class Asking(Strategy):
        def on_candle(self, candle: Candle) -> None:
            ask(self)

    return backtest(Asking, candles=5)


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda s: s.buy(size="a lot"), "Asking.buy: size='a lot' is no number"),
        (lambda s: s.buy(size="1"), "Asking.buy: size='1' is no number"),
        (lambda s: s.sell(stop=None), "Asking.sell: stop=None is no number; leave out what is not"),
        (lambda s: s.buy(risk=True), "Asking.buy: risk=True is no number"),
        (lambda s: s.buy(0.5), "Asking.buy: 0.5 is no symbol; numbers are named, as size=0.5"),
        (lambda s: s.close(None), "Asking.close: None is no symbol"),
        (lambda s: s.move_stop("low"), "Asking.move_stop: stop='low' is no number"),
    ],
)
def test_what_is_no_number_is_refused_where_it_is_said(
    ask: Callable[[Any], None], told: str
) -> None:
    result = asking(ask)
    assert told in result.failure
    assert "in <lambda>, test_failures.py" in result.failure


@pytest.mark.parametrize("size", [1, np.int64(1), np.float32(1.0), np.float64(1.0), Decimal(1)])
def test_numbers_of_any_kind_become_floats(size: Any) -> None:
    said: list[Signal] = []

    def ask(strategy: Strategy) -> None:
        strategy.buy(size=size, reason=None)  # type: ignore[arg-type]
        said.append(strategy._signals[-1])

    assert asking(ask).failure == ""
    assert [(type(signal.size), signal.size) for signal in said] == [(float, 1.0)] * 5
    assert {signal.reason for signal in said} == {"None"}
