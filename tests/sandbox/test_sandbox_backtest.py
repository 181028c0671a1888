"""The whole live system on the sandbox, over sockets, makes the fills of the backtest."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from candlewick.audit import AuditLogger
from candlewick.backtesting import backtest
from candlewick.data import Market, load_market
from candlewick.errors import ExitCode
from candlewick.live import Outcome, SystemSettings, TradingSystem
from candlewick.live.assembly import network_system, new_run_id
from candlewick.live.network import NetworkSettings
from candlewick.models import Fill
from candlewick.risk import RiskSettings
from candlewick.sandbox import Limits, Sandbox, SandboxSettings
from candlewick.sandbox.records import TradeRecord
from candlewick.strategies import build_strategy, load_strategy
from candlewick.venues.binance import ApiKeys, BinanceSettings, BinanceVenue

NO_LIMITS = Limits(weight=0, orders_10s=0, orders_1m=0)
RISK = RiskSettings(default_stop=0.01)


async def settled(sandbox: Sandbox, system: TradingSystem) -> None:
    """Wait until all that has been told has been answered: nothing is under way any more.

    A client that answers a ping has read what came before it; after that its queues are emptied,
    and if that has sent something, what it set off is waited for in turn.
    """
    account = sandbox.first.account
    shell = system.shell
    assert shell.sender is not None
    while True:
        before = (len(account.orders), len(account.algos), shell.engine.now)
        for connection in tuple(sandbox.world.hub.connections):
            await connection.read()
        await system.bus.drain()
        await shell.sender.drain()
        await system.bus.drain()
        if before == (len(account.orders), len(account.algos), shell.engine.now):
            return


async def over_sockets(market: Market, directory: Path) -> tuple[Outcome, list[TradeRecord]]:
    """Run sma_cross on a sandbox that waits for it after everything that happens."""
    settings = SandboxSettings(stepped=True, limits=NO_LIMITS)
    async with Sandbox(market, settings) as sandbox:
        venue = BinanceVenue(
            BinanceSettings.at(sandbox.rest_url, sandbox.ws_url),
            ApiKeys(sandbox.api_key, sandbox.api_secret),
        )
        strategy = build_strategy(load_strategy("sma_cross"), {})
        with AuditLogger(directory) as journal:
            system = await network_system(
                venue, journal, strategy=strategy, name="sma_cross", symbols=market.symbols,
                interval=market.interval, risk=RISK,
                settings=SystemSettings(run_id=new_run_id(), drain_timeout_s=20.0),
                network=NetworkSettings(reconcile_every_s=3_600.0),
            )  # fmt: skip
            running = asyncio.create_task(system.run())
            async with asyncio.timeout(30):
                while any(state.unknown for state in system.engine.symbols.values()):
                    await system.shell.progress()
            while not (await sandbox.step()).ended:
                await settled(sandbox, system)
            system.request_stop("the data has ended")
            outcome = await running
        await venue.close()
        return outcome, sandbox.first.account.trades


async def compare(market: Market, directory: Path) -> None:
    outcome, trades = await over_sockets(market, directory)
    wanted: list[Fill] = backtest("sma_cross", market, risk=RISK).fill_list
    assert not outcome.problems
    assert outcome.exit_code is ExitCode.OK
    ours = [(t.symbol, t.side, t.price, t.quantity, t.maker) for t in trades]
    theirs = [(f.symbol, f.side.name, f.price, f.quantity, f.maker) for f in wanted]
    # the last positions are closed side by side: only within a symbol is their order given
    assert sorted(ours[-2:]) == sorted(theirs[-2:])
    assert ours[:-2] == theirs[:-2]
    assert len(ours) > 20
    assert sum(t.commission for t in trades) == pytest.approx(sum(f.fee for f in wanted))


async def test_a_thousand_candles_trade_as_in_the_backtest(btc_month: Path, tmp_path: Path) -> None:
    market = load_market([btc_month], symbols=["BTCUSDT"], candles=1_000)
    await compare(market, tmp_path)


async def test_two_symbols_trade_as_in_the_backtest(tmp_path: Path) -> None:
    await compare(load_market([], symbols=["BTCUSDT", "ETHUSDT"], candles=600, seed=4), tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
async def test_the_month_trades_as_in_the_backtest(btc_month: Path, tmp_path: Path) -> None:
    await compare(load_market([btc_month], symbols=["BTCUSDT"]), tmp_path)
