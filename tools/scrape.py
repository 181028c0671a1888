"""`python -m tools.scrape`: start an engine, print its metrics as Prometheus gets them, stop it.

For `promtool check metrics`, which wants them on its standard input.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

__all__ = ["main"]

_TIMEOUT_S = 30.0


def main() -> int:
    """Print the metrics; the engine's exit code, which is 0 once the account is flat."""
    program = str(Path(sys.executable).with_name("candlewick"))
    with tempfile.TemporaryDirectory() as folder:
        # an hour of the market a second: trades come, and the end does not
        command = [program, "run", "--speed", "3600", "--journal", f"{folder}/journal"]
        with subprocess.Popen(
            command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as engine:
            address = _address(engine)
            if address:
                with urllib.request.urlopen(address, timeout=_TIMEOUT_S) as answer:
                    sys.stdout.write(answer.read().decode())
                engine.send_signal(signal.SIGINT)
            _, rest = engine.communicate(timeout=_TIMEOUT_S)
        if not address or engine.returncode:
            sys.stderr.write(rest)
            return engine.returncode or 1
    return 0


def _address(engine: subprocess.Popen[str]) -> str:
    """Read the engine's log until it says where its metrics are; empty when it ends before."""
    for line in engine.stderr or ():
        if found := re.search(r"http://\S+/metrics", line):
            return found[0]
        sys.stderr.write(line)
    return ""


if __name__ == "__main__":
    sys.exit(main())
