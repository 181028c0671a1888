"""Metrics, health and status of a running engine, and how loop and collector behave.

The names below are loaded when they are first used: the configuration needs the settings, not the
HTTP server.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from candlewick.monitoring.beacon import Beacon, EngineAddress, find_engines
    from candlewick.monitoring.garbage import GarbageWatch, tuned_collector
    from candlewick.monitoring.health import Problem, problems
    from candlewick.monitoring.histogram import LatencyHistogram
    from candlewick.monitoring.journey import Journey
    from candlewick.monitoring.loop_lag import LoopLag
    from candlewick.monitoring.metrics import Metrics
    from candlewick.monitoring.server import MetricsServer
    from candlewick.monitoring.settings import MonitoringSettings
    from candlewick.monitoring.sources import (
        EngineSample,
        PositionSample,
        Sources,
        StreamSample,
        VenueSample,
    )

__all__ = [
    "Beacon",
    "EngineAddress",
    "EngineSample",
    "GarbageWatch",
    "Journey",
    "LatencyHistogram",
    "LoopLag",
    "Metrics",
    "MetricsServer",
    "MonitoringSettings",
    "PositionSample",
    "Problem",
    "Sources",
    "StreamSample",
    "VenueSample",
    "find_engines",
    "problems",
    "tuned_collector",
]

_MODULES = {
    "Beacon": "beacon",
    "EngineAddress": "beacon",
    "find_engines": "beacon",
    "GarbageWatch": "garbage",
    "tuned_collector": "garbage",
    "Problem": "health",
    "problems": "health",
    "LatencyHistogram": "histogram",
    "Journey": "journey",
    "LoopLag": "loop_lag",
    "Metrics": "metrics",
    "MetricsServer": "server",
    "MonitoringSettings": "settings",
    "EngineSample": "sources",
    "PositionSample": "sources",
    "Sources": "sources",
    "StreamSample": "sources",
    "VenueSample": "sources",
}


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value
