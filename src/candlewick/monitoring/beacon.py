"""`Beacon`: the small file by which another terminal finds a running engine.

One file an engine, below ``$XDG_RUNTIME_DIR``, else in the temporary directory of this user. It is
locked as long as the engine lives; the kernel gives the lock back however the process ends, so a
file without a lock is a leftover, whoever has its process id now.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from pathlib import Path

import msgspec

from candlewick.errors import ConfigError

__all__ = ["Beacon", "EngineAddress", "find_engines", "runtime_directory"]

_SUFFIX = ".json"


class EngineAddress(msgspec.Struct, frozen=True):
    """Where a running engine answers; ``started`` is UTC ms, ``journal`` an absolute path."""

    pid: int
    host: str
    port: int
    run_id: str
    strategy: str
    venue: str
    journal: str
    started: int


def runtime_directory() -> Path:
    """Return the directory of the beacons, made with access for this user alone.

    Raises:
        ConfigError: it cannot be made, or somebody else owns it.
    """
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base:
        path = Path(base) / "candlewick"
    else:
        path = Path(tempfile.gettempdir()) / f"candlewick-{os.getuid()}"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be made: {error.strerror}; set XDG_RUNTIME_DIR to a writable directory"
        ) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise ConfigError(f"{path} is not a directory of this user; set XDG_RUNTIME_DIR")
    return path


class Beacon:
    """The file of this process; lit until `remove`, or until the process ends."""

    def __init__(self, address: EngineAddress) -> None:
        """Write the file; raises ConfigError when it cannot be written."""
        self.path = runtime_directory() / f"{address.pid}-{address.port}{_SUFFIX}"
        hidden = self.path.with_suffix(".new")
        try:
            self._fd = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(self._fd, msgspec.json.encode(address))
            hidden.rename(self.path)  # whoever sees it sees it locked and complete
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be written: {error.strerror}") from error

    def remove(self) -> None:
        """Take the file away. Idempotent."""
        if self._fd >= 0:
            self.path.unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = -1


def find_engines() -> list[EngineAddress]:
    """Return the engines of this user that run, the oldest first; leftovers are removed."""
    found = []
    for path in runtime_directory().glob(f"*{_SUFFIX}"):
        address = _read(path)
        if address is not None:
            found.append(address)
    return sorted(found, key=lambda address: address.started)


def _read(path: Path) -> EngineAddress | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None  # it went away in this moment
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return msgspec.json.decode(os.read(fd, 65_536), type=EngineAddress)
        path.unlink(missing_ok=True)  # nobody holds it: its process is gone
        return None
    except msgspec.DecodeError:
        return None  # of another version
    finally:
        os.close(fd)
