"""The application log: bounded, redacted, flushed."""

from __future__ import annotations

import io
import logging
import threading
from pathlib import Path

import pytest

from candlewick.errors import ConfigError
from candlewick.logs import LogSystem, hide, redacted

log = logging.getLogger("candlewick.tests")


def test_lines_reach_console_and_file_before_stop_returns(tmp_path: Path) -> None:
    stream = io.StringIO()
    with LogSystem("info", tmp_path / "logs" / "c.log", stream):
        for number in range(500):
            log.info("line %d", number)
        log.debug("not shown")
    assert len(stream.getvalue().splitlines()) == 500
    written = (tmp_path / "logs" / "c.log").read_text().splitlines()
    assert written[-1].endswith("INFO candlewick.tests: line 499")
    assert "T" in written[0].split()[0]
    assert written[0].split()[0].endswith("Z")


@pytest.mark.parametrize(
    "text",
    [
        "apiKey=vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A",
        "X-MBX-APIKEY: vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A",
        "POST /fapi/v1/order?symbol=B&signature=vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw",
        '{"listenKey": "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco"}',
        "secret='vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw'",
    ],
)
def test_what_looks_like_a_secret_is_not_written(text: str) -> None:
    stream = io.StringIO()
    with LogSystem(stream=stream):
        log.warning("%s", text)
    assert "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw" not in stream.getvalue()
    assert "***" in stream.getvalue()


def test_the_name_of_a_request_is_no_secret() -> None:
    text = "POST /fapi/v1/listenKey: ClientConnectorError (Connect call failed)"
    assert redacted(text) == text


def test_a_known_secret_is_hidden_wherever_it_stands() -> None:
    hide("correct horse battery staple")
    assert redacted("it is correct horse battery staple!") == "it is ***!"
    try:
        raise ValueError("correct horse battery staple")
    except ValueError:
        stream = io.StringIO()
        with LogSystem(stream=stream):
            log.exception("failed")
    assert "horse" not in stream.getvalue()


def test_a_full_queue_drops_and_says_so_instead_of_waiting() -> None:
    gate = threading.Event()

    class Slow(io.StringIO):
        def write(self, text: str) -> int:
            gate.wait()
            return super().write(text)

    stream = Slow()
    system = LogSystem(stream=stream)
    system.start()
    for _ in range(12_000):
        log.info("x")
    assert 1_000 < system.dropped <= 2_000
    gate.set()
    system.stop()
    assert f"{system.dropped} log records were left out" in stream.getvalue()


def test_a_log_file_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        LogSystem(file=tmp_path / "file" / "c.log")
