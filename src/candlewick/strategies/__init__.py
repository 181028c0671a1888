"""Strategies: the base class, loading by name or file, and the examples a newcomer copies."""

from candlewick.strategies.base import Account, Each, Strategy
from candlewick.strategies.built_in import BUILT_IN
from candlewick.strategies.donchian import DonchianBreakout
from candlewick.strategies.exit_rules import (
    BreakEven,
    ExitRule,
    ExitRules,
    NativeTrailing,
    PartialTargets,
    TimeExit,
    Trailing,
)
from candlewick.strategies.failures import describe_failure
from candlewick.strategies.loading import build_strategy, load_strategy, parameters_of
from candlewick.strategies.sma_cross import SmaCross

__all__ = [
    "BUILT_IN",
    "Account",
    "BreakEven",
    "DonchianBreakout",
    "Each",
    "ExitRule",
    "ExitRules",
    "NativeTrailing",
    "PartialTargets",
    "SmaCross",
    "Strategy",
    "TimeExit",
    "Trailing",
    "build_strategy",
    "describe_failure",
    "load_strategy",
    "parameters_of",
]
