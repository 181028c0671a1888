"""A run on a venue that answers late, fails, and loses its streams."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from candlewick.audit import AuditLogger
from candlewick.audit.chain import Record
from candlewick.engine import Memory, StopPolicy
from candlewick.errors import ExitCode, VenueError
from candlewick.live import TradingSystem
from candlewick.live.recovery import recover
from candlewick.models import (
    Candle,
    Fill,
    Order,
    OrderStatus,
    Side,
    StreamState,
    utc_now_ms,
)
from candlewick.strategies import Strategy
from tests.live.late_venue import (
    SYMBOL,
    BuysAtOnce,
    LateVenue,
    is_protected,
    play,
    system_on,
    until,
)


def records_of(directory: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for path in sorted(directory.glob("*.jsonl"))
        for line in path.read_bytes().rstrip(b"\0").splitlines()
    ]


def test_an_entry_is_filled_protected_and_closed_at_the_stop(tmp_path: Path) -> None:
    async def script(system: TradingSystem, venue: LateVenue) -> None:
        venue.candle(100.0)
        await until(system, lambda: is_protected(system))

    outcome, venue = play(tmp_path, script)
    assert outcome.exit_code is ExitCode.OK
    assert [order.client_id.split("-")[-1] for order in venue.sent] == ["entry", "stop", "close"]
    assert not venue.exchange.positions()
    assert not venue.exchange.open_orders()
    assert outcome.summary.fills == 2


def test_keep_leaves_position_and_stop(tmp_path: Path) -> None:
    async def script(system: TradingSystem, venue: LateVenue) -> None:
        venue.candle(100.0)
        await until(system, lambda: is_protected(system))

    outcome, venue = play(tmp_path, script, policy=StopPolicy.KEEP)
    assert outcome.exit_code is ExitCode.OK
    assert len(venue.exchange.positions()) == len(venue.exchange.open_orders()) == 1


def test_a_stop_request_right_after_the_signal_still_ends_flat(tmp_path: Path) -> None:
    async def script(system: TradingSystem, venue: LateVenue) -> None:
        venue.candle(100.0)
        await until(system, lambda: bool(venue.sent or system.tally.orders))

    outcome, venue = play(tmp_path, script, venue=LateVenue(delay_s=0.05))
    assert outcome.exit_code is ExitCode.OK, outcome.problems
    assert not venue.exchange.positions()
    assert not venue.exchange.open_orders()


def test_a_lost_answer_to_an_accepted_entry_is_not_sent_again(tmp_path: Path) -> None:
    async def script(system: TradingSystem, venue: LateVenue) -> None:
        venue.lose_answer_to = "entry"
        venue.candle(100.0)
        await until(system, lambda: system.stopping.is_set())

    outcome, venue = play(tmp_path, script)
    assert [order for order in venue.sent if "entry" in order.client_id][1:] == []
    assert not venue.exchange.positions()
    assert outcome.exit_code is ExitCode.UNEXPECTED


def test_a_stop_that_is_never_confirmed_closes_the_position(tmp_path: Path) -> None:
    async def script(system: TradingSystem, venue: LateVenue) -> None:
        venue.silent_stops = True
        venue.candle(100.0)
        await until(system, lambda: any("close" in order.client_id for order in venue.sent))

    outcome, venue = play(tmp_path, script, protect_within_ms=150)
    assert not venue.exchange.positions()
    assert outcome.exit_code is ExitCode.OK, outcome.problems
    assert not venue.exchange.open_orders()


def test_a_lost_account_stream_blocks_entries_until_the_account_is_known(tmp_path: Path) -> None:
    async def script(system: TradingSystem, venue: LateVenue) -> None:
        venue.stream(StreamState.LOST)
        venue.candle(100.0)
        await until(system, lambda: system.tally.denials["unknown_state"] == 1)
        assert not venue.sent
        venue.stream(StreamState.LIVE)
        await until(system, lambda: not system.engine.symbols[SYMBOL].unknown)

    outcome, _ = play(tmp_path, script)
    assert outcome.exit_code is ExitCode.OK


def test_a_position_closed_by_hand_is_noticed_after_a_reconnect(tmp_path: Path) -> None:
    async def script(system: TradingSystem, venue: LateVenue) -> None:
        venue.candle(100.0)
        await until(system, lambda: is_protected(system))
        by_hand = Order(
            "web_1", SYMBOL, venue.sent[1].side, venue.sent[0].type, 1.0, reduce_only=True
        )
        venue.exchange.submit(by_hand, utc_now_ms())
        venue.exchange.tick(SYMBOL, 100.0, utc_now_ms())
        venue.stream(StreamState.LIVE)
        await until(system, lambda: system.engine.is_settled)

    outcome, venue = play(tmp_path, script)
    assert outcome.exit_code is ExitCode.OK
    assert [order.client_id.split("-")[-1] for order in venue.sent] == ["entry", "stop"]
    assert not venue.exchange.open_orders()


def test_what_was_missed_is_in_the_books_before_the_run_ends(tmp_path: Path) -> None:
    """The stop has closed the position, and no message has told so."""
    systems = []

    async def script(system: TradingSystem, venue: LateVenue) -> None:
        systems.append(system)
        venue.candle(100.0)
        await until(system, lambda: is_protected(system))
        venue._note(venue.exchange.tick(SYMBOL, 80.0, utc_now_ms()))

    outcome, venue = play(tmp_path, script)
    assert outcome.exit_code is ExitCode.OK
    (engine,) = [system.engine for system in systems]
    assert engine.fills_booked == len(venue.fills) == 2
    assert engine.position_of(SYMBOL).is_flat
    assert engine.balance == pytest.approx(venue.exchange.balance)
    booked = {
        fill["trade_id"]
        for record in records_of(tmp_path)
        if record["type"] == "account_snapshot"
        for fill in record["data"]["fills"]
    }
    assert {fill.trade_id for fill in venue.fills} <= booked
    kinds = [record["type"] for record in records_of(tmp_path)]
    assert "trade_completed" in kinds


def test_the_end_of_an_order_that_was_gone_when_cancelled_is_waited_for(tmp_path: Path) -> None:
    class Gone(LateVenue):
        """Orders end unheard; a cancel is refused, and only later the end is told."""

        async def cancel(self, order: Order, time: int) -> None:
            self._note(self.exchange.cancel(order.client_id, order.symbol, utc_now_ms()))
            end = self.known[order.client_id]
            refused = msgspec.structs.replace(end, status=OrderStatus.REJECTED, code=-2011)
            self._tell([refused])
            asyncio.get_running_loop().call_later(0.1, lambda: self._tell([end]))

    class Rests(Strategy):
        def on_candle(self, candle: Candle) -> None:
            self.buy(size=1.0, price=50.0, stop=40.0)

    async def script(system: TradingSystem, venue: LateVenue) -> None:
        venue.candle(100.0)
        orders = system.engine.symbols[SYMBOL].orders
        await until(system, lambda: any(o.status.is_working for o in orders.values()))

    outcome, _ = play(tmp_path, script, venue=Gone(), strategy=Rests())
    assert outcome.exit_code is ExitCode.OK
    assert "order_canceled" in [record["type"] for record in records_of(tmp_path)]


def test_an_order_that_was_cancelled_before_its_turn_to_be_sent_stays_here(tmp_path: Path) -> None:
    """The entry before it has filled, but the answer to its sending has not come."""

    class Slow(LateVenue):
        def __init__(self) -> None:
            super().__init__()
            self.released = asyncio.Event()

        async def submit(self, order: Order) -> None:
            await super().submit(order)
            if order.client_id.endswith("000001-entry"):
                await self.released.wait()

    class Twice(Strategy):
        def on_candle(self, candle: Candle) -> None:
            if self.position.is_flat:
                self.buy(size=1.0, stop=40.0)
            elif len(self.orders) == 1:
                self.buy(size=1.0, price=50.0)
            else:
                self.cancel_entries()

    async def script(system: TradingSystem, venue: LateVenue) -> None:
        assert isinstance(venue, Slow)
        orders = system.engine.symbols[SYMBOL].orders
        venue.candle(100.0)
        await until(system, lambda: is_protected(system) and len(orders) == 1)
        venue.candle(101.0)
        await until(system, lambda: len(orders) == 2)
        venue.candle(102.0)
        await until(system, lambda: len(orders) == 1)
        venue.released.set()

    outcome, venue = play(tmp_path, script, venue=Slow(), strategy=Twice())
    assert outcome.exit_code is ExitCode.OK
    assert [order.client_id[-5:] for order in venue.sent] == ["entry", "-stop", "close"]
    withheld = [r["data"] for r in records_of(tmp_path) if r["type"] == "order_withheld"]
    assert [data["code"] for data in withheld] == ["withdrawn"]
    ends = [r["data"]["client_id"] for r in records_of(tmp_path) if r["type"] == "order_canceled"]
    assert withheld[0]["client_id"] in ends


def test_snapshots_that_fail_are_asked_for_again_before_any_entry(tmp_path: Path) -> None:
    venue = LateVenue()
    venue.snapshots_fail = 3

    async def script(system: TradingSystem, late: LateVenue) -> None:
        assert late.snapshots_fail == 0
        late.candle(100.0)
        await until(system, lambda: is_protected(system))

    outcome, _ = play(tmp_path, script, venue=venue)
    assert outcome.summary.fills == 2


def test_an_account_that_cannot_be_asked_at_the_end_is_not_called_flat(tmp_path: Path) -> None:
    async def script(system: TradingSystem, venue: LateVenue) -> None:
        venue.candle(100.0)
        await until(system, lambda: is_protected(system))
        venue.snapshots_fail = 1_000

    outcome, _ = play(tmp_path, script)
    assert outcome.exit_code is ExitCode.ACCOUNT_UNVERIFIED
    assert "could not be asked" in outcome.problems[0]


async def test_a_refused_connection_ends_the_run_before_anything_is_done(tmp_path: Path) -> None:
    venue = LateVenue()
    venue.refuse_to_connect = True
    system = system_on(venue, tmp_path, BuysAtOnce(), StopPolicy.FLATTEN)
    with pytest.raises(VenueError, match="invalid API key"):
        await system.run()
    assert not venue.sent
    assert OrderStatus.REJECTED not in {update.status for update in venue.known.values()}
    AuditLogger(tmp_path).stop()  # the journal was given back


# -- after a restart -------------------------------------------------------------------------------


def memory_in(directory: Path) -> Memory:
    records = [msgspec.convert(line, Record) for line in records_of(directory)]
    memory = recover(records, "late")
    assert memory is not None
    return memory


async def hold(system: TradingSystem, venue: LateVenue) -> None:
    """Enter, and wait until the position is protected."""
    venue.candle(100.0)
    await until(system, lambda: is_protected(system))


def test_a_restart_goes_on_with_position_and_stop_and_does_not_enter_again(tmp_path: Path) -> None:
    _, venue = play(tmp_path / "1", hold, policy=StopPolicy.KEEP)
    memory = memory_in(tmp_path / "1")
    known = memory.symbols[SYMBOL]
    assert known.position.quantity == 1.0
    assert known.stop == 90.0
    assert memory.strategy == {"done": True}
    sent = len(venue.sent)

    async def again(system: TradingSystem, late: LateVenue) -> None:
        assert is_protected(system)
        late.candle(101.0)
        await until(system, lambda: system.tally.candles == 1)
        assert system.engine.symbols[SYMBOL].plan.stop == 90.0

    outcome, _ = play(tmp_path / "2", again, venue=venue, memory=memory)
    assert outcome.exit_code is ExitCode.OK
    assert [order.client_id.split("-")[-1] for order in venue.sent[sent:]] == ["close"]
    assert outcome.summary.trades == 1
    assert not venue.exchange.open_orders()


@pytest.mark.parametrize("moment", ["entry sent", "entry filled", "stop sent", "protected"])
def test_a_crash_at_any_moment_is_made_good_by_the_next_start(tmp_path: Path, moment: str) -> None:
    """The first system is simply abandoned; the exchange goes on without it."""
    reached = {
        "entry sent": lambda system, venue: system.tally.orders == 1,
        "entry filled": lambda system, venue: system.tally.fills == 1,
        "stop sent": lambda system, venue: len(venue.sent) == 2,
        "protected": lambda system, venue: is_protected(system),
    }[moment]

    async def first() -> LateVenue:
        venue = LateVenue(delay_s=0.01)
        system = system_on(venue, tmp_path / "1", BuysAtOnce(), StopPolicy.FLATTEN)
        running = asyncio.create_task(system.run())
        await until(system, lambda: not system.engine.symbols[SYMBOL].unknown)
        venue.candle(100.0)
        await until(system, lambda: reached(system, venue))
        venue._publish = None  # nothing reaches it any more
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert running in others
        await asyncio.sleep(0.05)  # what was under way arrives at the exchange
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        system.journal.flush()
        return venue

    venue = asyncio.run(first())
    memory = memory_in(tmp_path / "1")
    entries = [order for order in venue.sent if "entry" in order.client_id]

    async def again(system: TradingSystem, late: LateVenue) -> None:
        if late.exchange.positions():
            await until(system, lambda: is_protected(system))
            assert system.engine.symbols[SYMBOL].plan.stop == 90.0
        late.candle(101.0)
        await until(system, lambda: system.tally.candles == 1)

    outcome, _ = play(tmp_path / "2", again, venue=venue, memory=memory)
    assert outcome.exit_code is ExitCode.OK, outcome.problems
    assert [order for order in venue.sent if "entry" in order.client_id] == entries
    assert not venue.exchange.positions()
    assert not venue.exchange.open_orders()
    fills = [fill.trade_id for fill in venue.fills]
    assert len(fills) == len(set(fills)) == 2


def test_trades_from_before_a_first_run_are_not_counted_as_its_own(tmp_path: Path) -> None:
    """They can be dated after its start, where the market's time is ahead of the clock's."""
    later = utc_now_ms() + 3_600_000
    venue = LateVenue()
    venue.fills = [
        Fill(901, "cw-old-000001-entry", SYMBOL, Side.BUY, 90.0, 1.0, 5.0, later),
        Fill(902, "cw-old-000002-close", SYMBOL, Side.SELL, 80.0, 1.0, 5.0, later),
    ]

    async def script(system: TradingSystem, venue: LateVenue) -> None:
        venue.candle(100.0)
        await until(system, lambda: is_protected(system))

    outcome, venue = play(tmp_path, script, venue=venue)
    assert outcome.exit_code is ExitCode.OK
    assert (outcome.summary.fills, outcome.summary.trades) == (2, 1)
    assert outcome.summary.fees == pytest.approx(venue.exchange.fees_paid)
