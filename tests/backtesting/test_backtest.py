"""A backtest from end to end: on real candles, recounted, and in all its endings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from candlewick import backtest
from candlewick.backtesting import Account, prepare, run_backtest
from candlewick.data import load_funding, load_market
from candlewick.engine import StopPolicy
from candlewick.errors import ConfigError, DataError
from candlewick.exchange import ExchangeSettings, MarginType
from candlewick.models import Candle, CandleTable, Fill
from candlewick.risk import RiskSettings
from candlewick.strategies import Strategy

FREE = RiskSettings(daily_loss=0.0, default_stop=0.0, max_leverage=0.0, max_orders_per_minute=0)


class At(Strategy):
    """Does what the class attribute ``plan`` says at each candle number."""

    plan: dict[int, tuple[str, dict[str, Any]]] = {}  # noqa: RUF012 - read only

    def on_start(self) -> None:
        self.seen = 0
        self.fills: list[Fill] = []

    def on_candle(self, candle: Candle) -> None:
        if self.seen in self.plan:
            action, wishes = self.plan[self.seen]
            getattr(self, action)(**wishes)
        self.seen += 1

    def on_fill(self, fill: Fill) -> None:
        self.fills.append(fill)


def doing(plan: dict[int, tuple[str, dict[str, Any]]]) -> type[Strategy]:
    return type("Doing", (At,), {"plan": plan})


def recount(cash: float, fills: list[Fill]) -> float:
    """The wallet of a flat account, from its fills alone."""
    return cash - sum(f.side.sign * f.quantity * f.price + f.fee for f in fills)


# -- by hand --------------------------------------------------------------------------------------


def test_a_decision_on_a_close_is_filled_at_the_next_open(small_market: Any, table: Any) -> None:
    market = small_market(table([100, 101, 102, 103], opens=[100, 100.5, 101.5, 102.5]))
    plan = doing({1: ("buy", {"size": 1.0}), 2: ("close", {})})
    result = backtest(plan, market, risk=FREE, fee_taker=0.001, cash=1_000.0)
    bought, sold = result.fill_list
    assert (bought.price, bought.time) == (101.5, 120_000)
    assert (sold.price, sold.time) == (102.5, 180_000)
    assert result.fees == pytest.approx(0.2040)
    assert result.net_profit == pytest.approx(1.0 - 0.2040)
    assert result.equity_curve == pytest.approx(
        [1_000.0, 1_000.0, 1_000.0 - 0.1015 + 0.5, 1_000.0 + 1.0 - 0.204]
    )
    assert result.equity_times == [59_999, 119_999, 179_999, 239_999]
    (trade,) = result.trade_list
    assert (trade.entry_price, trade.exit_price) == (101.5, 102.5)
    assert (result.candles, result.signals, result.orders, result.trades) == (4, 2, 2, 1)


def test_what_is_open_at_the_end_is_closed_at_the_last_close(small_market: Any, table: Any) -> None:
    market = small_market(table([100, 101, 102, 110]))
    result = backtest(doing({0: ("buy", {"size": 1.0})}), market, risk=FREE, fee_taker=0.0)
    assert [fill.price for fill in result.fill_list] == [100.0, 110.0]
    assert result.final_equity == result.equity_curve[-1] == 10_010.0
    assert result.trade_list[0].exit_reason == "the end of the data"


def test_the_end_can_keep_positions(run_with_parts: Any, small_market: Any, table: Any) -> None:
    market = small_market(table([100, 101, 102, 110]))
    plan = doing({0: ("buy", {"size": 1.0, "stop": 90.0})})
    ran = run_with_parts(plan, market, policy=StopPolicy.KEEP)
    assert [p.quantity for p in ran.exchange.positions()] == [1.0]
    assert [o.trigger_price for o in ran.exchange.open_orders()] == [90.0]


def test_stop_and_target_work_inside_the_candle(small_market: Any, table: Any) -> None:
    closes = [100, 100, 100, 100, 100]
    market = small_market(table(closes, spread=6.0))
    plan = doing({0: ("buy", {"size": 1.0, "stop": 95.0, "target": 105.0})})
    result = backtest(plan, market, risk=FREE, fee_taker=0.0)
    assert [fill.price for fill in result.fill_list] == [100.0, 95.0]
    assert result.trade_list[0].exit_reason == "stop"


@pytest.mark.parametrize(("highest", "fills"), [(104.9, 1), (105.0, 2)])
def test_a_target_is_reached_when_the_high_touches_it(
    small_market: Any, table: Any, highest: float, fills: int
) -> None:
    closes = [100.0, 100.0, highest, 101.0]
    plan = doing({0: ("buy", {"size": 1.0, "stop": 50.0, "target": 105.0})})
    result = backtest(plan, small_market(table(closes)), risk=FREE)
    assert len([f for f in result.fill_list if f.time < 239_999]) == fills


def test_an_entry_whose_stop_the_open_has_jumped_over_is_closed_at_once(
    small_market: Any, table: Any
) -> None:
    market = small_market(table([100, 90, 90], opens=[100, 90, 90]))
    plan = doing({0: ("buy", {"size": 1.0, "stop": 95.0})})
    result = backtest(plan, market, risk=FREE, fee_taker=0.0)
    assert [(f.side.value, f.price) for f in result.fill_list] == [("buy", 90.0), ("sell", 90.0)]
    assert result.rejections == 1


def test_fees_and_slippage_are_what_is_asked_for(small_market: Any, table: Any) -> None:
    market = small_market(table([100.0] * 6))
    plan = doing({0: ("buy", {"size": 1.0}), 2: ("buy", {"size": 1.0, "price": 100.0})})
    result = backtest(plan, market, risk=FREE, fee_taker=0.01, fee_maker=0.002, slippage_bps=100.0)
    first, second, *_ = result.fill_list
    assert (first.price, first.fee) == (101.0, pytest.approx(1.01))
    assert (second.price, second.fee) == (100.0, pytest.approx(1.0)), "it took at once"


def test_settings_of_the_exchange_are_kept_beside_the_slippage(
    small_market: Any, table: Any
) -> None:
    market = small_market(table([100.0] * 4))
    plan = doing({0: ("buy", {"size": 1.0})})
    rules = ExchangeSettings(fill_parts=4)
    result = backtest(plan, market, risk=FREE, slippage_bps=10.0, exchange=rules)
    assert [fill.quantity for fill in result.fill_list] == [0.25] * 8
    assert result.fill_list[0].price == 100.1


def test_funding_is_paid_and_part_of_the_result(small_market: Any, table: Any) -> None:
    market = small_market(table([100.0] * 10))
    plan = doing({0: ("buy", {"size": 2.0})})
    result = backtest(
        plan, market, risk=FREE, fee_taker=0.0, funding={"BTCUSDT": [(300_000, 0.01)]}
    )
    assert result.funding == pytest.approx(-2.0)
    assert result.net_profit == pytest.approx(-2.0)
    assert result.trade_list[0].funding == pytest.approx(-2.0)
    assert result.equity_curve == pytest.approx([10_000.0] * 5 + [9_998.0] * 5), "at its time"


def test_a_liquidation_shows_in_the_engines_books(
    run_with_parts: Any, small_market: Any, table: Any
) -> None:
    market = small_market(table([100, 100, 100, 50, 50, 50]))
    rules = ExchangeSettings(leverage=10, margin_type=MarginType.ISOLATED)
    ran = run_with_parts(
        doing({0: ("buy", {"size": 100.0})}), market, account=Account(exchange=rules), risk=FREE
    )
    assert ran.loop.trades[0].exit_reason == "liquidation"
    assert ran.engine.is_settled
    covered = ran.exchange.insurance
    assert ran.engine.balance + covered == pytest.approx(ran.exchange.balance, abs=1e-6)


# -- on real candles ------------------------------------------------------------------------------

RUNS: list[tuple[str, dict[str, Any], ExchangeSettings]] = [
    ("sma_cross", {"fast": 50, "slow": 200}, ExchangeSettings()),
    ("sma_cross", {"fast": 10, "slow": 30}, ExchangeSettings(slippage_bps=2.0, fill_parts=3)),
    ("donchian_breakout", {"period": 20}, ExchangeSettings(funding_rate=0.0001, fill_parts=2)),
    ("donchian_breakout", {}, ExchangeSettings(slippage_bps=1.0, margin_type=MarginType.ISOLATED)),
]


@pytest.mark.parametrize(("strategy", "params", "rules"), RUNS)
def test_the_engines_balance_is_the_exchanges_to_the_end(
    run_with_parts: Any,
    btc_month: Path,
    strategy: str,
    params: dict[str, Any],
    rules: ExchangeSettings,
) -> None:
    market = load_market([btc_month])
    account = Account(exchange=rules)
    ran = run_with_parts(
        strategy, market, params=params, account=account, risk=RiskSettings(daily_loss=0.0)
    )
    loop, exchange, engine = ran.loop, ran.exchange, ran.engine
    assert loop.candles == 45_031
    assert len(loop.trades) > 50
    assert engine.is_settled
    assert exchange.open_orders() == []
    assert engine.balance == pytest.approx(exchange.balance, rel=1e-9)
    recounted = recount(account.cash, loop.fills) + exchange.funding_received
    assert engine.balance == pytest.approx(recounted, rel=1e-9)
    assert sum(t.profit for t in loop.trades) == pytest.approx(
        engine.balance - account.cash, rel=1e-9
    )
    assert loop.curve[-1] == engine.equity == engine.balance
    assert not loop.denials


def test_two_runs_are_byte_identical(btc_month: Path) -> None:
    market = load_market([btc_month], candles=8_000)
    runs = [
        backtest("donchian_breakout", market, params={"period": 20}, slippage_bps=1.0)
        for _ in range(2)
    ]
    one, two = (
        msgspec.json.encode([r.fill_list, r.trade_list, r.equity_curve, r.denials]) for r in runs
    )
    assert one == two
    assert len(runs[0].fill_list) > 100


def test_the_equity_of_a_portfolio_is_that_of_whole_moments(small_market: Any, table: Any) -> None:
    """What one symbol loses the other gains at the same close: the account never falls."""

    class Hedged(Strategy):
        def on_candle(self, candle: Candle) -> None:
            if self.position.is_flat:
                ask = self.buy if candle.symbol == "BTCUSDT" else self.sell
                ask(size=1.0)

    closes = [100.0, 90.0, 110.0, 80.0, 120.0, 100.0]
    opens = [100.0, *closes[:-1]]
    market = small_market(
        table(closes, "BTCUSDT", opens=opens), table(closes, "ETHUSDT", opens=opens)
    )
    result = backtest(Hedged, market, risk=FREE, fee_taker=0.0, cash=1_000.0)
    assert result.fills == 4
    assert result.candles == 12
    assert result.equity_times == market.tables[0].close_time.tolist()
    assert result.equity_curve == [1_000.0] * 6
    assert result.max_drawdown == 0.0


def test_ten_pairs_run_as_one_portfolio_with_their_gaps_reported(ten_pairs: list[Path]) -> None:
    market = load_market(ten_pairs)
    result = backtest("donchian_breakout", market, params={"period": 30}, cash=10.0)
    assert len(result.symbols) == 10
    assert result.candles == sum(len(table) for table in market.tables)
    assert result.missing_candles == market.missing_candles == 52
    assert {fill.symbol for fill in result.fill_list} == set(result.symbols)
    assert recount(10.0, result.fill_list) == pytest.approx(result.final_equity, rel=1e-9)
    assert result.equity_times == sorted(result.equity_times)
    held_at_once = 0
    held: dict[str, float] = {}
    for fill in result.fill_list:
        held[fill.symbol] = held.get(fill.symbol, 0.0) + fill.side.sign * fill.quantity
        held_at_once = max(held_at_once, sum(abs(q) > 1e-9 for q in held.values()))
    assert held_at_once >= 3, "a portfolio, not one after the other"
    assert all(abs(quantity) < 1e-6 for quantity in held.values())


def test_the_portfolio_agrees_with_its_exchange(run_with_parts: Any, ten_pairs: list[Path]) -> None:
    ran = run_with_parts("sma_cross", load_market(ten_pairs), account=Account(cash=10.0))
    assert ran.engine.balance == pytest.approx(ran.exchange.balance, rel=1e-9)
    assert ran.engine.is_settled


# -- several intervals ----------------------------------------------------------------------------


class Watches(Strategy):
    """Writes down what it can see at each candle."""

    intervals = ("5m", "1h")

    def on_start(self) -> None:
        self.order: list[tuple[int, str]] = []
        self.wrong: list[str] = []

    def on_candle(self, candle: Candle) -> None:
        self.order.append((candle.close_time, candle.interval))
        if candle.close_time != self.now:
            self.wrong.append(f"{candle} at {self.now}")
        for interval, length in (("1m", 60_000), ("5m", 300_000), ("1h", 3_600_000)):
            history = self.history_of(candle.symbol, interval)
            if len(history) and history.close_time[-1] > self.now:
                self.wrong.append(f"{interval} from the future at {self.now}")
            due = (self.now + 1) // length * length - 1
            if candle.interval == "1m" and len(history) and history.close_time[-1] != due:
                self.wrong.append(f"{interval} ends at {history.close_time[-1]}, not {due}")


def test_a_strategy_sees_only_closed_candles_of_every_interval(
    run_with_parts: Any, btc_month: Path
) -> None:
    market = load_market([btc_month], candles=3_000)
    strategy = run_with_parts(Watches, market).engine.strategy
    assert strategy.wrong == []
    seen = [interval for _, interval in strategy.order]
    assert seen.count("1m") == 3_000
    assert 595 <= seen.count("5m") <= 600
    assert 48 <= seen.count("1h") <= 50
    lengths = {"1m": 1, "5m": 5, "1h": 60}
    keys = [(close, -lengths[interval]) for close, interval in strategy.order]
    assert keys == sorted(keys), "by close, the longest interval first"


def test_higher_candles_are_made_of_the_lower_ones(run_with_parts: Any, btc_month: Path) -> None:
    class Compares(Strategy):
        intervals = ("5m",)
        compared = 0

        def on_candle(self, candle: Candle) -> None:
            if candle.interval == "5m" and len(self.history) >= 4:
                minutes = self.history_of(candle.symbol, "1m")
                inside = minutes.open_time >= candle.open_time
                # the last minute closes at the same time and comes after its five minutes
                assert inside.sum() == 4
                assert candle.high >= minutes.high[inside].max()
                assert candle.open == minutes.open[inside][0]
                self.compared += 1

    ran = run_with_parts(Compares, load_market([btc_month], candles=500))
    assert ran.engine.failure is None
    assert ran.engine.strategy.compared > 90


def test_orders_of_a_multi_interval_run_fill_at_base_opens(
    run_with_parts: Any, btc_month: Path
) -> None:
    class OnFives(Strategy):
        intervals = ("5m",)

        def on_candle(self, candle: Candle) -> None:
            if candle.interval == "5m" and self.position.is_flat:
                self.buy(size=0.01)
            elif candle.interval == "5m":
                self.close()

    market = load_market([btc_month], candles=200)
    loop = run_with_parts(OnFives, market).loop
    opens = dict(
        zip(market.tables[0].open_time.tolist(), market.tables[0].open.tolist(), strict=True)
    )
    inner = loop.fills[:-1]
    assert len(inner) > 30
    assert all(fill.price == opens[fill.time] and fill.time % 300_000 == 0 for fill in inner)


def test_the_market_moves_through_base_candles_only(
    run_with_parts: Any, small_market: Any, table: Any
) -> None:
    """The five-minute candle holds a low from before the entry; its stop must not see it."""

    class Late(Strategy):
        intervals = ("5m",)
        seen = 0

        def on_candle(self, candle: Candle) -> None:
            self.seen += 1
            if self.seen == 3:
                self.buy(size=1.0, stop=95.0)

    closes = [90.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0]
    opens = [90.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0]
    loop = run_with_parts(Late, small_market(table(closes, opens=opens)), risk=FREE).loop
    assert [trade.exit_reason for trade in loop.trades] == ["the end of the data"]


def test_an_order_in_another_symbol_never_meets_a_price_from_before_it(
    run_with_parts: Any, small_market: Any, table: Any
) -> None:
    """Both candles close together; what the first leads to must not trade inside the second."""

    class Crosswise(Strategy):
        def on_candle(self, candle: Candle) -> None:
            if candle.symbol == "BTCUSDT" and candle.close == 102.0:
                self.buy("ETHUSDT", size=5.0)

    btc = table([100.0, 101.0, 102.0, 103.0])
    eth = table([10.0, 11.0, 12.0, 13.0], "ETHUSDT", opens=[10.0, 10.5, 11.5, 12.5])
    loop = run_with_parts(Crosswise, small_market(btc, eth), risk=FREE).loop
    assert (loop.fills[0].price, loop.fills[0].time) == (12.5, 180_000)


# -- strategies that fail -------------------------------------------------------------------------


@pytest.mark.parametrize("symbols", [1, 2])
@pytest.mark.parametrize("where", ["on_candle", "on_fill", "on_start"])
def test_a_strategy_that_raises_ends_the_run_flat(
    small_market: Any, table: Any, where: str, symbols: int
) -> None:
    class Fails(Strategy):
        seen = 0

        def on_start(self) -> None:
            if where == "on_start":
                raise KeyError("start")

        def on_candle(self, candle: Candle) -> None:
            self.seen += 1
            if self.seen == 5 and where == "on_candle":
                raise KeyError("candle")
            if self.seen == 3:
                self.buy(size=1.0)

        def on_fill(self, fill: Fill) -> None:
            if where == "on_fill":
                raise KeyError("fill")

    names = ("BTCUSDT", "ETHUSDT")[:symbols]
    market = small_market(*(table([100.0 + n for n in range(50)], name) for name in names))
    result = backtest(Fails, market)
    assert result.ended_by == "the strategy raised"
    assert "KeyError" in result.failure
    assert result.candles < 10, "nothing is done after it"
    assert len(result.equity_curve) == len(result.equity_times) == result.candles / symbols
    held = sum(fill.side.sign * fill.quantity for fill in result.fill_list)
    assert held == 0.0
    assert result.trades == (0 if where == "on_start" else 1)
    assert result.final_equity == pytest.approx(recount(10_000.0, result.fill_list))


def test_a_strategy_that_raises_when_it_is_stopped_is_reported(
    small_market: Any, table: Any
) -> None:
    class Fails(Strategy):
        def on_stop(self) -> None:
            raise KeyError("stop")

    result = backtest(Fails, small_market(table([100.0, 101.0])))
    assert "KeyError" in result.failure


# -- inputs ---------------------------------------------------------------------------------------


def test_tables_files_and_markets_are_the_same_input(btc_month: Path) -> None:
    market = load_market([btc_month], candles=2_000)
    results = [
        backtest("sma_cross", data, candles=2_000)
        for data in (market, market.tables[0], [market.tables[0]], btc_month, str(btc_month))
    ]
    assert len({result.final_equity for result in results}) == 1
    assert results[0].fills > 0


def test_the_synthetic_market_is_the_default_and_follows_its_seed() -> None:
    one, same, other = (backtest("sma_cross", candles=600, seed=seed) for seed in (3, 3, 4))
    assert one.fill_list == same.fill_list
    assert one.fill_list != other.fill_list
    assert one.candles == 600


def test_progress_is_told(btc_month: Path) -> None:
    told: list[int] = []
    market = load_market([btc_month])
    run_backtest(prepare("sma_cross", market), progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 45_031
    assert len(told) > 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cash": 0.0}, "cash"),
        ({"cash": float("nan")}, "cash"),
        ({"fee_taker": 0.5}, "fee_taker"),
        ({"fee_maker": -0.5}, "fee_maker"),
        ({"slippage_bps": -1.0}, "slippage_bps"),
        ({"params": {"fats": 3}}, "did you mean 'fast'"),
    ],
)
def test_impossible_arguments_are_refused(
    small_market: Any, table: Any, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        backtest("sma_cross", small_market(table([100.0, 101.0])), **change)


def test_tables_that_do_not_belong_together_are_refused(table: Any) -> None:
    with pytest.raises(DataError, match="occurs twice"):
        backtest("sma_cross", [table([100.0]), table([100.0])])
    with pytest.raises(DataError, match="one base interval"):
        backtest("sma_cross", [table([1.0]), table([1.0], "ETHUSDT", interval="5m")])
    with pytest.raises(DataError, match="no candles"):
        backtest("sma_cross", table(np.empty(0).tolist() or [1.0])[:0])


def test_a_result_prints_as_a_table_of_its_figures() -> None:
    result = backtest("sma_cross", candles=500)
    lines = repr(result).splitlines()
    assert str(result) == repr(result)
    assert lines[0] == "sma_cross on BTCUSDT, backtest"
    shown = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in lines[1:])
    assert shown["fills"] == str(result.fills)
    assert shown["profit"].startswith(f"{result.net_profit:+,.2f} (")
    assert len(lines) < 25


def test_recorded_rates_are_paid_as_they_were(shared_dir: Path) -> None:
    """Thirty days of XRPUSDT's rates on a market that stands still: what was paid is known."""
    file = shared_dir / "data" / "xrpusdt-perp-funding-8h-2021-11.csv"
    rates = load_funding(file)
    start = rates[0][0] - 3_600_000
    minutes = (rates[-1][0] - start) // 60_000 + 60
    prices = [100.0] * minutes
    table = CandleTable(
        "XRPUSDT", "1m", [start + 60_000 * n for n in range(minutes)], prices, prices, prices,
        prices, prices,
    )  # fmt: skip
    result = backtest(
        doing({0: ("buy", {"size": 3.0})}), table, risk=FREE, fee_taker=0.0,
        funding={"XRPUSDT": rates},
    )  # fmt: skip
    assert len(rates) == 91
    assert result.funding == pytest.approx(-300.0 * sum(rate for _, rate in rates), rel=1e-9)
    assert result.net_profit == pytest.approx(result.funding, rel=1e-9)
    assert result.trade_list[0].funding == pytest.approx(result.funding, rel=1e-9)
    with pytest.raises(ConfigError, match="funding rates of BTCUSDT, which does not run"):
        backtest(At, table, funding={"BTCUSDT": rates})
