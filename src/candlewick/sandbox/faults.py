"""Faults on request: what goes wrong, where, how often; seeded, so that a run can be repeated."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import msgspec

from candlewick.errors import ConfigError, nearest
from candlewick.sandbox.wire import Params

__all__ = ["Fault", "FaultKind", "Faults", "load_faults", "parse_faults"]


class FaultKind(StrEnum):
    """All that can go wrong."""

    # requests, over HTTP and over the WebSocket API
    HTTP_ERROR = "http_error"  # answered with ``status`` and ``code``, and not carried out
    SLOW = "slow"  # answered ``delay_ms`` later
    LOSE_REQUEST = "lose_request"  # the connection ends before the request is carried out
    LOSE_REPLY = "lose_reply"  # carried out, and the connection ends instead of an answer;
    # with a ``code`` the answer is ``status`` and that code instead
    # messages of the streams
    DROP = "drop"
    DELAY = "delay"  # sent ``delay_ms`` later, behind what came after it
    DUPLICATE = "duplicate"
    REORDER = "reorder"  # sent after the next message of the connection
    GARBAGE = "garbage"  # preceded by a frame that is not JSON
    UNKNOWN_EVENT = "unknown_event"  # preceded by an event that nobody knows
    UNKNOWN_FIELD = "unknown_field"
    CUT = "cut"  # the connection is ended in place of the message
    STALL = "stall"  # the connection stays open and says nothing any more, not even a pong
    HALF_OPEN = "half_open"  # messages go on coming, and nothing that the client sends arrives
    # the account
    REFUSE_USER_STREAM = "refuse_user_stream"  # no listen key and no private connection
    EXPIRE_LISTEN_KEY = "expire_listen_key"  # the key ends in place of the message
    REJECT_TRIGGER = "reject_trigger"  # the next ``count`` triggered conditional orders
    PARTIAL_FILLS = "partial_fills"  # every fill comes in ``value`` trades
    SKEW = "skew"  # the exchange's clock is ``value`` ms ahead


REQUEST_KINDS = frozenset(
    (FaultKind.HTTP_ERROR, FaultKind.SLOW, FaultKind.LOSE_REQUEST, FaultKind.LOSE_REPLY)
)
_ORDER_NAMES = ("newClientOrderId", "clientAlgoId", "origClientOrderId")
_ROUTES = ("public", "market", "private", "api", "rest")
_STATES = frozenset((FaultKind.REFUSE_USER_STREAM, FaultKind.REJECT_TRIGGER,
                     FaultKind.PARTIAL_FILLS, FaultKind.SKEW))  # fmt: skip
MESSAGE_KINDS = frozenset(FaultKind) - REQUEST_KINDS - _STATES


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule.

    ``match`` picks requests by ``METHOD /path`` (over the WebSocket API ``WS method``) and messages
    by their event (``kline``, ``ORDER_TRADE_UPDATE``), with ``*`` and ``?``; empty means all.
    ``order`` picks requests by the client id of the order they are about, with ``*`` and ``?``.
    ``route`` picks connections: public, market, private, api, rest. Of what matches, the first
    ``skip`` are let through, then each is hit with probability ``rate``, ``count`` times at most
    (0: for ever). ``code`` 0 with an HTTP error picks the one that belongs to the status.
    """

    kind: FaultKind
    match: str = ""
    order: str = ""
    route: str = ""
    rate: float = 1.0
    skip: int = 0
    count: int = 0
    delay_ms: int = 0
    status: int = 503
    code: int = 0
    retry_after_s: int = 1
    value: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.rate <= 1.0:
            raise ConfigError(f"fault {self.kind}: rate {self.rate!r} must be from 0 to 1")
        for name in ("skip", "count", "delay_ms", "retry_after_s"):
            if getattr(self, name) < 0:
                raise ConfigError(f"fault {self.kind}: {name} must not be negative")
        if not 400 <= self.status <= 599:
            raise ConfigError(f"fault {self.kind}: status {self.status!r} must be from 400 to 599")
        if self.route not in ("", *_ROUTES):
            known = ", ".join(_ROUTES)
            raise ConfigError(f"fault {self.kind}: route {self.route!r} must be of {known}")
        if self.kind is FaultKind.PARTIAL_FILLS and self.value < 1:
            raise ConfigError("fault partial_fills: value must be the number of parts")

    def picks(self, what: str, route: str, order: str = "") -> bool:
        """True for a request or message that this rule is about."""
        if self.route and self.route != route:
            return False
        if self.order and not fnmatchcase(order, self.order):
            return False
        return not self.match or fnmatchcase(what, self.match)


def order_named_in(params: Params) -> str:
    """The client id of the order that a request is about; empty where it names none."""
    return next((params.text(name) for name in _ORDER_NAMES if name in params), "")


class _Rule:
    """A fault and its counts."""

    __slots__ = ("fault", "hit", "seen")

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.seen = 0
        self.hit = 0

    def strikes(self, chance: random.Random) -> bool:
        """Count something that matches; True when it is hit."""
        fault = self.fault
        self.seen += 1
        if self.seen <= fault.skip or (fault.count and self.hit >= fault.count):
            return False
        if fault.rate < 1.0 and chance.random() >= fault.rate:
            return False
        self.hit += 1
        return True


class Faults:
    """The rules in force; the first that strikes decides."""

    def __init__(self, seed: int = 0, faults: Iterable[Fault] = ()) -> None:
        self._chance = random.Random(seed)
        self._rules = [_Rule(fault) for fault in faults]

    def add(self, fault: Fault) -> None:
        """Put a rule in force."""
        self._rules.append(_Rule(fault))

    def clear(self) -> None:
        """End all rules."""
        self._rules.clear()

    def report(self) -> list[dict[str, Any]]:
        """The rules with what each has seen and hit."""
        return [
            {**msgspec.to_builtins(rule.fault), "seen": rule.seen, "hit": rule.hit}
            for rule in self._rules
        ]

    def request(self, what: str, route: str, params: Params) -> Fault | None:
        """What befalls a request; None for nothing."""
        if not self._rules:
            return None
        return self._decide(REQUEST_KINDS, what, route, order_named_in(params))

    def message(self, event: str, route: str) -> Fault | None:
        """What befalls a message; None for nothing."""
        if not self._rules:
            return None
        return self._decide(MESSAGE_KINDS, event, route)

    def _decide(
        self, kinds: frozenset[FaultKind], what: str, route: str, order: str = ""
    ) -> Fault | None:
        for rule in self._rules:
            fault = rule.fault
            if fault.kind not in kinds or not fault.picks(what, route, order):
                continue
            if rule.strikes(self._chance):
                return fault
        return None

    def refuses_user_stream(self) -> bool:
        """True when the private stream is not to be had now."""
        return any(
            rule.fault.kind is FaultKind.REFUSE_USER_STREAM and rule.strikes(self._chance)
            for rule in self._rules
        )

    @property
    def skew_ms(self) -> int:
        """How far the exchange's clock is ahead."""
        return round(self._sum(FaultKind.SKEW))

    @property
    def fill_parts(self) -> int:
        """Into how many trades a fill is split; 0 where no rule says so."""
        return int(self._sum(FaultKind.PARTIAL_FILLS))

    @property
    def trigger_rejections(self) -> int:
        """How many triggered conditional orders are to be rejected."""
        return sum(max(1, r.fault.count) for r in self._rules
                   if r.fault.kind is FaultKind.REJECT_TRIGGER)  # fmt: skip

    def _sum(self, kind: FaultKind) -> float:
        return sum(rule.fault.value for rule in self._rules if rule.fault.kind is kind)


def parse_faults(values: Any) -> list[Fault]:
    """Read rules from plain values, a list of tables; raises ConfigError."""
    if not isinstance(values, list):
        raise ConfigError("faults are a list of tables: [[fault]] kind = 'drop' ...")
    return [_fault(value, number) for number, value in enumerate(values, start=1)]


def _fault(value: Any, number: int) -> Fault:
    if not isinstance(value, Mapping):
        raise ConfigError(f"fault {number} must be a table with a kind")
    kind = value.get("kind", "")
    kinds = [str(known) for known in FaultKind]
    if kind not in kinds:
        hint = nearest(str(kind), kinds)
        raise ConfigError(
            f"fault {number}: unknown kind {kind!r}{hint} (known: {', '.join(kinds)})"
        )
    for name in value:
        if name not in Fault.__struct_fields__:
            hint = nearest(name, Fault.__struct_fields__)
            raise ConfigError(f"fault {number}: unknown key {name!r}{hint}")
    try:
        return msgspec.convert(dict(value), Fault)
    except msgspec.ValidationError as error:
        cause = error.__cause__
        raise ConfigError(f"fault {number}: {cause or error}") from None


def load_faults(path: str | Path) -> list[Fault]:
    """Read a TOML file with a ``[[fault]]`` table for each rule; raises ConfigError."""
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"faults {path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    if unknown := [name for name in values if name != "fault"]:
        raise ConfigError(f"{path}: unknown section {unknown[0]!r}; write [[fault]]")
    try:
        return parse_faults(values.get("fault", []))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
