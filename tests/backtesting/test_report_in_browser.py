"""The report as a browser shows it: charts with room, tables that sort, both themes, a phone."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from candlewick import backtest
from tests.browser import document_of, needs_browser

pytestmark = needs_browser

# what the page is asked once it stands; the answer is read from the dumped document
PROBE = """
<script>
window.faults = [];
window.addEventListener("error", (event) => window.faults.push(event.message));
</script>
"""
QUESTIONS = """
<script>
const cells = (place) => [...document.querySelectorAll("#trades tbody tr")].map(
  (row) => row.children[place].textContent);
const press = (place) => document.querySelectorAll("#trades th button")[place].click();
const answer = { faults: window.faults, width: innerWidth };
answer.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
answer.resources = performance.getEntriesByType("resource").map((entry) => entry.name);
answer.charts = [...document.querySelectorAll("details[open] .chart, section > .chart")].map(
  (chart) => chart.querySelector(".plot").getBoundingClientRect().height);
answer.equity = (() => {
  const box = document.querySelector(".line.equity").getBoundingClientRect();
  return [box.width, box.height];
})();
answer.paper = getComputedStyle(document.body).backgroundColor;
answer.ink = getComputedStyle(document.body).color;
answer.first = cells(0);
press(7); answer.best = cells(7);
press(7); answer.worst = cells(7);
document.getElementById("next").click(); answer.second = cells(7);
const search = document.getElementById("search");
search.value = "END OF THE DATA"; search.dispatchEvent(new Event("input"));
answer.found = cells(11);
document.querySelector("#trades tbody tr").click();
answer.chosen = document.querySelectorAll("details .chosen").length;
const plot = document.querySelector(".plot"), box = plot.getBoundingClientRect();
plot.dispatchEvent(new PointerEvent("pointermove", { clientX: box.left + box.width / 2 }));
answer.tip = plot.querySelector(".tip").textContent;
document.getElementById("theme").click();
answer.other = getComputedStyle(document.body).backgroundColor;
const out = document.createElement("pre");
out.id = "answer"; out.textContent = JSON.stringify(answer);
document.body.append(out);
</script>
"""


def asked(page: Path, folder: Path, *, width: int, dark: bool) -> dict[str, Any]:
    """Open the page in a browser that can reach nothing, and return its answers."""
    text = page.read_text(encoding="utf-8")
    probe = folder / f"probe-{width}-{dark}.html"
    text = text.replace("<head>", f"<head>{PROBE}").replace("</body>", f"{QUESTIONS}</body>")
    probe.write_text(text, encoding="utf-8")
    document, logged = document_of(probe.as_uri(), folder, width=width, dark=dark)
    found = re.search(r'<pre id="answer">(.*?)</pre>', document, re.DOTALL)
    assert found is not None, logged[-3000:]
    answer: dict[str, Any] = json.loads(html.unescape(found[1]))
    return answer


def number(text: str) -> float:
    return float(text.replace(",", ""))


def light(colour: str) -> float:
    """Mean of red, green and blue, 0 to 255."""
    parts = [float(part) for part in re.findall(r"[\d.]+", colour)[:3]]
    return sum(parts) / 3.0


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    result = backtest("sma_cross", interval="1h", candles=4_000)
    assert result.trades > 100
    return result.report(tmp_path_factory.mktemp("report") / "report.html")


def test_a_browser_shows_it_light_and_wide(page: Path, tmp_path: Path) -> None:
    found = asked(page, tmp_path, width=1_200, dark=False)
    assert found["faults"] == []
    assert found["resources"] == [], "one file is all there is"
    assert found["overflow"] <= 0
    assert len(found["charts"]) >= 4
    assert min(found["charts"]) > 100.0
    assert found["equity"][0] > 900.0
    assert found["equity"][1] > 100.0
    assert light(found["paper"]) > 200.0 > 100.0 > light(found["ink"])
    assert light(found["other"]) < 60.0, "the button makes it dark"
    assert found["first"] == [str(place) for place in range(1, 51)]
    best, worst = ([number(cell) for cell in found[name]] for name in ("best", "worst"))
    assert best == sorted(best, reverse=True)
    assert worst == sorted(worst)
    assert best[0] > 0.0 > worst[0]
    assert number(found["second"][0]) >= worst[-1], "the next page goes on"
    assert found["found"] == ["the end of the data"]
    assert found["chosen"] == 1
    assert re.match(r"2024-\d\d-\d\d \d\d:\d\d\nequity [\d,.]+\ndrawdown -?[\d.]+%", found["tip"])


def test_a_browser_shows_it_dark_and_narrow(page: Path, tmp_path: Path) -> None:
    found = asked(page, tmp_path, width=390, dark=True)
    assert found["faults"] == []
    assert found["width"] <= 520, "as narrow as the browser's window can be"
    assert found["overflow"] <= 0, "only tables scroll sideways, inside of their own box"
    assert min(found["charts"]) > 80.0
    assert light(found["paper"]) < 60.0 < 180.0 < light(found["ink"])
    assert light(found["other"]) > 200.0, "the button makes it light"
