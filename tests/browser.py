"""A headless browser, where one is installed: pages as people get to see them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

__all__ = ["document_of", "needs_browser"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_BROWSER = next(filter(None, map(shutil.which, _NAMES)), None)

needs_browser = pytest.mark.skipif(
    _BROWSER is None, reason=f"no browser is installed (looked for {', '.join(_NAMES)})"
)


def document_of(
    address: str, folder: Path, *, width: int = 1_200, dark: bool = False, wait_ms: int = 0
) -> tuple[str, str]:
    """Open a page; returns its document after ``wait_ms``, and what the browser has logged.

    The browser can reach this machine only.
    """
    assert _BROWSER is not None
    done = subprocess.run(
        [
            _BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--no-first-run", "--disable-background-networking", "--enable-logging=stderr",
            f"--user-data-dir={folder / 'profile'}", f"--window-size={width},1400",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            *([f"--virtual-time-budget={wait_ms}"] if wait_ms else []),
            "--dump-dom", address,
        ],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    return done.stdout, done.stderr
