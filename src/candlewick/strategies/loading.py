"""Find a strategy by name or ``path/to/file.py:Class``, and set its parameters."""

from __future__ import annotations

import importlib.util
import inspect
import math
import sys
import traceback
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from candlewick.errors import ConfigError, StrategyError, nearest, repr_of
from candlewick.strategies.base import Strategy
from candlewick.strategies.built_in import BUILT_IN

__all__ = ["build_strategy", "load_strategy", "parameters_of"]

_SET_BY_ENGINE = ("position", "symbols", "interval")
_CALLED = (
    "check_parameters", "on_start", "on_candle", "on_fill", "on_stop", "save_state", "load_state"
)  # fmt: skip
_WAITING = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
_NOT_PARAMETERS = frozenset({"intervals", *_SET_BY_ENGINE})


def parameters_of(strategy: type[Strategy]) -> dict[str, Any]:
    """Return the parameters of a strategy class with their defaults, base classes first."""
    found: dict[str, Any] = {}
    for cls in reversed(strategy.__mro__):
        if not (isinstance(cls, type) and issubclass(cls, Strategy)):
            continue
        for name, value in vars(cls).items():
            plain = isinstance(value, (bool, int, float, str, tuple, list))
            if plain and not name.startswith("_") and name not in _NOT_PARAMETERS:
                found[name] = value
    return found


def build_strategy(strategy: type[Strategy], params: Mapping[str, Any] | None = None) -> Strategy:
    """Make a strategy with parameters; raises ConfigError for an unknown or unfit one.

    Text is converted to the type of the default, as it comes from the command line; that of a list
    or tuple is split at commas. What makes no sense is refused by the strategy's own
    `check_parameters`. A class that breaks the rules of `Strategy` is a StrategyError.
    """
    _check_class(strategy)
    known = parameters_of(strategy)
    try:
        made = strategy()
    except (Exception, SystemExit) as error:
        raise StrategyError(f"{strategy.__name__}() raised {repr_of(error)}") from error
    for name, value in (params or {}).items():
        if name not in known:
            listed = ", ".join(f"{key}={default!r}" for key, default in known.items()) or "none"
            raise ConfigError(
                f"{strategy.__name__} has no parameter {name!r}{nearest(name, known)}"
                f" (parameters: {listed})"
            )
        setattr(made, name, _converted(strategy, name, value, known[name]))
    _check_parameters(made)
    return made


def _check_parameters(made: Strategy) -> None:
    name = type(made).__name__
    try:
        made.check_parameters()
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from error
    except (Exception, SystemExit) as error:
        raise StrategyError(f"{name}.check_parameters() raised {repr_of(error)}") from error


def _check_class(strategy: type[Strategy]) -> None:
    """Refuse attributes that would take the place of something `Strategy` itself has."""
    intervals: object = strategy.intervals
    if isinstance(intervals, str):
        raise StrategyError(f"{strategy.__name__}.intervals must be a tuple, as ({intervals!r},)")
    for name in _SET_BY_ENGINE:
        if hasattr(strategy, name):
            raise StrategyError(
                f"{strategy.__name__}.{name} is set by the engine: a class cannot give it"
            )
    for name in parameters_of(strategy):
        if hasattr(Strategy, name):
            raise StrategyError(
                f"{strategy.__name__}.{name} hides what every strategy has under that name;"
                " call the parameter something else"
            )
    for name in _CALLED:
        function = getattr(strategy, name)
        if not callable(function) or any(test(function) for test in _WAITING):
            raise StrategyError(
                f"{strategy.__name__}.{name} must be a plain function: it is called, and decides"
                " at once; without async and without yield"
            )
    if strategy.on_candle is Strategy.on_candle:
        own = (n for n in dir(strategy) if n.startswith("on_") and not hasattr(Strategy, n))
        for name in own:
            if nearest(name, ["on_candle"], cutoff=0.8):
                raise StrategyError(
                    f"{strategy.__name__} has {name}, which nobody calls; did you mean on_candle?"
                )


def _converted(strategy: type[Strategy], name: str, value: Any, default: Any) -> Any:
    """``value`` in the annotated type of a parameter, or else in that of its default."""
    try:
        expected = get_type_hints(strategy).get(name) or _type_of(default)
    except NameError:  # an annotation somewhere that only a type checker can resolve
        expected = _type_of(default)
    if isinstance(value, str):
        is_list = isinstance(default, list | tuple)
        value = [item.strip() for item in value.split(",") if item] if is_list else value.strip()
    try:
        converted = msgspec.convert(value, expected, strict=False)
    except msgspec.ValidationError:
        pass
    else:
        if not isinstance(converted, float) or math.isfinite(converted):
            return converted
    raise ConfigError(
        f"{strategy.__name__}.{name}: {value!r} is not of type {_name_of(expected)}"
        f" (default {default!r})"
    )


def _type_of(default: Any) -> Any:
    """The type of a default; of a list or tuple also that of what is in it, if it is all one."""
    kinds = {type(item) for item in default} if isinstance(default, list | tuple) else set()
    if len(kinds) != 1:
        return type(default)
    (kind,) = kinds
    return list[kind] if isinstance(default, list) else tuple[kind, ...]  # type: ignore[valid-type]


def _name_of(expected: Any) -> str:
    return expected.__name__ if type(expected) is type else str(expected)


def load_strategy(name: str) -> type[Strategy]:
    """Return a strategy class by the name of a built-in or as ``path/to/file.py:Class``."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    path, separator, class_name = name.rpartition(":")
    if separator and path.endswith(".py"):
        return _from_file(Path(path), class_name)
    if name.endswith(".py"):
        return _from_file(Path(name), "")
    raise ConfigError(
        f"unknown strategy {name!r}{nearest(name, BUILT_IN)}"
        f" (built in: {', '.join(BUILT_IN)}; or path/to/file.py:Class)"
    )


def _from_file(path: Path, class_name: str) -> type[Strategy]:
    if not path.is_file():
        raise ConfigError(f"strategy file {path} does not exist")
    # two files of the same name in different folders are two modules
    module_name = f"candlewick_user_{path.stem}_{zlib.crc32(str(path.resolve()).encode()):08x}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise StrategyError(f"{path} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        del sys.modules[module_name]
        raise StrategyError(f"{path}:{error.lineno}: {error.msg}") from error
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        line = next(
            (f":{f.lineno}" for f in traceback.extract_tb(error.__traceback__)[::-1]
             if Path(f.filename) == path), "",
        )  # fmt: skip
        raise StrategyError(
            f"{path}{line} raised while it was imported: {repr_of(error)}"
        ) from error
    classes = {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Strategy) and value is not Strategy
    }
    own = {key: value for key, value in classes.items() if value.__module__ == module_name}
    if class_name:
        if class_name not in classes:
            raise ConfigError(
                f"{path} has no strategy {class_name!r}{nearest(class_name, classes)}"
                f" (it has: {', '.join(classes) or 'none'})"
            )
        return classes[class_name]
    if not own:
        raise ConfigError(f"{path} has no strategy: a class that is derived from Strategy")
    if len(own) > 1:
        raise ConfigError(
            f"{path} has {len(own)} strategies ({', '.join(own)}); name one as {path}:Class"
        )
    return next(iter(own.values()))
