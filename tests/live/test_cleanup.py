"""The cleanup over real sockets: its steps, what stands in its way, and when it gives up."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from candlewick.data import load_market
from candlewick.engine import EngineState, StopPolicy
from candlewick.errors import ExitCode
from candlewick.models import Fill, Order, OrderPurpose, OrderType, Side, SignalAction
from candlewick.sandbox import Fault, FaultKind, Limits, Sandbox, SandboxSettings
from candlewick.strategies import Strategy
from candlewick.venues.binance import ApiKeys, BinanceSettings, BinanceVenue
from tests.live.bench import CONFIG, Bench, Proxy, ended
from tests.live.on_sandbox import PRICE, SYMBOL, Player, market_at, play_on

K = FaultKind
PLENTY = 1_000_000_000
REFUSED = {"status": 400, "code": -4005}


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with market_at([PRICE] * 600) as made:
        yield made


async def hold(player: Player, size: float = 0.01) -> None:
    """Enter, and wait until the exchange has confirmed the stop."""
    player.signal(SignalAction.BUY, size=size, stop=PRICE * 0.5)
    await player.until(lambda: bool(player.engine_symbol.stop_ids))
    await player.until(lambda: player.is_safe and not player.engine_symbol.unprotected_since)
    assert player.held >= size


def records(directory: Path, *kinds: str, run: str = "net") -> list[dict[str, Any]]:
    lines = b"".join(p.read_bytes() for p in sorted((directory / run).glob("*.jsonl")))
    found = [json.loads(line) for line in lines.split(b"\n") if line.strip(b"\0")]
    return [record for record in found if not kinds or record["type"] in kinds]


def steps(directory: Path) -> list[str]:
    return [record["data"]["step"] for record in records(directory, "cleanup_step")]


async def test_each_step_comes_in_its_order_and_is_journaled(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    outcome, player = await play_on(sandbox, tmp_path, hold)
    assert outcome.exit_code is ExitCode.OK
    assert not player.held
    assert not player.resting
    assert steps(tmp_path) == ["discard entries", "close", "verify", "verify again"]
    story = [
        (record["type"], record["data"]["client_id"].split("-")[-1])
        for record in records(tmp_path, "order_sent", "order_cancel_planned", "order_canceled")
    ]
    # the close goes out while the stop still rests
    assert story == [
        ("order_sent", "entry"), ("order_sent", "stop"), ("order_sent", "close"),
        ("order_cancel_planned", "stop"), ("order_canceled", "stop"),
    ]  # fmt: skip
    assert records(tmp_path, "reconciled")[-1]["data"] == {"verified": True, "problems": []}
    assert records(tmp_path, "engine_stopped")[-1]["data"]["exit_code"] == 0


async def test_what_rests_although_all_is_flat_is_cancelled_and_asked_for_again(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """An order of an earlier run, which this one has never heard of."""
    left = Order(
        "cw-gone-000007-stop", SYMBOL, Side.SELL, OrderType.STOP_MARKET, 0.01,
        trigger_price=PRICE * 0.4, reduce_only=True, purpose=OrderPurpose.STOP,
    )  # fmt: skip

    async def script(player: Player) -> None:
        await hold(player)
        await by_hand(sandbox, player, left)

    outcome, player = await play_on(sandbox, tmp_path, script)
    assert outcome.exit_code is ExitCode.OK, outcome.problems
    assert not player.resting


async def by_hand(sandbox: Sandbox, player: Player, order: Order) -> None:
    """Send an order from elsewhere, with the account's own keys."""
    keys = ApiKeys(player.client.api_key, player.client.secret)
    venue = BinanceVenue(BinanceSettings.at(sandbox.rest_url, sandbox.ws_url), keys)
    try:
        await venue.connect(lambda event: None, [SYMBOL], "1m")
        await venue.submit(order)
    finally:
        await venue.close()


async def test_a_position_that_is_gone_already_is_verified_and_no_failure(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """Closed by hand, and the account's stream is silent: the close is refused with -2022."""
    close = Order("web_1", SYMBOL, Side.SELL, OrderType.MARKET, 0.01, reduce_only=True)

    async def script(player: Player) -> None:
        await hold(player)
        sandbox.world.add_fault(Fault(kind=K.DROP, route="private"))
        await by_hand(sandbox, player, close)
        while player.held:  # noqa: ASYNC110 - the exchange's books, of which nobody tells
            await asyncio.sleep(0.01)
        assert player.engine_symbol.position.quantity == 0.01

    outcome, player = await play_on(sandbox, tmp_path, script, reconcile_every_s=600.0)
    assert outcome.exit_code is ExitCode.OK, outcome.problems
    assert not player.held
    assert not player.resting
    refused = [record["data"]["code"] for record in records(tmp_path, "order_rejected")]
    assert refused == [-2022]
    assert player.system.engine.fills_booked == 2  # the one by hand was fetched


async def test_a_close_that_is_refused_is_tried_again_with_pauses(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    faults = [Fault(kind=K.HTTP_ERROR, match="POST *", order="cw-net-*-close", count=7, **REFUSED)]
    outcome, player = await play_on(sandbox, tmp_path, hold, faults=faults)
    assert outcome.exit_code is ExitCode.OK, outcome.problems
    assert not player.held
    assert "again" in steps(tmp_path)


async def test_a_stop_does_not_wait_for_an_answer_that_takes_its_time(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """The account is being asked for, and no answer comes: the cleanup begins all the same."""

    async def script(player: Player) -> None:
        await hold(player)
        sandbox.world.add_fault(
            Fault(kind=K.SLOW, match="GET /fapi/v*/balance", delay_ms=600_000, count=1)
        )
        while not sandbox.world.faults.report()[0]["hit"]:  # noqa: ASYNC110 - the exchange has the question, nobody tells
            await asyncio.sleep(0.01)

    outcome, player = await play_on(sandbox, tmp_path, script)
    assert outcome.exit_code is ExitCode.OK, outcome.problems
    assert not player.held
    assert player.system.venue.tally.events["requests_lost"] == 0  # type: ignore[attr-defined]


async def test_at_the_deadline_it_alarms_and_keeps_the_protective_stops(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    faults = [Fault(kind=K.HTTP_ERROR, match="POST *", order="cw-net-*-close", **REFUSED)]
    outcome, player = await play_on(sandbox, tmp_path, hold, faults=faults, cleanup_timeout_s=2.0)
    assert outcome.exit_code is ExitCode.ACCOUNT_UNVERIFIED
    assert outcome.problems == (
        f"BTCUSDT holds 0.01 still, its stop rests at {PRICE * 0.5:g}",
        f"BTCUSDT: order {player.resting[0].client_id} still rests",
    ) or outcome.problems[0].startswith("BTCUSDT holds 0.01 still, its stop rests")
    assert player.is_safe
    assert player.held == 0.01
    taken = steps(tmp_path)
    assert taken[-1] == "alarm"
    pauses = [
        record["data"]["pause_s"]
        for record in records(tmp_path, "cleanup_step")
        if record["data"]["step"] == "again"
    ]
    assert len(pauses) >= 2
    assert pauses == sorted(pauses)


@pytest.mark.parametrize("policy", StopPolicy)
async def test_what_is_larger_than_a_market_order_may_be_is_protected_and_closed_in_parts(
    tmp_path: Path, policy: StopPolicy
) -> None:
    async with market_at([PRICE] * 600, market_max_quantity=0.004) as sandbox:

        async def script(player: Player) -> None:
            for size in (0.004, 0.004, 0.002):
                held = player.held
                player.signal(SignalAction.BUY, size=size, stop=PRICE * 0.5)
                await player.until(lambda held=held: player.held > held)
                await player.until(
                    lambda: player.is_safe and not player.engine_symbol.unprotected_since
                )
            assert sorted(o.quantity for o in player.resting) == [0.002, 0.004, 0.004]

        outcome, player = await play_on(sandbox, tmp_path, script, policy=policy)
    assert outcome.exit_code is ExitCode.OK, outcome.problems
    planned = [record["data"] for record in records(tmp_path, "order_planned")]
    closes = [order["quantity"] for order in planned if order["purpose"] == "close"]
    if policy is StopPolicy.FLATTEN:
        assert (closes, player.held, player.resting) == ([0.004, 0.004, 0.002], 0.0, [])
    else:
        assert (closes, player.held) == ([], 0.01)
        assert sorted(o.quantity for o in player.resting) == [0.002, 0.004, 0.004]
    moved = {order.trigger_price for order in player.resting}
    assert (moved == {PRICE * 0.5}) is (policy is StopPolicy.KEEP)


async def test_keep_is_not_called_verified_for_a_position_without_a_stop(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    async def script(player: Player) -> None:
        player.signal(SignalAction.BUY, size=0.01)
        await player.until(lambda: player.held > 0.0 and player.system.tally.fills == 1)

    outcome, player = await play_on(
        sandbox, tmp_path, script, policy=StopPolicy.KEEP, default_stop=0.0, cleanup_timeout_s=0.5
    )
    assert outcome.exit_code is ExitCode.ACCOUNT_UNVERIFIED
    assert outcome.problems == ("BTCUSDT holds 0.01 without a stop",)
    assert player.held == 0.01


async def test_tighten_moves_the_stop_once_and_keeps_the_position(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    outcome, player = await play_on(
        sandbox, tmp_path, hold, policy=StopPolicy.TIGHTEN, tighten_to=0.2
    )
    assert outcome.exit_code is ExitCode.OK, outcome.problems
    (stop,) = player.resting
    assert stop.trigger_price == pytest.approx(PRICE * 0.9, rel=1e-6)
    assert player.held == 0.01
    assert records(tmp_path, "order_canceled")[-1]["data"]["client_id"].endswith("-stop")


async def test_tighten_that_is_refused_keeps_the_old_stop_and_says_so(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    async def script(player: Player) -> None:
        await hold(player)
        refuse = Fault(kind=K.HTTP_ERROR, match="POST *", order="cw-net-*-stop", **REFUSED)
        sandbox.world.add_fault(refuse)

    outcome, player = await play_on(
        sandbox, tmp_path, script, policy=StopPolicy.TIGHTEN, cleanup_timeout_s=1.0
    )
    assert outcome.exit_code is ExitCode.ACCOUNT_UNVERIFIED
    assert "with its old stop" in outcome.problems[0]
    assert player.is_safe


@pytest.mark.parametrize("refusals", [0, 7])
async def test_a_daily_loss_closes_all_and_is_verified_while_the_engine_goes_on(
    tmp_path: Path, refusals: int
) -> None:
    async with market_at([PRICE] * 8 + [PRICE * 0.8] * 600) as sandbox:

        async def script(player: Player) -> None:
            await hold(player, size=0.1)
            if refusals:
                no = Fault(
                    kind=K.HTTP_ERROR, match="POST *", order="cw-net-*-close", count=refusals,
                    **REFUSED,
                )  # fmt: skip
                sandbox.world.add_fault(no)
            system = player.system
            cleaned = asyncio.Event()
            system.on_cleaned = lambda found: cleaned.set()
            await player.until(lambda: system.engine.state is EngineState.HALTED)
            await asyncio.wait_for(cleaned.wait(), 30)
            assert not player.held
            assert not player.resting
            assert system.engine.state is EngineState.HALTED
            player.signal(SignalAction.BUY, size=0.01, stop=PRICE * 0.5)
            await player.until(lambda: system.tally.denials["daily_loss"] == 1)

        outcome, _ = await play_on(sandbox, tmp_path, script, daily_loss=0.05)
    assert outcome.exit_code is ExitCode.OK, outcome.problems
    verified = [record["data"]["verified"] for record in records(tmp_path, "reconciled")]
    assert verified == [True, True]  # after the halt, and at the end


class RaisesAtItsFill(Strategy):
    """Has a bug where no candle comes by."""

    def on_fill(self, fill: Fill) -> None:
        raise ValueError("a bug")


async def test_a_strategy_that_raises_at_a_fill_ends_the_run_without_another_candle(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    seen = []

    async def script(player: Player) -> None:
        player.signal(SignalAction.BUY, size=0.01, stop=PRICE * 0.5)
        await asyncio.wait_for(player.system.stopping.wait(), 20)
        seen.append(player.system.stop_reason)

    outcome, player = await play_on(sandbox, tmp_path, script, strategy=RaisesAtItsFill())
    assert seen == [""]  # nobody else has asked for it
    assert outcome.exit_code is ExitCode.STRATEGY_FAILED
    assert not player.held


# -- processes ----------------------------------------------------------------------------------


async def test_symbols_are_closed_beside_each_other(tmp_path: Path) -> None:
    market = load_market([], symbols=["BTCUSDT", "ETHUSDT"], candles=40_000, seed=5)
    settings = SandboxSettings(
        speed=1_200.0, history=200,
        limits=Limits(weight=PLENTY, orders_10s=PLENTY, orders_1m=PLENTY), seed=1,
    )  # fmt: skip
    config = CONFIG.replace('["BTCUSDT"]', '["BTCUSDT", "ETHUSDT"]')
    config = config.replace("fast = 3, slow = 6", "fast = 60, slow = 180")  # it seldom turns
    async with Sandbox(market, settings) as sandbox:
        bench = Bench(sandbox, tmp_path, config)
        engine = await bench.start("run")
        await bench.until(lambda: len(bench.exchange.positions()) == 2)
        slow = Fault(kind=K.SLOW, match="POST *", order="cw-*-close", delay_ms=700)
        sandbox.world.add_fault(slow)
        engine.send_signal(signal.SIGINT)
        output = await ended(engine)
        assert engine.returncode == 0, output
        assert bench.is_flat
        sandbox.world.clear_faults()
        # flatten knows both symbols from the journal, the configuration none
        (tmp_path / "c.toml").write_text(config.replace('["BTCUSDT", "ETHUSDT"]', "[]"))
        flatten = await bench.start("flatten")
        said = await ended(flatten)
        assert "BTCUSDT, ETHUSDT: flat, as the exchange has confirmed" in said
    every = records(tmp_path, "stop_requested", "order_sent", "order_filled", run="journal")
    began = next(n for n, record in enumerate(every) if record["type"] == "stop_requested")
    story = [
        record["type"]
        for record in every[began:]
        if str(record["data"].get("client_id", "")).endswith("-close")
    ]
    assert story[:4] == ["order_sent", "order_sent", "order_filled", "order_filled"]


@pytest.mark.timeout(300)
async def test_an_exchange_that_accepts_and_never_answers_does_not_hold_it_up(
    tmp_path: Path,
) -> None:
    config = CONFIG.replace(
        "cleanup_timeout_s = 20.0", "cleanup_timeout_s = 2.0\nconnect_timeout_s = 2.0"
    )
    async with market_at([PRICE] * 600) as sandbox, Proxy(sandbox) as proxy:
        bench = Bench(sandbox, tmp_path, config)
        proxy.point(bench)
        proxy.be_silent()
        flatten, run = await bench.start("flatten"), await bench.start("run", "-j", "other")
        said, output = await ended(flatten), await ended(run)
    assert flatten.returncode == ExitCode.ACCOUNT_UNVERIFIED
    assert "could not be asked" in said
    assert run.returncode == ExitCode.VENUE_REFUSED, output
    assert "no answer in time" in output


async def test_a_network_that_is_lost_and_comes_back_leaves_nothing_unprotected(
    tmp_path: Path,
) -> None:
    """Stops rest meanwhile; afterwards books are brought in line, and trading goes on."""
    market = load_market([], candles=40_000, seed=11)
    settings = SandboxSettings(
        speed=1_200.0, history=200,
        limits=Limits(weight=PLENTY, orders_10s=PLENTY, orders_1m=PLENTY), seed=1,
    )  # fmt: skip
    async with Sandbox(market, settings) as sandbox, Proxy(sandbox) as proxy:
        bench = Bench(sandbox, tmp_path)
        proxy.point(bench)
        engine = await bench.start("run")
        for _ in range(2):
            await bench.until(lambda: bool(bench.exchange.positions()) and bench.is_protected())
            proxy.cut()
            await asyncio.sleep(1.0)
            assert bench.is_protected()  # stops rest at the exchange, whatever happens here
            known = len(bench.tail.read().of["account_snapshot"])
            proxy.mend()
            await bench.until(
                lambda known=known: len(bench.tail.read().of["account_snapshot"]) > known
            )
            made = len(bench.trades)
            await bench.until(lambda made=made: len(bench.trades) > made)
        engine.send_signal(signal.SIGINT)
        output = await ended(engine)
        assert engine.returncode == 0, output
        assert bench.is_flat
        bench.check_journal()
        bench.check_fills()
        bench.check_profit()
        bench.check_replay()
