"""Names of market streams: which there are, on which route, and how often they speak."""

from __future__ import annotations

import re

import msgspec

from candlewick.models import INTERVAL_MS

__all__ = ["Topic", "parse_topic"]

_KLINE = re.compile(r"^([a-z0-9]+)@kline_([0-9]+[smhdwM])$")
_CONTINUOUS = re.compile(r"^([a-z0-9]+)_perpetual@continuousKline_([0-9]+[smhdwM])$")
_DEPTH = re.compile(r"^([a-z0-9]+)@depth(5|10|20)?(?:@(0|100|250|500)ms)?$")
_MARK = re.compile(r"^([a-z0-9]+)@markPrice(@1s)?$")
_PLAIN = re.compile(r"^([a-z0-9]+)@(aggTrade|trade|bookTicker|ticker|miniTicker|forceOrder)$")
_ALL = re.compile(r"^!(bookTicker|ticker@arr|miniTicker@arr|forceOrder@arr|markPrice@arr)(@1s)?$")

# shortest time between two messages, ms of market time
_PERIODS = {"ticker": 2_000, "miniTicker": 1_000, "kline": 250, "continuousKline": 250}
_PUBLIC = ("depth", "partialDepth", "bookTicker", "trade")


class Topic(msgspec.Struct, frozen=True):
    """One stream: ``symbol`` in capitals, empty for all of them; ``period`` in ms."""

    name: str
    kind: str
    symbol: str = ""
    argument: str = ""
    period: int = 0

    @property
    def is_public(self) -> bool:
        """True for what goes over the route ``public``."""
        return self.kind in _PUBLIC


def parse_topic(name: str) -> Topic | None:
    """Read the name of a market stream; None for a name that means nothing."""
    if found := _KLINE.match(name):
        return _kline(name, "kline", *found.groups())
    if found := _CONTINUOUS.match(name):
        return _kline(name, "continuousKline", *found.groups())
    if found := _DEPTH.match(name):
        symbol, levels, speed = found.groups()
        kind = "partialDepth" if levels else "depth"
        return Topic(name, kind, symbol.upper(), levels or "", int(speed or 250))
    if found := _MARK.match(name):
        period = 1_000 if found[2] else 3_000
        return Topic(name, "markPrice", found[1].upper(), period=period)
    if found := _PLAIN.match(name):
        return Topic(name, found[2], found[1].upper(), period=_PERIODS.get(found[2], 0))
    if found := _ALL.match(name):
        kind = found[1].partition("@")[0]
        period = _PERIODS.get(kind, 0)
        if kind == "markPrice":
            period = 1_000 if found[2] else 3_000
        return Topic(name, kind, period=period)
    return None


def _kline(name: str, kind: str, symbol: str, interval: str) -> Topic | None:
    if interval not in INTERVAL_MS:
        return None
    return Topic(name, kind, symbol.upper(), interval, _PERIODS[kind])
