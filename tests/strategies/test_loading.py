"""Strategies by name and by file, and their parameters, as they come from a command line."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from candlewick import Candle
from candlewick.errors import ConfigError, StrategyError
from candlewick.strategies import (
    BUILT_IN,
    DonchianBreakout,
    SmaCross,
    Strategy,
    build_strategy,
    load_strategy,
    parameters_of,
)

if TYPE_CHECKING:
    from nowhere import OnlyForTypeCheckers

TREND = '''
from __future__ import annotations
from candlewick import Candle, Strategy

class Trend(Strategy):
    """Follows."""
    fast = 20
    slow: int = 60
    def on_candle(self, candle: Candle) -> None:
        pass
'''


@pytest.fixture
def strategy_file(tmp_path: Path) -> Callable[..., Path]:
    def write(text: str, name: str = "trend.py") -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


Write = Callable[..., Path]


# -- by name -----------------------------------------------------------------------------------


def test_the_built_in_strategies_have_names() -> None:
    assert load_strategy("sma_cross") is SmaCross
    assert load_strategy("donchian_breakout") is DonchianBreakout
    for name, strategy in BUILT_IN.items():
        assert isinstance(build_strategy(load_strategy(name)), strategy)
        assert strategy.__doc__


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sma_corss", r"unknown strategy 'sma_corss'; did you mean 'sma_cross'\?"),
        ("donchian", r"did you mean 'donchian_breakout'\?"),
        ("zzz", r"unknown strategy 'zzz' \(built in: sma_cross, donchian_breakout; or path/to"),
        ("", r"unknown strategy '' \(built in"),
        ("trend.txt:Trend", r"unknown strategy 'trend.txt:Trend'"),
    ],
)
def test_a_typo_in_a_name_is_answered_with_the_nearest(name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_strategy(name)


# -- by file -----------------------------------------------------------------------------------


def test_a_class_of_a_file(strategy_file: Write) -> None:
    path = strategy_file(TREND)
    for name in (f"{path}:Trend", str(path)):
        found = load_strategy(name)
        assert found.__name__ == "Trend"
        assert issubclass(found, Strategy)
        assert parameters_of(found) == {"fast": 20, "slow": 60}


def test_a_file_with_several_strategies_needs_a_name(strategy_file: Write) -> None:
    path = strategy_file(TREND + "\nclass Faster(Trend):\n    fast = 5\n")
    assert parameters_of(load_strategy(f"{path}:Faster")) == {"fast": 5, "slow": 60}
    with pytest.raises(ConfigError, match=r"has 2 strategies \(Trend, Faster\); name one as .*:Cl"):
        load_strategy(str(path))
    with pytest.raises(ConfigError, match=r"has no strategy 'Fater'; did you mean 'Faster'\?"):
        load_strategy(f"{path}:Fater")


def test_what_a_file_imports_is_not_its_own(strategy_file: Write) -> None:
    path = strategy_file(
        "from candlewick.strategies import SmaCross\nclass Mine(SmaCross):\n    fast = 3\n"
    )
    assert load_strategy(str(path)).__name__ == "Mine"
    assert load_strategy(f"{path}:SmaCross") is SmaCross
    with pytest.raises(ConfigError, match="has no strategy 'Path'"):
        load_strategy(f"{path}:Path")


def test_files_of_the_same_name_in_different_folders_do_not_mix(strategy_file: Write) -> None:
    one = strategy_file(TREND, "one/trend.py")
    other = strategy_file(TREND.replace("20", "7"), "other/trend.py")
    first, second = load_strategy(str(one)), load_strategy(str(other))
    assert (first.fast, second.fast) == (20, 7)  # type: ignore[attr-defined]
    assert first.__module__ != second.__module__
    assert build_strategy(first, {"slow": "9"}).slow == 9  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\nclass Trend(Strat", r"trend\.py:2: '\(' was never closed"),
        ("import no_such_module_at_all", r"trend\.py:1 raised while it was imported: ModuleNotFou"),
        ("\n\n1 / 0\n", r"trend\.py:3 raised while it was imported: ZeroDivisionError"),
        ("def f():\n    1 / 0\nf()", r"trend\.py:2 raised while it was imported: ZeroDivision"),
        ("import sys\nsys.exit(0)", r"trend\.py:2 raised while it was imported: SystemExit\(0\)"),
        ("\0", r"trend\.py"),
    ],
)
def test_a_broken_file_says_where_and_leaves_nothing_behind(
    strategy_file: Write, text: str, words: str
) -> None:
    before = set(sys.modules)
    with pytest.raises(StrategyError, match=words):
        load_strategy(f"{strategy_file(text)}:Trend")
    assert not {name for name in set(sys.modules) - before if "trend" in name}


@pytest.mark.parametrize(
    ("text", "words"), [("x = 1\n", "has no strategy"), ("", "has no strategy")]
)
def test_a_file_without_a_strategy(strategy_file: Write, text: str, words: str) -> None:
    path = strategy_file(text)
    with pytest.raises(ConfigError, match=words):
        load_strategy(str(path))
    with pytest.raises(ConfigError, match=r"has no strategy 'Trend' \(it has: none\)"):
        load_strategy(f"{path}:Trend")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"strategy file .*none\.py does not exist"):
        load_strategy(f"{tmp_path / 'none.py'}:Trend")
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(ConfigError, match=r"strategy file .* does not exist"):
        load_strategy(f"{tmp_path / 'folder.py'}")


# -- parameters --------------------------------------------------------------------------------


class Params(Strategy):
    """One parameter of each kind, and what is none."""

    period = 20
    width = 2.0
    use_stop = True
    mode = "fast"
    levels = (0.5, 1.0)
    symbols_to_skip = ["LUNA"]  # noqa: RUF012 - a user may well write it so
    mixed = (1, "a")
    cap: float | None = 5.0
    intervals = ("1h",)
    _private = 3
    nothing = None
    table: dict[str, int] = {}  # noqa: RUF012

    @property
    def computed(self) -> int:
        return 1


def test_public_plain_class_attributes_are_parameters() -> None:
    assert parameters_of(Params) == {
        "period": 20, "width": 2.0, "use_stop": True, "mode": "fast", "levels": (0.5, 1.0),
        "symbols_to_skip": ["LUNA"], "mixed": (1, "a"), "cap": 5.0,
    }  # fmt: skip
    assert parameters_of(Strategy) == {}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("period", "50", 50),
        ("period", " 50 ", 50),
        ("period", 50, 50),
        ("period", 50.0, 50),
        ("width", "2.5", 2.5),
        ("width", 3, 3.0),
        ("use_stop", "false", False),
        ("use_stop", "0", False),
        ("use_stop", False, False),
        ("mode", "slow", "slow"),
        ("levels", "0.1, 0.2,0.3", (0.1, 0.2, 0.3)),
        ("levels", "0.1", (0.1,)),
        ("levels", [1, 2], (1.0, 2.0)),
        ("symbols_to_skip", "A,B", ["A", "B"]),
        ("symbols_to_skip", "", []),
        ("mixed", [2, "b"], (2, "b")),
        ("cap", "7", 7.0),
        ("cap", None, None),
    ],
)
def test_a_value_is_converted_to_the_type_of_its_default(
    name: str, value: Any, expected: Any
) -> None:
    made = getattr(build_strategy(Params, {name: value}), name)
    assert made == expected
    assert type(made) is type(expected)
    assert getattr(Params, name) != expected or expected == getattr(Params(), name)


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("period", "quick", "int"),
        ("period", "10.5", "int"),
        ("period", "", "int"),
        ("period", True, "int"),
        ("period", None, "int"),
        ("width", "wide", "float"),
        ("width", "nan", "float"),
        ("width", float("inf"), "float"),
        ("use_stop", "perhaps", "bool"),
        ("mode", 5, "str"),
        ("levels", "0.1,x", r"tuple\[float, ...\]"),
        ("levels", 5, r"tuple\[float, ...\]"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_type_and_default(
    name: str, value: Any, kind: str
) -> None:
    with pytest.raises(ConfigError, match=rf"Params\.{name}: .* is not of type {kind} \(default"):
        build_strategy(Params, {name: value})


def test_a_typo_in_a_parameter_is_answered_with_the_nearest() -> None:
    with pytest.raises(
        ConfigError,
        match=r"SmaCross has no parameter 'fsat'; did you mean 'fast'\? \(parameters: fast=10, slo",
    ):
        build_strategy(SmaCross, {"fsat": 5})
    with pytest.raises(ConfigError, match=r"Empty has no parameter 'x' \(parameters: none\)"):
        build_strategy(type("Empty", (Strategy,), {}), {"x": 1})
    for name in ("intervals", "_private", "nothing", "computed", "on_candle"):
        with pytest.raises(ConfigError, match=f"has no parameter '{name}'"):
            build_strategy(Params, {name: 1})


def test_parameters_are_set_on_the_instance_only() -> None:
    made = build_strategy(SmaCross, {"fast": 3})
    assert (made.fast, SmaCross.fast, build_strategy(SmaCross).fast) == (3, 10, 10)  # type: ignore[attr-defined]


def test_an_annotation_that_only_type_checkers_resolve_is_no_obstacle() -> None:
    class Annotated(Strategy):
        period = 5
        other: OnlyForTypeCheckers

    assert build_strategy(Annotated, {"period": "7"}).period == 7  # type: ignore[attr-defined]


# -- classes that cannot work ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"intervals": "1h"}, r"Bad\.intervals must be a tuple, as \('1h',\)"),
        ({"interval": "1h"}, r"Bad\.interval is set by the engine"),
        ({"position": 1.0}, r"Bad\.position is set by the engine"),
        ({"history": 100}, r"Bad\.history hides what every strategy has under that name"),
        ({"close": 1.5}, r"Bad\.close hides what every strategy has"),
    ],
)
def test_a_class_that_hides_what_a_strategy_has_is_refused(
    attributes: dict[str, Any], words: str
) -> None:
    with pytest.raises(StrategyError, match=words):
        build_strategy(type("Bad", (Strategy,), attributes))


def test_a_class_that_cannot_be_made_says_why() -> None:
    class Needy(Strategy):
        def __init__(self, period: int) -> None: ...

    with pytest.raises(StrategyError, match=r"Needy\(\) raised TypeError\(.*'period'"):
        build_strategy(Needy)


# -- parameters that make no sense together ------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "params", "told"),
    [
        ("sma_cross", {"fast": "0"}, "SmaCross: fast=0 must be at least 1 and below slow=30"),
        ("sma_cross", {"fast": -3}, "SmaCross: fast=-3 must be at least 1"),
        ("sma_cross", {"fast": 30}, "SmaCross: fast=30 must be at least 1 and below slow=30"),
        ("donchian_breakout", {"period": 0}, "DonchianBreakout: period=0 must be at least 1"),
        ("donchian_breakout", {"atr_period": 0}, "atr_period=0 must be at least 1"),
        ("donchian_breakout", {"stop_atr": "-1"}, "stop_atr=-1.0 must be above 0"),
        ("donchian_breakout", {"target_atr": 0.0}, "target_atr=0.0 must be above 0"),
        ("donchian_breakout", {"risk": 5.0}, "risk=5.0 must be a fraction of equity, as 0.01"),
    ],
)
def test_the_built_in_strategies_check_their_parameters(
    name: str, params: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        build_strategy(load_strategy(name), params)


def test_a_strategy_checks_its_parameters_once_all_are_set() -> None:
    class Band(Strategy):
        low, high = 1, 5

        def check_parameters(self) -> None:
            if self.low >= self.high:
                raise ValueError(f"low={self.low} is not below high={self.high}")

    build_strategy(Band, {"low": 8, "high": 9})
    with pytest.raises(ConfigError, match="Band: low=8 is not below high=5"):
        build_strategy(Band, {"low": 8})


def test_a_check_that_breaks_is_the_strategys_fault() -> None:
    class Band(Strategy):
        def check_parameters(self) -> None:
            raise SystemExit

    with pytest.raises(StrategyError, match=r"Band.check_parameters\(\) raised SystemExit\(\)"):
        build_strategy(Band)


# -- callbacks that would not be called -----------------------------------------------------------


class Waits(Strategy):
    async def on_candle(self, candle: Candle) -> None:  # type: ignore[override]
        pass


class Yields(Strategy):
    def on_start(self):  # type: ignore[no-untyped-def]
        yield 1


class Value(Strategy):
    on_stop = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("strategy", "name"), [(Waits, "on_candle"), (Yields, "on_start"), (Value, "on_stop")]
)
def test_a_callback_is_a_plain_function(strategy: type[Strategy], name: str) -> None:
    told = f"{strategy.__name__}.{name} must be a plain function"
    with pytest.raises(StrategyError, match=told):
        build_strategy(strategy)


def test_a_mistyped_on_candle_is_told() -> None:
    class Mistyped(Strategy):
        def on_candel(self, candle: Candle) -> None:
            pass

    with pytest.raises(StrategyError, match=r"has on_candel, .* did you mean on_candle\?"):
        build_strategy(Mistyped)

    class Both(Mistyped):
        def on_candle(self, candle: Candle) -> None:
            self.on_candel(candle)

    build_strategy(Both)
