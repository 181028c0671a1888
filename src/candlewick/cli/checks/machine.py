"""Checks of this machine: packages, strategy, data, the journal's directory, open files, ports."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from candlewick.audit.segment import Segment
from candlewick.cli.checks.check import Check, ok, problem, skipped, warning
from candlewick.config import Config
from candlewick.errors import CandlewickError, ConfigError
from candlewick.logs import hide
from candlewick.notifications import senders_from
from candlewick.strategies import build_strategy, load_strategy

__all__ = ["machine_checks"]

_MIB = 1024 * 1024
_EXTRAS = {"polars": "parquet", "zstandard": "compress"}
_FEW_FILES, _ENOUGH_FILES = 64, 256
_LITTLE_SPACE = 1024 * _MIB
_SEGMENTS = 3  # the journal prepares the next file while one is written and one is sealed


def machine_checks(config: Config, environment: Mapping[str, str]) -> Iterator[Check]:
    """Look at everything that needs no network; each as it is done."""
    yield _packages(config)
    yield _strategy(config)
    yield _data(config)
    directory = Path(config.journal.directory).absolute()
    yield from _journal(directory, config.journal.segment_mb * _MIB)
    yield _lock(directory)
    yield _open_files()
    yield _metrics_port(config)
    yield _notifications(environment)


def _packages(config: Config) -> Check:
    name = "packages"
    missing = [package for package in _EXTRAS if find_spec(package) is None]
    needs_parquet = any(file.endswith(".parquet") for file in config.data.files)
    if "polars" in missing and needs_parquet:
        return problem(
            name, "polars is not installed, and data.files names Parquet files",
            "pip install 'candlewick[parquet]'",
        )  # fmt: skip
    slow = find_spec("uvloop") is None
    if missing or slow:
        extras = ",".join(_EXTRAS[package] for package in missing)
        advice = f"pip install 'candlewick[{extras}]'" if extras else "pip install uvloop"
        found = ", ".join([*missing, *(["uvloop"] if slow else [])])
        return warning(name, f"{found} not installed", advice)
    return ok(name, f"{', '.join([*_EXTRAS, 'uvloop'])} are installed")


def _strategy(config: Config) -> Check:
    name = "strategy"
    try:
        build_strategy(load_strategy(config.strategy.name), config.strategy.params)
    except CandlewickError as error:
        return problem(name, str(error), "name another one, or repair it")
    return ok(name, f"{config.strategy.name} loads with its parameters")


def _data(config: Config) -> Check:
    name = "candle files"
    missing = [file for file in config.data.files if not Path(file).exists()]
    if missing:
        return problem(name, f"{', '.join(missing)} does not exist", "correct data.files")
    if not config.data.files:
        return skipped(name, "none are named")
    return ok(name, f"{len(config.data.files)} files and folders are there")


# -- the journal ---------------------------------------------------------------------------------


def _journal(directory: Path, segment: int) -> Iterator[Check]:
    """Try in the directory, or where it would be made, what the journal does."""
    there = directory
    while not there.exists() and there != there.parent:
        there = there.parent
    choose = "check its permissions, or choose another with --journal"
    try:
        trial = Path(tempfile.mkdtemp(prefix=".doctor-", dir=there))
    except OSError as error:
        yield problem("journal", f"{directory} cannot be written: {error.strerror}", choose)
        return
    try:
        made = "" if there == directory else f"; it will be made in {there}"
        yield ok("journal", f"{directory} can be written{made}")
        yield _space(there, segment)
        yield _file_system(trial)
    finally:
        shutil.rmtree(trial, ignore_errors=True)


def _space(there: Path, segment: int) -> Check:
    name, free = "disk space", shutil.disk_usage(there).free
    found = f"{free / _MIB:,.0f} MiB free"
    if free < _SEGMENTS * segment:
        advice = f"make room: the journal prepares {_SEGMENTS} files of {segment // _MIB} MiB"
        return problem(name, f"{found} at {there}", advice)
    if free < _LITTLE_SPACE:
        return warning(name, f"{found} at {there}", "make room; a full disk blocks entries")
    return ok(name, found)


def _file_system(trial: Path) -> Check:
    """Allocate, map, lock, sync and rename, as the journal's files are."""
    name = "file system"
    try:
        segment = Segment(trial / "a", _MIB)
        try:
            segment.append(b"x")
            segment.sync()
            segment.rename(trial / "b")
            segment.seal()
        finally:
            if not segment.sealed:
                segment.close()
        handle = os.open(trial / "b", os.O_RDWR)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(handle)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return problem(
            name, f"what the journal needs fails: {reason}",
            "use a local file system, as ext4, xfs or apfs, and not one over a network",
        )  # fmt: skip
    return ok(name, "allocates, maps, syncs and locks files")


def _lock(directory: Path) -> Check:
    """Whether somebody writes the journal now, without taking the lock away from anybody."""
    name, path = "journal lock", directory / ".lock"
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return ok(name, "free: no run has used the directory")
    except OSError as error:
        return problem(name, f"{path} cannot be read: {error.strerror}", "check its permissions")
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(handle, 500, 0).decode(errors="replace").strip() or "another process"
        return problem(
            name, f"held by {holder}", "stop it, or choose another directory with --journal"
        )
    finally:
        os.close(handle)
    return ok(name, "free")


# -- the process ---------------------------------------------------------------------------------


def _open_files() -> Check:
    name, (soft, _) = "open files", resource.getrlimit(resource.RLIMIT_NOFILE)
    found = f"a process may have {soft:,} open"
    if soft != resource.RLIM_INFINITY and soft < _ENOUGH_FILES:
        advice = "raise the limit: ulimit -n 1024"
        least = problem if soft < _FEW_FILES else warning
        return least(name, found, advice)
    return ok(name, "unlimited" if soft == resource.RLIM_INFINITY else found)


def _metrics_port(config: Config) -> Check:
    name, settings = "metrics", config.monitoring
    if not settings.enabled:
        return skipped(name, "monitoring is off")
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            return problem(
                name, f"{settings.host}:{settings.port} cannot be listened on: {error.strerror}",
                "stop what listens there, or set monitoring.port to another, or 0",
            )  # fmt: skip
    return ok(name, f"{settings.host}:{settings.port or 'any port'} can be listened on")


def _notifications(environment: Mapping[str, str]) -> Check:
    name = "notifications"
    try:
        senders = senders_from(environment, hide)
    except ConfigError as error:
        return problem(name, str(error), "see the page on notifications")
    if not senders:
        return warning(
            name, "nobody is told when something happens",
            "set CANDLEWICK_WEBHOOK_URL, CANDLEWICK_DISCORD_URL or CANDLEWICK_TELEGRAM_TOKEN and"
            " _CHAT",
        )  # fmt: skip
    return ok(name, f"told to: {', '.join(sender.name for sender in senders)}")
