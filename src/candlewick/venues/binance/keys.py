"""`ApiKeys`: the two secrets of an account. They appear in no message, no log and no `repr`."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from candlewick.errors import ConfigError
from candlewick.venues.binance.signing import Signer

__all__ = ["ApiKeys"]

_KEY = "CANDLEWICK_API_KEY"
_SECRET = "CANDLEWICK_API_SECRET"


class ApiKeys:
    """An API key and its secret."""

    __slots__ = ("key", "secret", "signer")

    def __init__(self, key: str, secret: str) -> None:
        for name, value in (("key", key), ("secret", secret)):
            if not value or not value.isascii() or not value.isprintable() or " " in value:
                raise ConfigError(f"the API {name} is empty or has characters that no {name} has")
        self.key = key
        self.secret = secret
        self.signer = Signer(secret)

    def __repr__(self) -> str:
        return "ApiKeys(***)"

    __str__ = __repr__

    def __reduce__(self) -> str:
        raise TypeError("API keys are not to be written anywhere")

    def redact(self, text: str) -> str:
        """Replace both secrets in a text."""
        return text.replace(self.key, "***").replace(self.secret, "***")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> ApiKeys:
        """Take them from CANDLEWICK_API_KEY and CANDLEWICK_API_SECRET; raises ConfigError."""
        values = os.environ if environment is None else environment
        missing = [name for name in (_KEY, _SECRET) if not values.get(name)]
        if missing:
            raise ConfigError(f"set {' and '.join(missing)} in the environment")
        return cls(values[_KEY].strip(), values[_SECRET].strip())

    @classmethod
    def from_file(cls, path: str | Path) -> ApiKeys:
        """Take them from a file with the lines ``key = ...`` and ``secret = ...``.

        Raises:
            ConfigError: others may read the file, or it lacks a line.
        """
        path = Path(path)
        try:
            with path.open(encoding="utf-8") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                lines = file.read().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise ConfigError(f"the key file {path} cannot be read: {reason}") from None
        if mode & 0o077:
            raise ConfigError(
                f"the key file {path} has mode {mode:o}: others may read it; chmod 600 {path}"
            )
        values = {}
        for line in lines:
            name, separator, value = line.partition("=")
            if separator:
                values[name.strip().lower()] = value.strip().strip("\"'")
        missing = [name for name in ("key", "secret") if not values.get(name)]
        if missing:
            raise ConfigError(f"the key file {path} has no line '{missing[0]} = ...'")
        return cls(values["key"], values["secret"])
