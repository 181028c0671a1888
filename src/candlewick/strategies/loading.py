"""Find a strategy by name or ``path/to/file.py:Class``, and set its parameters."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from candlewick.errors import ConfigError, StrategyError, nearest
from candlewick.strategies.base import Strategy
from candlewick.strategies.built_in import BUILT_IN

__all__ = ["build_strategy", "load_strategy", "parameters_of"]

_NOT_PARAMETERS = frozenset({"intervals", "position", "symbols", "interval"})


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

    Text is converted to the type of the default, as it comes from the command line.
    """
    known = parameters_of(strategy)
    hints = get_type_hints(strategy)
    made = strategy()
    for name, value in (params or {}).items():
        if name not in known:
            listed = ", ".join(f"{key}={default!r}" for key, default in known.items()) or "none"
            raise ConfigError(
                f"{strategy.__name__} has no parameter {name!r}{nearest(name, known)}"
                f" (parameters: {listed})"
            )
        expected = hints.get(name, type(known[name]))
        try:
            converted = msgspec.convert(value, expected, strict=False)
        except msgspec.ValidationError:
            raise ConfigError(
                f"{strategy.__name__}.{name}: {value!r} is not of type"
                f" {getattr(expected, '__name__', expected)} (default {known[name]!r})"
            ) from None
        setattr(made, name, converted)
    return made


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
    module_name = f"candlewick_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise StrategyError(f"{path} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise StrategyError(f"{path} raised while it was imported: {error!r}") from error
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
    if len(own) != 1:
        raise ConfigError(
            f"{path} has {len(own)} strategies ({', '.join(own) or 'none'});"
            f" name one as {path}:Class"
        )
    return next(iter(own.values()))
