"""Every exit rule on the sandbox, over sockets: the fills are those of the backtest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from candlewick import backtest
from candlewick.errors import ExitCode
from candlewick.live.replay import replay
from candlewick.models import Candle, Fill
from candlewick.strategies import (
    BreakEven,
    ExitRule,
    ExitRules,
    NativeTrailing,
    PartialTargets,
    Strategy,
    TimeExit,
    Trailing,
)
from tests.live.on_sandbox import SYMBOL, Player, market_at, play_on, table_of


def entering(*rules: ExitRule, **wishes: float) -> type[Strategy]:
    """A strategy that buys 0.01 once; prices among the wishes are parts of the close."""

    class Enters(Strategy):
        done = False

        def on_start(self) -> None:
            self.exits = ExitRules(self, *rules)

        def on_candle(self, candle: Candle) -> None:
            self.exits.on_candle(candle)
            if not self.done and not self.orders:
                asked: dict[str, Any] = {
                    name: value * candle.close if name in ("stop", "target") else value
                    for name, value in wishes.items()
                }
                self.buy(size=0.01, **asked)

        def on_fill(self, fill: Fill) -> None:
            self.done = True

    return Enters


CASES: dict[str, tuple[type[Strategy], list[float], str]] = {
    "trailing": (
        entering(Trailing(0.05), stop=0.8), [100, 100, 104, 110, 106, 103, 103], "stop"
    ),
    "break even": (
        entering(BreakEven(0.03, offset=0.001), stop=0.8), [100, 100, 104, 105, 101, 98, 98], "stop"
    ),
    "native trailing": (
        entering(NativeTrailing(0.02, after=0.03), stop=0.8),
        [100, 100, 104, 110, 107, 106, 106], "trailing stop",
    ),
    "time": (
        entering(TimeExit(3), stop=0.8), [100, 100, 101, 102, 103, 104, 104],
        "held for 3 candles",
    ),
    "parts": (
        entering(PartialTargets(((0.03, 0.5), (0.06, 0.25))), stop=0.98),
        [100, 100, 104, 107, 107, 96, 96], "stop",
    ),
    "together": (
        entering(BreakEven(0.03), PartialTargets(((0.05, 0.5),)), Trailing(0.06), stop=0.9),
        [100, 100, 104, 106, 112, 109, 104, 104], "stop",
    ),
    "trailing from the entry": (
        entering(trail=0.03), [100, 100, 104, 108, 104, 103, 103], "trailing stop"
    ),
    "trailing target": (
        entering(stop=0.95, target=1.04, target_trail=0.02),
        [100, 100, 103, 108, 106, 105, 105], "trailing target",
    ),
}  # fmt: skip


async def settled(player: Player, closed: int) -> None:
    """Wait until the engine has taken what the exchange has done, and the answer has arrived.

    ``closed`` is the time of the candle that has closed last.
    """
    system, account = player.system, player.client.account
    state = player.engine_symbol
    history = system.engine.history_of(SYMBOL, "1m")

    def quiet() -> bool:
        return (
            history.close_time[-1] >= closed
            and system.tally.fills == len(account.trades)
            and all(order.status.is_working for order in state.orders.values())
            and not state.cancelling
            and {order.client_id for order in state.orders.values()}
            == {o.client_id for o in (*account.open_orders(), *account.open_algos())}
        )

    async with asyncio.timeout(30):
        while True:
            if system.shell.sender is not None:
                await system.shell.sender.drain()
            await system.bus.drain()
            if quiet():
                return
            await system.shell.progress()


async def over_sockets(
    directory: Path, strategy: Callable[[], Strategy], closes: Sequence[float]
) -> tuple[list[tuple[str, float, float]], Player]:
    """Step through the prices candle by candle; returns the exchange's trades."""
    async with market_at(closes, stepped=True) as sandbox:

        async def script(player: Player) -> None:
            closed, moved = 0, await sandbox.step()
            while not moved.ended:
                closed = moved.time if moved.closed else closed
                await settled(player, closed)
                moved = await sandbox.step()

        outcome, player = await play_on(sandbox, directory, script, strategy=strategy())
        assert outcome.exit_code is ExitCode.OK, outcome.problems
        assert not player.held
        assert not player.resting
        trades = player.client.account.trades
        return [(trade.side.lower(), trade.price, trade.quantity) for trade in trades], player


@pytest.mark.parametrize("name", list(CASES))
async def test_a_rule_makes_the_fills_of_the_backtest_over_sockets(
    name: str, tmp_path: Path
) -> None:
    strategy, parts, reason = CASES[name]
    closes = [500.0 * part for part in parts]
    result = backtest(strategy, table_of(closes), fee_taker=0.0)
    (trade,) = result.trade_list
    assert trade.exit_reason == reason, "the rule has closed it"
    expected = [(str(fill.side), fill.price, fill.quantity) for fill in result.fill_list]
    found, player = await over_sockets(tmp_path, strategy, closes)
    assert found == expected
    assert player.system.tally.last_trade is not None
    assert player.system.tally.last_trade.exit_reason == reason
    assert replay(tmp_path / "net", strategy=strategy).same
    assert {fill.symbol for fill in result.fill_list} == {SYMBOL}
