"""The configuration: one TOML file, checked by types; every key has a default and a comment.

Secrets do not belong here: they come from the environment or from a file with mode 600.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import msgspec

from candlewick.backtesting import Account
from candlewick.engine import StopPolicy
from candlewick.errors import ConfigError, nearest
from candlewick.exchange import ExchangeSettings, MarginType
from candlewick.models import INTERVAL_MS
from candlewick.monitoring import MonitoringSettings
from candlewick.notifications import NotificationSettings
from candlewick.risk import RiskSettings

__all__ = ["Config", "commented_toml", "load_config", "parse_config"]


_DAY_S = 86_400.0
_MOST_LEVERAGE = 125
_MOST_MIB = 1_024


class StrategyConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which strategy runs, with which parameters."""

    name: str = "sma_cross"
    params: dict[str, Any] = {}


class DataConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where candles come from; no file means a synthetic market."""

    files: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    interval: str = ""
    candles: int = 0
    seed: int = 0
    speed: float | Literal["max"] = "max"
    on_problem: Literal["fail", "skip", "report"] = "fail"
    on_gap: Literal["fail", "skip", "report"] = "report"

    def __post_init__(self) -> None:
        if self.interval and self.interval not in INTERVAL_MS:
            raise ConfigError(
                f"data.interval {self.interval!r} is unknown{nearest(self.interval, INTERVAL_MS)}"
                f" (known: {', '.join(INTERVAL_MS)})"
            )
        for symbol in self.symbols:
            if not symbol or re.search(r"[\s/:,]", symbol):
                raise ConfigError(
                    f"data.symbols: {symbol!r} is no symbol; write it as the exchange does: BTCUSDT"
                )
        names = [symbol.upper() for symbol in self.symbols]
        if len(set(names)) < len(names):
            raise ConfigError(f"data.symbols: a symbol occurs twice in {', '.join(names)}")
        if self.candles < 0:
            raise ConfigError(f"data.candles {self.candles!r} must not be negative; 0 means all")
        if self.seed < 0:
            raise ConfigError(f"data.seed {self.seed!r} must not be negative")
        if self.speed != "max" and not 0.0 < float(self.speed) < 1e12:
            raise ConfigError(f"data.speed {self.speed!r} must be 'max' or above 0")


class AccountConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The simulated account."""

    cash: float = 10_000.0
    fee_taker: float | None = None
    fee_maker: float | None = None
    slippage_bps: float = 0.0
    leverage: int = 20
    margin_type: MarginType = MarginType.CROSS
    funding_rate: float = 0.0
    funding: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        try:
            Account(
                cash=self.cash, fee_taker=self.fee_taker, fee_maker=self.fee_maker,
                exchange=self.exchange,
            )  # fmt: skip
        except ConfigError as error:
            raise ConfigError(f"account.{error}") from None

    @property
    def exchange(self) -> ExchangeSettings:
        """The simulated exchange's settings."""
        return ExchangeSettings(
            slippage_bps=self.slippage_bps,
            leverage=self.leverage,
            margin_type=self.margin_type,
            funding_rate=self.funding_rate,
        )


class RunConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the system runs and stops."""

    venue: str = "sandbox"
    rest: str = ""
    ws: str = ""
    keys_file: str = ""
    leverage: int = 0
    margin_type: Literal["", "cross", "isolated"] = ""
    switch_to_one_way: bool = False
    on_stop: StopPolicy = StopPolicy.FLATTEN
    drain_timeout_s: float = 10.0
    cleanup_timeout_s: float = 60.0
    reconcile_every_s: float = 30.0
    connect_timeout_s: float = 15.0

    def __post_init__(self) -> None:
        for name, least in (
            ("drain_timeout_s", 0.1),
            ("cleanup_timeout_s", 0.1),
            ("reconcile_every_s", 0.1),
            ("connect_timeout_s", 0.0),
        ):
            seconds = getattr(self, name)
            if not least <= seconds <= _DAY_S:
                raise ConfigError(f"run.{name} {seconds!r} must be from {least:g} to {_DAY_S:g} s")
        if not 0 <= self.leverage <= _MOST_LEVERAGE:
            raise ConfigError(
                f"run.leverage {self.leverage!r} must be from 1 to {_MOST_LEVERAGE}; 0 leaves it"
            )


class JournalConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The audit journal."""

    directory: str = "journal"
    durability: Literal["async", "sync"] = "async"
    segment_mb: int = 16

    def __post_init__(self) -> None:
        if not self.directory:
            raise ConfigError("journal.directory is empty: name a folder")
        if not 1 <= self.segment_mb <= _MOST_MIB:
            raise ConfigError(
                f"journal.segment_mb {self.segment_mb!r} must be from 1 to {_MOST_MIB}"
            )


class LogConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The application log."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    file: str = ""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole configuration, section by section."""

    strategy: StrategyConfig = StrategyConfig()
    data: DataConfig = DataConfig()
    run: RunConfig = RunConfig()
    account: AccountConfig = AccountConfig()
    risk: RiskSettings = RiskSettings()
    journal: JournalConfig = JournalConfig()
    log: LogConfig = LogConfig()
    monitoring: MonitoringSettings = MonitoringSettings()
    notifications: NotificationSettings = NotificationSettings()


# One comment a key; `commented_toml` prints them, and a test holds the list complete.
_COMMENTS = {
    "strategy.name": "built-in name, or path/to/file.py:Class",
    "strategy.params": "parameters of the strategy; checked against its class attributes",
    "data.files": "candle files (.csv, .csv.gz, .zip, .parquet) or folders; none: synthetic market",
    "data.symbols": "names for the files, or what to pick from them",
    "data.interval": "base interval, such as 1m or 1h; empty: that of the files",
    "data.candles": "use at most that many candles of each symbol; 0: all",
    "data.seed": "of the synthetic market",
    "data.speed": "times real time, or 'max'",
    "data.on_problem": "broken rows, duplicates, disorder: fail, skip or report",
    "data.on_gap": "missing candles: fail, skip or report",
    "run.venue": "sandbox, simulated, paper, binance-testnet or binance",
    "run.rest": "REST address of another server that speaks the exchange's protocol",
    "run.ws": "WebSocket address of that server",
    "run.keys_file": "file (mode 600) with key = ... and secret = ...; empty: the environment",
    "run.leverage": "set for every symbol at an exchange before trading; 0: as it is there",
    "run.margin_type": "cross or isolated, set likewise; empty: as it is there",
    "run.switch_to_one_way": "switch an account in hedge mode, as a whole, to one-way mode",
    "run.cleanup_timeout_s": "how long positions are tried to be closed at the end, seconds",
    "run.reconcile_every_s": "time between two comparisons with the exchange's account, seconds",
    "run.connect_timeout_s": "how long an exchange that does not answer at the start is asked, s",
    "run.on_stop": "flatten: close positions; keep: leave them with their stops; tighten: the same,"
    " with the stops nearer",
    "run.drain_timeout_s": "how long queued events may take at the end, seconds",
    "account.cash": "wallet of the simulated account, quote currency",
    "account.fee_taker": "fraction of the notional; left out: the instrument's own",
    "account.fee_maker": "fraction of the notional; left out: the instrument's own",
    "account.slippage_bps": "how much worse a taker's price is, basis points",
    "account.leverage": "of the simulated account",
    "account.margin_type": "cross or isolated",
    "account.funding_rate": "paid by longs to shorts every 8 hours, as a fraction",
    "account.funding": "recorded funding rates: FILE, or SYMBOL=FILE; they replace the flat rate",
    "risk.risk_per_trade": "fraction of equity lost when the stop of an entry is hit",
    "risk.allocation": "notional of an entry without size and stop, fraction of equity",
    "risk.default_stop": "stop distance of an entry without one, fraction of the price; 0: none",
    "risk.max_leverage": "notional of all positions over equity; 0: no limit",
    "risk.max_position": "notional of one symbol, quote currency; 0: no limit",
    "risk.max_open_positions": "symbols held at once; 0: no limit",
    "risk.max_orders_per_minute": "entries beyond it are denied; 0: no limit",
    "risk.daily_loss": "halt until the next UTC day after losing this fraction; 0: never",
    "risk.protect_within_ms": "a fill without a confirmed stop for longer is closed",
    "risk.stop_trigger": "the price that sets off stops and targets: last or mark",
    "risk.foreign_positions": "what others have opened: adopt (with a stop) or close",
    "risk.tighten_to": "what the policy tighten leaves of a stop's distance from the price",
    "journal.directory": "one process writes it at a time; runs continue the chain",
    "journal.durability": "async: on the disk within a second; sync: before each order",
    "journal.segment_mb": "size of one journal file, MiB",
    "log.level": "debug, info, warning or error",
    "log.file": "rotating log file; empty: console only",
    "monitoring.enabled": "serve metrics, health and status over HTTP",
    "monitoring.host": "who reaches it reads the account's figures; 127.0.0.1: this machine alone",
    "notifications.repeat_after_s": "notices that are alike come at most that often, seconds",
    "notifications.timeout_s": "for one delivery, seconds",
    "notifications.give_up_s": "for all attempts to deliver one notice, seconds",
    "notifications.first_retry_s": "the first pause between two attempts; doubled each time",
    "notifications.reconnecting_after_s": "entries are blocked for so long before it is told, s",
    "notifications.daily_summary": "tell equity and trades at the end of each UTC day",
    "monitoring.port": "0: any free one, which `candlewick status` finds",
    "monitoring.stall_ms": "an event loop that does not turn for so long is reported",
    "monitoring.strict": "such a stall is an error, exit code 1",
}


def load_config(path: str | Path) -> Config:
    """Read and check a TOML file; raises ConfigError that names file, key and what to do."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"configuration {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"configuration {path} is not UTF-8 text: {error.reason}") from error
    try:
        return parse_config(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def parse_config(values: Mapping[str, Any]) -> Config:
    """Check plain values against the types; unknown keys are answered with the nearest one."""
    _check_keys(values, Config, "")
    try:
        return msgspec.convert(values, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(_readable(error)) from None


def _check_keys(values: Mapping[str, Any], struct: type[msgspec.Struct], where: str) -> None:
    hints = get_type_hints(struct)
    for key, value in values.items():
        name = f"{where}{key}"
        if key not in struct.__struct_fields__:
            what = "key" if where else "section"
            known = struct.__struct_fields__
            if sections := [s for s in known if not where and key in _keys_of(s)]:
                raise ConfigError(
                    f"{key!r} is a key of [{'] or ['.join(sections)}]: write it there"
                )
            raise ConfigError(
                f"unknown {what} {name!r}{nearest(key, known)} (known: {', '.join(known)})"
            )
        inner = hints[key]
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{name!r} is a section: write [{name}] and its keys below")
            _check_keys(value, inner, f"{name}.")


def _keys_of(section: str) -> tuple[str, ...]:
    """The keys of a section."""
    return getattr(Config(), section).__struct_fields__  # type: ignore[no-any-return]


def _readable(error: msgspec.ValidationError) -> str:
    """Turn ``Expected `int`, got `str` - at `$.risk.x` `` into words that name the key first."""
    message, _, place = str(error).partition(" - at `$")
    key = place.strip("`.")
    cause = error.__cause__
    if isinstance(cause, ConfigError):
        return str(cause)
    if message.startswith("Invalid enum value"):
        word, known = message.removeprefix("Invalid enum value ").strip("'"), choices(key)
        return f"{key}: {word!r} is unknown{nearest(word, known)} (known: {', '.join(known)})"
    return f"{key}: {message}" if key else message


def commented_toml() -> str:
    """Return a configuration with all defaults, each key with its comment."""
    parts = ["# Candlewick configuration; every key is optional and shown with its default.", ""]
    config = Config()
    for section in Config.__struct_fields__:
        parts.append(f"[{section}]")
        values = getattr(config, section)
        for key in values.__struct_fields__:
            comment = _COMMENTS[f"{section}.{key}"]
            value = getattr(values, key)
            line = f"# {key} = 0.0005" if value is None else f"{key} = {_toml(value)}"
            parts.append(f"{line:<34} # {comment}")
        parts.append("")
    return "\n".join(parts)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + re.sub(r'(["\\])', r"\\\1", str(value)) + '"'
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    return repr(value)


def choices(name: str) -> tuple[str, ...]:
    """The allowed words of a key such as ``data.on_gap``."""
    section, key = name.split(".")
    hint = get_type_hints(get_type_hints(Config)[section])[key]
    return tuple(map(str, get_args(hint) or hint))
