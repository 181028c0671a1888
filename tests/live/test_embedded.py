"""Runs on a sandbox of their own, over real sockets: the fills of a backtest, in every ending."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from candlewick.audit import AuditLogger
from candlewick.backtesting import Account, Run, prepare, run_backtest
from candlewick.cli.venues import embedded
from candlewick.config import Config, parse_config
from candlewick.data import Market, load_market
from candlewick.engine import StopPolicy
from candlewick.errors import ExitCode
from candlewick.exchange import ExchangeSettings, MarginType
from candlewick.live import Outcome, SystemSettings, TradingSystem
from candlewick.live.assembly import network_system
from candlewick.live.embedded import is_stepped
from candlewick.models import Candle, Fill
from candlewick.risk import RiskSettings
from candlewick.strategies import Strategy

ReadRecords = Callable[[Path], list[dict[str, Any]]]
NO_RISK_LIMITS = RiskSettings(daily_loss=0.0, default_stop=0.01)


def run_embedded(
    parts: Run,
    directory: Path,
    *,
    speed: float | str = "max",
    risk: RiskSettings = NO_RISK_LIMITS,
    on_stop: StopPolicy = StopPolicy.FLATTEN,
    before: Callable[[TradingSystem], None] | None = None,
) -> Outcome:
    """Run a strategy on an embedded sandbox to its end, in an event loop of its own."""
    config: Config = parse_config({"data": {"speed": speed}})

    async def main() -> Outcome:
        with AuditLogger(directory, run_id="sim0") as journal:
            async with embedded(config, parts) as connection:
                system = await network_system(
                    connection.venue, journal, strategy=parts.strategy, name=parts.name,
                    symbols=connection.symbols, interval=connection.interval, risk=risk,
                    settings=SystemSettings(
                        run_id="sim0", account=connection.account, on_stop=on_stop
                    ),
                    network=connection.network, embedded=connection.embedded,
                )  # fmt: skip
                if before is not None:
                    before(system)
                return await system.run()

    return asyncio.run(main())


def fills_of(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record["data"] for record in records if record["type"] == "fill"]


def plain(fill: dict[str, Any]) -> dict[str, Any]:
    """A fill without the numbers that exchanges give: ids of trades, of orders, of the run."""
    given = {"trade_id", "venue_id", "client_id"}
    return {name: value for name, value in fill.items() if name not in given}


def check_same(
    parts: Callable[[], Run], directory: Path, read_records: ReadRecords, least: int
) -> Outcome:
    """Run live and as a backtest: equal fills, to the last bit, and equal figures."""
    outcome = run_embedded(parts(), directory)
    result = run_backtest(parts(), risk=NO_RISK_LIMITS)
    wanted: list[Fill] = result.fill_list
    ours = [plain(fill) for fill in fills_of(read_records(directory))]
    theirs = [plain(fill) for fill in msgspec.to_builtins(wanted)]
    assert ours == theirs
    assert len(ours) >= least
    assert outcome.exit_code is ExitCode.OK
    assert not outcome.problems
    figures, expected = outcome.summary.as_json(), result.as_json()
    # a live run adds fees up symbol by symbol, a backtest as they come
    assert figures["fees"] == pytest.approx(expected["fees"], rel=1e-12)
    for name in expected.keys() - {"venue", "elapsed_s", "journal", "fees"}:
        assert figures[name] == expected[name], name
    return outcome


class Watcher(Strategy):
    """Trades on a short interval by what it has seen of a longer one, in several symbols."""

    intervals = ("15m", "5m")

    def on_start(self) -> None:
        self.closes: dict[str, float] = {}
        self.seen: list[tuple[str, str, int]] = []

    def on_candle(self, candle: Candle) -> None:
        self.seen.append((candle.symbol, candle.interval, candle.close_time))
        if candle.interval == "15m":
            self.closes[candle.symbol] = candle.close
        elif candle.interval == "1m" and len(self.seen) % 7 == 0:
            before = self.closes.get(candle.symbol, candle.close)
            if self.position.is_flat:
                self.buy(stop=candle.close * 0.99) if candle.close > before else self.sell(
                    stop=candle.close * 1.01, target=candle.close * 0.99
                )
            else:
                self.close()


class Holds(Strategy):
    """Buys once, with a stop, and holds."""

    def on_start(self) -> None:
        self.seen = 0

    def on_candle(self, candle: Candle) -> None:
        self.seen += 1
        if self.seen == 10:
            self.buy(stop=candle.close * 0.9)


class Raises(Holds):
    """Raises while it holds."""

    def on_candle(self, candle: Candle) -> None:
        super().on_candle(candle)
        if self.seen == 30:
            raise ValueError("a bug in the strategy")


def test_it_makes_the_fills_of_the_backtest(
    btc_month: Path, tmp_path: Path, read_records: ReadRecords
) -> None:
    market = load_market([btc_month], candles=1_000)
    check_same(lambda: prepare("sma_cross", market), tmp_path, read_records, least=100)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("strategy", ["sma_cross", "donchian_breakout"])
def test_it_makes_the_fills_of_the_backtest_in_the_whole_month(
    btc_month: Path, tmp_path: Path, read_records: ReadRecords, strategy: str
) -> None:
    market = load_market([btc_month])
    check_same(lambda: prepare(strategy, market), tmp_path, read_records, least=1_000)


def test_fees_slippage_funding_and_isolated_margin_are_those_of_the_account(
    tmp_path: Path, read_records: ReadRecords
) -> None:
    market = load_market([], candles=1_200, seed=5)
    account = Account(
        cash=5_000.0, fee_taker=0.0011, fee_maker=0.0003,
        exchange=ExchangeSettings(
            slippage_bps=2.0, leverage=5, funding_rate=0.0007, margin_type=MarginType.ISOLATED
        ),
    )  # fmt: skip
    outcome = check_same(
        lambda: prepare("sma_cross", market, account=account), tmp_path, read_records, least=50
    )
    assert outcome.summary.funding != 0.0


def test_funding_of_cross_margin_is_looked_up_before_the_market_moves_on(
    tmp_path: Path, read_records: ReadRecords
) -> None:
    market = load_market([], symbols=["BTCUSDT", "ETHUSDT"], candles=1_000, seed=2)
    account = Account(exchange=ExchangeSettings(funding_rate=0.0005))
    outcome = check_same(
        lambda: prepare("sma_cross", market, account=account), tmp_path, read_records, least=50
    )
    assert outcome.summary.funding != 0.0


def test_several_symbols_and_intervals_are_shown_in_the_order_of_a_backtest(
    tmp_path: Path, read_records: ReadRecords
) -> None:
    market = load_market([], symbols=["BTCUSDT", "ETHUSDT", "SOLUSDT"], candles=400, seed=4)
    made: list[Run] = []

    def parts() -> Run:
        made.append(prepare(Watcher, market))
        return made[-1]

    check_same(parts, tmp_path, read_records, least=100)
    live, test = (run.strategy for run in made)
    assert isinstance(live, Watcher)
    assert isinstance(test, Watcher)
    assert live.seen == test.seen
    assert ("ETHUSDT", "15m") in {(symbol, interval) for symbol, interval, _ in live.seen}


def _pairs(paths: list[Path], names: tuple[str, ...]) -> Market:
    """Days of some pairs in which candles are missing."""
    market = load_market([path for path in paths if path.name.split("-")[0] in names])
    tables = tuple(table[1_200:2_000] for table in market.tables)
    return msgspec.structs.replace(market, tables=tables, problems=())


def test_gaps_are_passed_over_as_in_the_backtest(
    ten_pairs: list[Path], tmp_path: Path, read_records: ReadRecords
) -> None:
    market = _pairs(ten_pairs, ("adabtc", "ethbtc"))
    assert market.missing_candles == 40
    outcome = check_same(
        lambda: prepare("sma_cross", market, params={"fast": 20, "slow": 60}), tmp_path,
        read_records, least=10,
    )  # fmt: skip
    assert outcome.summary.missing_candles == 40
    records = read_records(tmp_path)
    told = [r["data"]["reason"] for r in records if r["type"] == "stream_changed"]
    assert any("33 candles of 5m are missing" in reason for reason in told)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_ten_pairs_run_as_one_portfolio(
    ten_pairs: list[Path], tmp_path: Path, read_records: ReadRecords
) -> None:
    market = load_market(ten_pairs)
    params = {"fast": 50, "slow": 200}
    outcome = check_same(
        lambda: prepare("sma_cross", market, params=params), tmp_path, read_records, least=800
    )
    assert outcome.summary.missing_candles == 52


def test_a_run_begins_anew_whatever_its_journal_holds_of_earlier_ones(
    tmp_path: Path, read_records: ReadRecords
) -> None:
    """The account of an earlier run has ended with it: there is nothing to take up."""
    market = load_market([], candles=600, seed=3)
    kept = run_embedded(prepare(Holds, market), tmp_path, on_stop=StopPolicy.KEEP)
    assert kept.exit_code is ExitCode.OK
    assert kept.summary.fills == 1
    before = len(read_records(tmp_path))

    first = run_embedded(prepare("sma_cross", market), tmp_path)
    between = len(read_records(tmp_path))
    second = run_embedded(prepare("sma_cross", market), tmp_path)
    records = read_records(tmp_path)
    assert first.exit_code is second.exit_code is ExitCode.OK
    assert first.summary.start_equity == 10_000.0
    earlier, later = fills_of(records[before:between]), fills_of(records[between:])
    assert json.dumps(earlier) == json.dumps(later)
    assert len(earlier) > 20


def test_a_strategy_that_raises_ends_flat_and_says_so(tmp_path: Path) -> None:
    market = load_market([], candles=400, seed=3)
    outcome = run_embedded(prepare(Raises, market), tmp_path, on_stop=StopPolicy.KEEP)
    assert outcome.exit_code is ExitCode.STRATEGY_FAILED
    assert not outcome.problems
    assert (outcome.summary.candles, outcome.summary.trades) == (30, 1)


def test_a_stop_in_the_middle_closes_at_the_last_price(
    tmp_path: Path, read_records: ReadRecords
) -> None:
    market = load_market([], candles=400, seed=3)

    def stop_at_candle_50(system: TradingSystem) -> None:
        class Stops(Holds):
            def on_candle(self, candle: Candle) -> None:
                super().on_candle(candle)
                if self.seen == 50:
                    system.request_stop("that is enough")

        system.engine.strategy.__class__ = Stops

    outcome = run_embedded(prepare(Holds, market), tmp_path, before=stop_at_candle_50)
    assert outcome.exit_code is ExitCode.OK
    assert outcome.summary.ended_by == "that is enough"
    assert outcome.summary.candles == 50
    fills = fills_of(read_records(tmp_path))
    assert [fill["side"] for fill in fills] == ["buy", "sell"]
    assert fills[1]["price"] == float(market.tables[0].close[49])
    assert fills[1]["time"] == int(market.tables[0].close_time[49])


def test_a_slow_machine_changes_nothing(tmp_path: Path, read_records: ReadRecords) -> None:
    """Real time that passes while the market stands still is nobody's business."""
    market = load_market([], candles=120, seed=5)
    params = {"fast": 3, "slow": 6}

    def stall_often(system: TradingSystem) -> None:
        submit = system.venue.submit

        async def slow(order: Any) -> None:
            await asyncio.sleep(0.05)
            await submit(order)

        system.venue.submit = slow  # type: ignore[method-assign]

    found = []
    for name, before in (("quick", None), ("slow", stall_often)):
        parts = prepare("sma_cross", market, params=params)
        run_embedded(parts, tmp_path / name, before=before)
        found.append(fills_of(read_records(tmp_path / name)))
    assert found[0] == found[1]
    assert len(found[0]) > 20


@pytest.mark.parametrize(
    ("interval", "speed", "stepped"),
    [("1m", None, True), ("1m", 60.0, True), ("1m", 20.0, False), ("1m", 1.0, False),
     ("1h", 1_000.0, False), ("1h", 20_000.0, True)],
)  # fmt: skip
def test_the_market_waits_where_its_candles_are_short(
    interval: str, speed: float | None, stepped: bool
) -> None:
    assert is_stepped(interval, speed) is stepped


def test_a_flowing_market_ends_the_run_with_its_data(
    tmp_path: Path, read_records: ReadRecords
) -> None:
    """Two seconds and more a candle: it trades inside its candles, and waits for nobody."""
    market = load_market([], candles=3, seed=5)
    prices: list[float] = []

    def watch(system: TradingSystem) -> None:
        system.bus.subscribe("price_updated", lambda e: prices.append(e.payload.close), name="eye")

    outcome = run_embedded(prepare(Holds, market), tmp_path, speed=29.0, before=watch)
    assert outcome.exit_code is ExitCode.OK
    assert outcome.summary.ended_by == "the end of the data"
    closed = [r["data"] for r in read_records(tmp_path) if r["type"].startswith("candle_")]
    assert [candle["close"] for candle in closed] == market.tables[0].close.tolist()
    assert len(set(prices)) > 6
