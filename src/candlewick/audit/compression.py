"""zstd, from the ``compress`` extra."""

from __future__ import annotations

from typing import Any

from candlewick.errors import ConfigError

__all__ = ["compress", "decompress"]


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError:
        raise ConfigError(
            "compressed journal files need zstandard: pip install 'candlewick[compress]'"
        ) from None
    return zstandard


def compress(content: bytes, level: int = 10) -> bytes:
    """Return one zstd frame, with a checksum."""
    module = _zstandard()
    frame: bytes = module.ZstdCompressor(level=level, write_checksum=True).compress(content)
    return frame


def decompress(frame: bytes) -> bytes:
    """Return what `compress` was given; raises ValueError for anything else."""
    module = _zstandard()
    try:
        content: bytes = module.ZstdDecompressor().decompress(frame)
    except module.ZstdError as error:
        raise ValueError(f"not a whole zstd frame: {error}") from None
    return content
