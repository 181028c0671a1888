"""The report: its figures, its honesty, its size, and that it is one file which needs no other."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from candlewick import backtest
from candlewick.backtesting.report import report_html
from candlewick.cli.main import run_command
from candlewick.errors import ConfigError
from candlewick.models import Candle
from candlewick.risk import RiskSettings
from candlewick.strategies import Strategy

FREE = RiskSettings(daily_loss=0.0, default_stop=0.0, max_leverage=0.0, max_orders_per_minute=0)
HOSTILE = '</script><script>alert("&")</script>'


class Often(Strategy):
    """In and out at every other candle, with words that a page must not take for its own."""

    def on_candle(self, candle: Candle) -> None:
        if self.position.is_flat:
            self.buy(size=0.01, reason=HOSTILE)
        else:
            self.close(reason="enough <b>of it</b>")


class Fails(Strategy):
    """Raises after it has bought."""

    def on_start(self) -> None:
        self.seen = 0

    def on_candle(self, candle: Candle) -> None:
        self.seen += 1
        if self.seen == 5:
            self.buy(size=0.01)
        if self.seen == 9:
            raise ValueError("<i>nine</i>")


def trades_in(page: str) -> dict[str, Any]:
    found = re.search(r'id="trades-data">(.*?)</script>', page)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_the_report_holds_the_figures_of_the_run(btc_month: Path) -> None:
    result = backtest(
        "donchian_breakout", btc_month, interval="15m", params={"period": 21}, slippage_bps=1.5
    )
    page = report_html(result)
    for words in (
        f"{result.net_profit:,.2f}", f"{result.final_equity:,.2f}", f"{result.max_drawdown:.2%}",
        f"{result.sharpe:.2f}", f"{result.profit_factor:.2f}", f"{result.win_rate:.2%}",
        f"{result.fees:,.2f}", btc_month.name, "<td>period</td><td>21</td>",
        "<td>slippage_bps</td><td>1.5</td>", "<td>max_leverage</td>",
    ):  # fmt: skip
        assert words in page, words
    rows = trades_in(page)["rows"]
    assert len(rows) == result.trades
    assert sum(row[7] for row in rows) == pytest.approx(result.net_profit, abs=0.005 * len(rows))
    words = trades_in(page)["words"]
    assert {words[row[10]] for row in rows} == {"breakout", "breakdown"}
    assert {"stop", "target"} <= {words[row[11]] for row in rows}


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    made = [
        backtest("sma_cross", interval="1h", candles=800).report(tmp_path / f"{n}.html")
        for n in range(2)
    ]
    assert made[0].read_bytes() == made[1].read_bytes()


def test_a_synthetic_market_is_said_to_be_one_and_a_recorded_is_not(btc_month: Path) -> None:
    assert "Synthetic market." in report_html(backtest("sma_cross", candles=500))
    real = report_html(backtest("sma_cross", btc_month, candles=500))
    assert "Synthetic" not in real
    assert "synthetic" not in real


def test_the_page_refers_to_nothing_outside_of_it(btc_month: Path) -> None:
    page = report_html(backtest("sma_cross", btc_month, candles=2_000))
    assert not re.search(r"<(link|img|iframe|object)\b|\bsrc=|\bhref=|@import|url\(", page)
    assert set(re.findall(r"https?://[^\"' ]+", page)) <= {"http://www.w3.org/2000/svg"}


def test_words_of_a_strategy_stay_words(btc_month: Path) -> None:
    page = report_html(backtest(Often, btc_month, candles=200, risk=FREE))
    assert page.count("</script>") == page.count("<script")
    assert "<b>of it" not in page
    assert HOSTILE in trades_in(page)["words"]


def test_very_many_trades_and_candles_stay_a_small_page(btc_month: Path) -> None:
    result = backtest(Often, btc_month, risk=FREE)
    page = report_html(result)
    assert result.trades > 20_000
    assert len(trades_in(page)["rows"]) == 5_000
    assert f"of {result.trades:,}; all figures above are over all of them" in page
    assert f"of {result.candles:,} moments are drawn" in page
    assert len(page) < 1_200_000
    largest = sorted((abs(trade.profit) for trade in result.trade_list), reverse=True)[:5_000]
    assert min(abs(row[7]) for row in trades_in(page)["rows"]) == pytest.approx(
        largest[-1], abs=0.005
    )


def test_the_deepest_point_is_drawn_where_it_lay(btc_month: Path) -> None:
    result = backtest("sma_cross", btc_month)
    page = report_html(result)
    found = re.search(r'<script type="application/json">(\{"from".*?)</script>', page)
    assert found is not None
    data = json.loads(found[1])
    (_, equity, *_), (_, fall, *_) = data["show"]
    assert -min(fall) == pytest.approx(result.max_drawdown * 100.0, abs=0.001)
    assert max(equity) == pytest.approx(max(result.equity_curve), abs=0.01)
    assert min(equity) == pytest.approx(min(result.equity_curve), abs=0.01)
    assert data["t"] == sorted(data["t"])


def test_a_strategy_that_raised_has_a_report_that_says_so(btc_month: Path) -> None:
    page = report_html(backtest(Fails, btc_month, candles=100))
    assert "The strategy raised" in page
    assert "&lt;i&gt;nine" in page


@pytest.mark.parametrize("candles", [1, 2, 5])
def test_a_run_without_trades_has_a_report(candles: int) -> None:
    assert "No trade was closed" in report_html(backtest("sma_cross", candles=candles))


def test_a_portfolio_has_a_chart_of_each_symbol(ten_pairs: list[Path]) -> None:
    result = backtest("donchian_breakout", ten_pairs, cash=10.0)
    page = report_html(result)
    assert all(f'data-symbol="{symbol}"' in page for symbol in result.symbols)
    assert "52 candles are missing" in page
    assert "Fees and funding, BTC" in page


# -- the command -----------------------------------------------------------------------------------


def test_the_command_writes_a_report_and_says_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "out.html"
    assert run_command(["backtest", "--candles", "300", "--report", str(file)]) == 0
    assert str(file) in capsys.readouterr().out
    assert file.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert run_command(["backtest", "--candles", "300", "--report", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["candles"] == 300
    assert [path.name for path in tmp_path.iterdir()] == ["out.html"], "nothing is left beside it"


def test_a_report_that_cannot_be_written_is_said_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = tmp_path / "none" / "out.html"
    assert run_command(["backtest", "--data", "no-such.csv", "--report", str(lost)]) == 2
    assert f"there is no folder '{lost.parent}'; make it first" in capsys.readouterr().err
    assert run_command(["backtest", "--report", str(tmp_path)]) == 2
    assert "is a folder; name a file in it" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="no folder"):
        backtest("sma_cross", candles=10).report(lost)
