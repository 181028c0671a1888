"""How an engine stops: the daily loss, a strategy that raises, the end of a run."""

from __future__ import annotations

from typing import Any

import pytest

from candlewick.engine import EngineState, OrderChanged, StateChanged, StopPolicy
from candlewick.models import (
    Candle,
    Event,
    EventKind,
    Fill,
    OrderPurpose,
    OrderStatus,
    SignalAction,
)
from candlewick.risk import DenialCode
from candlewick.strategies import Strategy

DAY = 86_400_000
MINUTE = 60_000
ENTRY, STOP, TARGET, CLOSE = OrderPurpose


def states(game: Any) -> list[tuple[EngineState, str]]:
    return [(d.state, d.reason) for d in game.log if isinstance(d, StateChanged)]


# -- the daily loss -------------------------------------------------------------------------------


def test_the_daily_loss_closes_everything_and_halts_until_midnight(play: Any, sent: Any) -> None:
    game = play(daily_loss=0.05, max_leverage=10.0)
    game.hold(size=100.0, stop=50.0)
    assert sent(game.candle(95.0)) == [], "five percent exactly"
    (close,) = sent(game.candle(94.9))
    assert (close.purpose, close.quantity) == (CLOSE, 100.0)
    assert states(game)[-1] == (EngineState.HALTED, "daily loss of 5.10% of equity")
    game.fill_all(close, price=94.9)
    game.signal(size=1.0)
    assert game.denials[-1].code is DenialCode.DAILY_LOSS
    game.candles = DAY // MINUTE - 1
    game.candle(94.9)  # closes at the last millisecond of the day
    game.signal(size=1.0)
    assert game.denials[-1].code is DenialCode.DAILY_LOSS
    game.candle(94.9)
    assert states(game)[-1] == (EngineState.RUNNING, "a new UTC day")
    entry = game.enter(size=10.0, stop=80.0)
    game.acknowledge(entry)
    assert [o.purpose for o in sent(game.fill_all(entry))] == [STOP], "it may be held again"


def test_the_loss_counts_open_profit_of_all_symbols(play: Any, sent: Any) -> None:
    game = play(symbols=("BTCUSDT", "ETHUSDT"), daily_loss=0.05, max_leverage=10.0)
    game.hold(size=50.0, stop=50.0)
    (entry,) = sent(game.signal(symbol="ETHUSDT", size=50.0, stop=50.0))
    game.fill_all(entry)
    assert sent(game.candle(94.0)) == []
    closes = sent(game.candle(95.9, "ETHUSDT"))
    assert [(o.symbol, o.purpose) for o in closes] == [("BTCUSDT", CLOSE), ("ETHUSDT", CLOSE)]


def test_without_a_limit_nothing_halts(play: Any, sent: Any) -> None:
    game = play(daily_loss=0.0, max_leverage=10.0)
    game.hold(size=100.0, stop=1.0)
    assert sent(game.candle(5.0)) == []


def test_a_halt_cancels_entries_and_closes_what_fills_all_the_same(
    play: Any, sent: Any, cancelled: Any
) -> None:
    game = play(daily_loss=0.05, max_leverage=10.0)
    game.hold(size=100.0, stop=50.0)
    bid = game.enter(size=10.0, price=90.0, stop=50.0)
    game.acknowledge(bid)
    halt = game.candle(90.0)
    assert cancelled(halt) == [bid.client_id]
    (close,) = sent(halt)
    game.reject(bid, -2011)  # too late: it has filled
    game.fill(close)
    game.update(close, OrderStatus.FILLED, 100.0)
    orders = sent(game.fill(bid, 10.0, price=90.0))
    assert [o.purpose for o in orders] == [STOP, CLOSE], "protected first, then closed"


# -- a strategy that raises -----------------------------------------------------------------------


class Raises(Strategy):
    """Raises in the callback named ``where``, from the candle ``at`` on."""

    where = "on_candle"
    at = 2

    def on_start(self) -> None:
        self.seen = 0
        self._maybe("on_start")

    def on_candle(self, candle: Candle) -> None:
        self.seen += 1
        if self.seen == 1:
            self.buy(size=1.0, stop=90.0)
        elif self.seen >= self.at:
            self.sell(reason="must not count")
            self._maybe("on_candle")

    def on_fill(self, fill: Fill) -> None:
        self._maybe("on_fill")

    def on_stop(self) -> None:
        self._maybe("on_stop")

    def _maybe(self, name: str) -> None:
        if name == self.where:
            raise ZeroDivisionError(f"bug in {name}")


def test_a_strategy_that_raises_is_halted_and_its_position_closed(play: Any, sent: Any) -> None:
    game = play(Raises())
    game.hold()
    decisions = game.candle(101.0)
    (close,) = sent(decisions)
    assert close.purpose is CLOSE
    assert not [d for d in decisions if getattr(d, "reason", "") == "must not count"]
    assert game.engine.state is EngineState.HALTED
    assert isinstance(game.engine.failure, ZeroDivisionError)
    assert "Raises.on_candle raised ZeroDivisionError('bug in on_candle')" in close.reason
    seen = game.engine.strategy.seen
    game.candle(102.0)
    assert game.engine.strategy.seen == seen, "it is not called again"
    game.signal(size=1.0)
    assert game.denials[-1].code is DenialCode.ENGINE_HALTED


def test_a_new_day_does_not_wake_a_strategy_that_raised(play: Any) -> None:
    game = play(Raises())
    game.candle(100.0)
    game.candles = DAY // MINUTE + 5
    game.candle(100.0)
    assert game.engine.state is EngineState.HALTED


def test_a_strategy_that_raises_on_a_fill_is_protected_and_closed(play: Any, sent: Any) -> None:
    strategy = Raises()
    strategy.where = "on_fill"
    game = play(strategy)
    entry = game.enter()
    orders = sent(game.fill(entry))
    assert [o.purpose for o in orders] == [STOP, CLOSE]
    assert isinstance(game.engine.failure, ZeroDivisionError)


def test_a_strategy_that_raises_at_the_start_never_trades(play: Any) -> None:
    strategy = Raises()
    strategy.where = "on_start"
    game = play(strategy, price=0.0)
    assert game.engine.state is EngineState.HALTED
    game.candle(100.0)
    assert game.engine.is_settled


def test_a_strategy_that_raises_at_the_end_does_not_touch_what_is_kept(
    play: Any, sent: Any
) -> None:
    strategy = Raises()
    strategy.where, strategy.at = "on_stop", 100
    game = play(strategy)
    game.hold()
    game.take(game.engine.begin_stop(StopPolicy.KEEP, "the end"))
    assert sent(game.take(game.engine.finish())) == []
    assert isinstance(game.engine.failure, ZeroDivisionError)
    assert game.engine.state is EngineState.STOPPED


# -- the end of a run -----------------------------------------------------------------------------


def test_a_stop_by_flatten_cancels_entries_and_closes_positions(
    play: Any, sent: Any, cancelled: Any
) -> None:
    game = play()
    stop = game.hold()
    bid = game.enter(price=95.0)
    game.acknowledge(bid)
    decisions = game.take(game.engine.begin_stop(StopPolicy.FLATTEN, "Ctrl+C"))
    assert cancelled(decisions) == [bid.client_id]
    (close,) = sent(decisions)
    assert (close.purpose, close.reason) == (CLOSE, "Ctrl+C")
    game.canceled(bid)
    assert cancelled(game.fill_all(close)) == [stop.client_id]
    game.canceled(stop)
    assert game.engine.is_settled
    game.take(game.engine.finish())
    assert [state for state, _ in states(game)] == [
        EngineState.RUNNING, EngineState.STOPPING, EngineState.STOPPED,
    ]  # fmt: skip


def test_a_stop_by_keep_leaves_positions_with_their_stops(
    play: Any, sent: Any, cancelled: Any
) -> None:
    game = play()
    stop = game.hold(target=120.0)
    bid = game.enter(price=95.0)
    game.acknowledge(bid)
    decisions = game.take(game.engine.begin_stop(StopPolicy.KEEP, "Ctrl+C"))
    assert cancelled(decisions) == [bid.client_id]
    assert sent(decisions) == []
    game.canceled(bid)
    assert [o.client_id for o in game.open(STOP)] == [stop.client_id]
    assert game.quantity == 1.0


@pytest.mark.parametrize(
    ("policy", "purposes"), [(StopPolicy.FLATTEN, [STOP, CLOSE]), (StopPolicy.KEEP, [STOP])]
)
def test_an_entry_that_fills_after_the_stop_began_follows_the_policy(
    play: Any, sent: Any, policy: StopPolicy, purposes: list[OrderPurpose]
) -> None:
    game = play()
    entry = game.enter()
    game.take(game.engine.begin_stop(policy, "Ctrl+C"))
    game.reject(entry, -2011)
    assert [o.purpose for o in sent(game.fill_all(entry))] == purposes


def test_a_stop_discards_a_reversal_that_waits(play: Any, sent: Any) -> None:
    game = play()
    game.hold()
    (close,) = sent(game.signal(SignalAction.SELL, size=1.0))
    assert sent(game.take(game.engine.begin_stop(StopPolicy.FLATTEN, "Ctrl+C"))) == []
    assert sent(game.fill_all(close)) == []
    assert game.quantity == 0.0


def test_keep_turned_into_flatten_closes(play: Any, sent: Any) -> None:
    """A second Ctrl+C may ask for more than the first."""
    game = play()
    game.hold()
    game.take(game.engine.begin_stop(StopPolicy.KEEP, "first"))
    (close,) = sent(game.take(game.engine.begin_stop(StopPolicy.FLATTEN, "second")))
    assert close.purpose is CLOSE
    assert [state for state, _ in states(game)].count(EngineState.STOPPING) == 1


def test_a_flatten_during_a_partial_close_closes_the_rest(play: Any, sent: Any) -> None:
    game = play()
    game.hold()
    (part,) = sent(game.signal(SignalAction.CLOSE, size=0.3))
    game.take(game.engine.begin_stop(StopPolicy.FLATTEN, "Ctrl+C"))
    rest = [o for o in sent(game.fill_all(part)) if o.purpose is CLOSE]
    assert [o.quantity for o in rest] == [0.7]


def test_signals_given_at_the_end_are_not_acted_on(play: Any, sent: Any) -> None:
    class Late(Strategy):
        def on_stop(self) -> None:
            self.buy(size=1.0)

    game = play(Late())
    game.take(game.engine.begin_stop(StopPolicy.FLATTEN, "the end"))
    decisions = game.take(game.engine.finish())
    assert [type(d) for d in decisions] == [StateChanged]


# -- events ---------------------------------------------------------------------------------------


def test_every_kind_of_event_has_its_method(play: Any) -> None:
    """`process` is what a replay uses; it must agree with the methods that the shell calls."""
    one, two = play(), play()
    entry = one.enter()
    assert two.enter() == entry
    candle = Candle("BTCUSDT", "1m", MINUTE, 100.0, 101.0, 99.0, 100.5, 1.0, 2 * MINUTE - 1, True)
    fill = Fill(1, entry.client_id, "BTCUSDT", entry.side, 100.0, 1.0, 0.05, MINUTE)
    pairs = [
        (EventKind.FILL_RECEIVED, fill, one.engine.on_fill),
        (EventKind.CANDLE_CLOSED, candle, one.engine.on_candle),
    ]
    for kind, payload, method in pairs:
        direct = list(method(payload))
        assert list(two.engine.process(Event(kind, payload, fill.time))) == direct
        assert direct or kind is EventKind.CANDLE_CLOSED
    deadline = one.engine.next_deadline
    assert deadline == two.engine.next_deadline > 0
    fired = Event(EventKind.TIMER_FIRED, None, deadline)
    assert list(two.engine.process(fired)) == list(one.engine.on_timer(deadline)) != []
    assert two.engine.process(Event(EventKind.ERROR, "x", deadline)) == ()


def test_a_change_of_an_order_is_told_with_the_exchanges_words(play: Any) -> None:
    game = play()
    game.reject(game.enter(), -2019, "Margin is insufficient.")
    change = next(d for d in game.log if isinstance(d, OrderChanged))
    assert (change.order.status, change.code) == (OrderStatus.REJECTED, -2019)
    assert change.message == "Margin is insufficient."
