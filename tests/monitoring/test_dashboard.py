"""The dashboard: what a browser shows of a running engine, and of one that has ended."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from candlewick.live.story import Story
from candlewick.models import Event, EventKind, Fill, Side
from tests.browser import document_of, needs_browser
from tests.monitoring.conftest import Engine

MINUTE = 60_000


def text_of(document: str, name: str) -> str:
    """The words inside the element with an id."""
    found = re.search(rf'id="{name}"[^>]*>(.*?)</(?:b|p|h1|table|div|span|svg)>', document, re.S)
    assert found is not None, name
    return " ".join(re.sub(r"<[^>]+>", " ", found[1]).split())


# -- what it shows --------------------------------------------------------------------------------


@needs_browser
def test_a_browser_shows_the_running_engine(
    start_engine: Callable[..., Engine], tmp_path: Path
) -> None:
    engine = start_engine("--speed", "6000", "--journal", "j", "--venue", "simulated")
    wanted = 0
    while wanted < 5:
        wanted = engine.json("/status")["fills"]
    document, logged = document_of(engine.url, tmp_path, wait_ms=1_500)
    assert "CONSOLE" not in logged, logged
    assert text_of(document, "strategy") == "sma_cross"
    assert text_of(document, "where").startswith("simulated, run sim0, 2024-01-01")
    assert text_of(document, "state") == "running"
    tiles = re.sub(r"<[^>]+>", " ", document[document.index('id="tiles"') :])
    assert re.search(r"equity\s+[\d,]+\.\d\d\s+from 10,000\.00", tiles)
    assert re.search(r"(\d+) fills", tiles), tiles
    assert "sell" in text_of(document, "lately") or "buy" in text_of(document, "lately")
    assert 'class="area"' in document, "the equity is drawn"
    assert re.search(r"\d{4}-\d\d-\d\d", text_of(document, "to"))
    assert "journal" in text_of(document, "process")


@needs_browser
def test_a_browser_says_that_an_engine_has_ended(
    start_engine: Callable[..., Engine], tmp_path: Path
) -> None:
    engine = start_engine("--speed", "600", "--journal", "j", "--venue", "simulated")
    page = engine.get("/")[1]
    engine.process.kill()
    engine.process.wait()
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    document, _ = document_of((tmp_path / "page.html").as_uri(), tmp_path, wait_ms=1_000)
    assert text_of(document, "state") == "no answer"
    assert "it has ended, or its event loop stands still" in text_of(document, "trouble")


def test_the_page_is_whole_and_lets_nothing_foreign_in(
    start_engine: Callable[..., Engine],
) -> None:
    engine = start_engine("--speed", "600", "--journal", "j", "--venue", "simulated")
    page = engine.get("/")[1]
    assert not re.search(r"<(link|img|iframe|object)\b|\bsrc=|@import|url\(|innerHTML", page)
    assert "/* style */" not in page
    assert "/* script */" not in page


async def test_the_story_is_told_over_http(start_engine: Callable[..., Engine]) -> None:
    engine = start_engine("--speed", "6000", "--journal", "j", "--venue", "simulated")
    while not any(h["kind"] == "trade" for h in engine.json("/story")["lately"]):
        pass
    story = engine.json("/story")
    assert len(story["times"]) == len(story["equity"]) > 1
    kinds = {happening["kind"] for happening in story["lately"]}
    assert {"fill", "trade"} <= kinds
    assert story["lately"][0]["time"] >= story["lately"][-1]["time"]
    json.dumps(story, allow_nan=False)


# -- what it is made of ---------------------------------------------------------------------------


@pytest.mark.parametrize("candles", [1, 2, 1_023, 1_024, 1_025, 50_000])
def test_the_curve_is_bounded_evenly_spaced_and_ends_now(candles: int) -> None:
    story = Story()
    for number in range(1, candles + 1):
        story.candle(number * MINUTE, float(number))
    sample = story.sample()
    assert len(sample.times) <= 1_024
    assert len(sample.times) >= min(candles, 512)
    assert sample.times[0] == MINUTE
    assert sample.times[-1] == candles * MINUTE
    assert [time / MINUTE for time in sample.times] == sample.equity
    steps = {b - a for a, b in zip(sample.times[:-1], sample.times[1:-1], strict=False)}
    assert len(steps) <= 1


def test_candles_that_close_together_are_one_point() -> None:
    story = Story()
    for equity in (1.0, 2.0, 3.0):
        story.candle(MINUTE, equity)
    assert story.sample().times == [MINUTE]
    assert story.sample().equity == [3.0]


def test_only_the_latest_happenings_are_kept() -> None:
    story = Story()
    for number in range(200):
        fill = Fill(number, "cw-a-1-entry", "BTCUSDT", Side.BUY, 100.0, 1.0, 0.05, number)
        story.input(Event(EventKind.FILL_RECEIVED, fill, number))
    lately = story.sample().lately
    assert len(lately) == 40
    assert [h.time for h in lately] == list(range(199, 159, -1))
    assert lately[0].text == "buy 1 at 100, fee 0.0500"
