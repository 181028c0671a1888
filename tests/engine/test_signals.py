"""What becomes of a signal: an order, or a denial with its code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from candlewick.engine import Decision, EngineState, StopPolicy
from candlewick.models import (
    Candle,
    Instrument,
    OrderPurpose,
    OrderStatus,
    OrderType,
    Side,
    Signal,
    SignalAction,
    StreamKind,
    StreamState,
    StreamStatus,
)
from candlewick.risk import DenialCode
from candlewick.strategies import Strategy

BUY, SELL, CLOSE, MOVE_STOP, CANCEL = SignalAction
MINUTE = 60_000


class Raises(Strategy):
    """Raises at the second candle."""

    seen = 0

    def on_candle(self, candle: Any) -> None:
        self.seen += 1
        if self.seen == 2:
            raise ZeroDivisionError("a bug")


# -- every denial code can happen -----------------------------------------------------------------


def _halted(play: Any) -> Any:
    game = play(Raises())
    game.candle(100.0)
    game.signal(size=1.0)
    return game


def _stopping(play: Any) -> Any:
    game = play()
    game.take(game.engine.begin_stop(StopPolicy.FLATTEN, "test"))
    game.signal(size=1.0)
    return game


def _daily_loss(play: Any) -> Any:
    game = play(daily_loss=0.05, max_leverage=10.0)
    game.hold(size=100.0, stop=50.0)
    game.candle(94.0)
    game.signal(size=1.0)
    return game


def _entry_pending(play: Any) -> Any:
    game = play()
    game.enter()
    game.signal(size=1.0)
    return game


def _position_grew(play: Any) -> Any:
    game = play()
    game.hold()
    game.signal(size=1.0, held=0.0)
    return game


def _close_pending(play: Any) -> Any:
    game = play()
    game.hold()
    game.signal(CLOSE, size=0.2)
    game.signal(CLOSE, size=0.2)
    return game


def _stale(play: Any) -> Any:
    game = play()
    status = StreamStatus(StreamKind.MARKET, StreamState.STALE, game.engine.now, reason="old")
    game.engine.on_stream(status)
    game.signal(size=1.0)
    return game


def _unknown(play: Any) -> Any:
    game = play()
    game.update(game.enter(), OrderStatus.UNKNOWN)
    game.signal(size=1.0)
    return game


def _signal(**wishes: Any) -> Callable[[Any], Any]:
    def run(play: Any) -> Any:
        limits = wishes.pop("limits", {})
        price = wishes.pop("market", 100.0)
        instrument = Instrument("BTCUSDT", 0.1, 0.001, min_quantity=0.01, market_max_quantity=200.0)
        game = play(price=price, instrument=instrument, **limits)
        game.signal(wishes.pop("action", BUY), **wishes)
        return game

    return run


def _too_many_orders(play: Any) -> Any:
    game = play(max_orders_per_minute=2)
    game.hold()
    game.signal(size=1.0)
    return game


def _too_many_positions(play: Any) -> Any:
    game = play(symbols=("BTCUSDT", "ETHUSDT"), max_open_positions=1)
    game.hold()
    game.signal(symbol="ETHUSDT", size=1.0)
    return game


SCENES: dict[DenialCode, Callable[[Any], Any]] = {
    DenialCode.CLOSE_PENDING: _close_pending,
    DenialCode.DAILY_LOSS: _daily_loss,
    DenialCode.ENGINE_HALTED: _halted,
    DenialCode.ENGINE_STOPPING: _stopping,
    DenialCode.ENTRY_PENDING: _entry_pending,
    DenialCode.MAX_LEVERAGE: _signal(size=301.0, price=100.0),
    DenialCode.MAX_OPEN_POSITIONS: _too_many_positions,
    DenialCode.MAX_ORDERS: _too_many_orders,
    DenialCode.MAX_POSITION: _signal(size=11.0, limits={"max_position": 1_000.0}),
    DenialCode.NO_POSITION: _signal(action=CLOSE),
    DenialCode.NO_PRICE: _signal(size=1.0, market=0.0),
    DenialCode.POSITION_GREW: _position_grew,
    DenialCode.SIZE_INVALID: _signal(size=float("nan")),
    DenialCode.SIZE_TOO_LARGE: _signal(size=200.001),
    DenialCode.SIZE_TOO_SMALL: _signal(size=0.009),
    DenialCode.STALE_DATA: _stale,
    DenialCode.STOP_WRONG_SIDE: _signal(stop=101.0),
    DenialCode.TARGET_WRONG_SIDE: _signal(target=99.0),
    DenialCode.TRAIL_OUT_OF_RANGE: _signal(size=1.0, trail=0.2),
    DenialCode.UNKNOWN_STATE: _unknown,
    DenialCode.UNKNOWN_SYMBOL: _signal(symbol="DOGE"),
}


@pytest.mark.parametrize("code", list(SCENES))
def test_a_denial_has_its_code_and_sends_no_entry(play: Any, sent: Any, code: DenialCode) -> None:
    game = SCENES[code](play)
    denial = game.denials[-1]
    assert denial.code is code
    assert code.explanation.endswith(".")
    assert str(denial).startswith(f"{denial.signal.symbol} {denial.signal.action}: {code}")
    at = game.log.index(denial)
    assert not [o for o in sent(game.log[at:]) if o.purpose is OrderPurpose.ENTRY]


def test_the_scenes_cover_every_code_but_the_shells_own() -> None:
    assert set(DenialCode) - set(SCENES) == {
        DenialCode.JOURNAL_UNAVAILABLE,
        DenialCode.TRIGGER_PASSED,
        DenialCode.WITHDRAWN,
    }


# -- what was true when it was asked for -----------------------------------------------------------


class BuysWhenFlat(Strategy):
    """Buys bitcoin at every candle, of whatever symbol, at which none is held."""

    def on_candle(self, candle: Candle) -> None:
        if self.position_of("BTCUSDT").is_flat:
            self.buy("BTCUSDT", size=1.0, stop=candle.close * 0.9)


def _signals(decisions: Sequence[Decision]) -> list[Signal]:
    return [decision for decision in decisions if isinstance(decision, Signal)]


def test_an_entry_that_is_filled_before_the_next_signals_turn_is_not_doubled(
    play: Any, sent: Any
) -> None:
    """Both signals were queued while the position was flat: the second one's wish is fulfilled."""
    game = play(BuysWhenFlat(), price=0.0, symbols=("BTCUSDT", "ETHUSDT"))
    (first,) = _signals(game.candle(100.0))
    game.candles = 0  # the other symbol's candle closes in the same moment
    (second,) = _signals(game.candle(100.0, "ETHUSDT"))
    (entry,) = sent(game.take(game.engine.on_signal(first)))
    game.acknowledge(entry)
    game.fill_all(entry)
    assert game.quantity == 1.0
    assert sent(game.take(game.engine.on_signal(second))) == []
    assert game.denials[-1].code is DenialCode.POSITION_GREW
    assert game.quantity == 1.0


def test_an_entry_that_knows_of_the_position_adds_to_it(play: Any, sent: Any) -> None:
    game = play(max_leverage=10.0)
    game.hold()
    (entry,) = sent(game.signal(size=1.0, held=1.0))
    assert entry.purpose is OrderPurpose.ENTRY


def test_an_entry_that_was_to_turn_a_position_round_goes_out_when_that_is_gone(
    play: Any, sent: Any
) -> None:
    game = play()
    game.hold()
    (close,) = sent(game.signal(SELL, size=2.0, held=1.0))
    game.acknowledge(close)
    (entry,) = [o for o in sent(game.fill_all(close)) if o.purpose is OrderPurpose.ENTRY]
    assert (entry.side, entry.quantity) == (Side.SELL, 2.0)


def test_signals_of_candles_that_were_missed_enter_no_position(play: Any, sent: Any) -> None:
    """After an interruption missed candles come all at once: only what the newest asks is done."""
    game = play(BuysWhenFlat(), price=0.0)
    late = StreamStatus(StreamKind.MARKET, StreamState.LIVE, 5 * MINUTE + 20, reason="back")
    game.engine.on_stream(late)
    asked = [signal for _ in range(5) for signal in _signals(game.candle(100.0))]
    assert [signal.time for signal in asked] == [n * MINUTE - 1 for n in range(1, 6)]
    for signal in asked[:-1]:
        assert sent(game.take(game.engine.on_signal(signal))) == []
        assert game.denials[-1].code is DenialCode.STALE_DATA
    (entry,) = sent(game.take(game.engine.on_signal(asked[-1])))
    assert entry.purpose is OrderPurpose.ENTRY


def test_a_late_candles_close_is_carried_out(play: Any, sent: Any) -> None:
    game = play()
    game.hold()
    late = Signal("BTCUSDT", CLOSE, game.engine.now)
    game.candle(100.0)
    (close,) = sent(game.take(game.engine.on_signal(late)))
    assert close.purpose is OrderPurpose.CLOSE


# -- closing, and turning round -------------------------------------------------------------------


def test_a_close_takes_all_that_is_held_while_the_stop_still_rests(
    play: Any, sent: Any, cancelled: Any
) -> None:
    game = play()
    stop = game.hold()
    decisions = game.signal(CLOSE, reason="enough")
    (close,) = sent(decisions)
    assert (close.side, close.quantity, close.reduce_only) == (Side.SELL, 1.0, True)
    assert close.type is OrderType.MARKET
    assert cancelled(decisions) == []
    assert cancelled(game.fill_all(close, price=103.0)) == [stop.client_id]
    assert game.trades_made[-1].exit_reason == "enough"


def test_a_second_close_while_one_is_on_its_way_sends_nothing(play: Any, sent: Any) -> None:
    game = play()
    game.hold()
    game.signal(CLOSE)
    assert sent(game.signal(CLOSE)) == []


def test_a_full_close_after_a_partial_one_closes_the_rest(play: Any, sent: Any) -> None:
    game = play()
    game.hold()
    (part,) = sent(game.signal(CLOSE, size=0.3))
    assert sent(game.signal(CLOSE)) == [], "it waits for the first"
    rest = [o for o in sent(game.fill_all(part)) if o.purpose is OrderPurpose.CLOSE]
    assert [o.quantity for o in rest] == [0.7]


@pytest.mark.parametrize(
    ("size", "code"),
    [(-1.0, DenialCode.SIZE_INVALID), (float("nan"), DenialCode.SIZE_INVALID),
     (0.0004, DenialCode.SIZE_TOO_SMALL)],
)  # fmt: skip
def test_a_partial_close_of_no_sense_is_denied(
    play: Any, sent: Any, size: float, code: DenialCode
) -> None:
    game = play()
    game.hold()
    assert sent(game.signal(CLOSE, size=size)) == []
    assert game.denials[-1].code is code


def test_a_partial_close_of_more_than_is_held_closes_it(play: Any, sent: Any) -> None:
    game = play()
    game.hold()
    (close,) = sent(game.signal(CLOSE, size=5.0))
    assert close.quantity == 1.0


def test_a_reversal_closes_first_and_enters_when_the_position_is_gone(
    play: Any, sent: Any, cancelled: Any
) -> None:
    game = play()
    stop = game.hold()
    (close,) = sent(game.signal(SELL, size=2.0, stop=110.0))
    assert close.purpose is OrderPurpose.CLOSE
    game.signal(SELL, size=2.0)
    assert game.denials[-1].code is DenialCode.ENTRY_PENDING
    game.acknowledge(close)
    filled = game.fill(close)
    assert sent(filled) == []
    assert cancelled(filled) == [stop.client_id]
    (entry,) = sent(game.update(close, OrderStatus.FILLED, 1.0))
    assert (entry.purpose, entry.side, entry.quantity) == (OrderPurpose.ENTRY, Side.SELL, 2.0)
    (new_stop,) = sent(game.fill_all(entry))
    assert (new_stop.side, new_stop.trigger_price) == (Side.BUY, 110.0)
    assert game.quantity == -2.0


def test_a_reversal_goes_on_when_the_stop_was_quicker_than_the_close(play: Any, sent: Any) -> None:
    game = play()
    stop = game.hold()
    (close,) = sent(game.signal(SELL, size=2.0, stop=110.0))
    assert sent(game.fill_all(stop, price=90.0)) == [], "the close is still on its way"
    (entry,) = sent(game.update(close, OrderStatus.EXPIRED))
    assert (entry.side, entry.purpose) == (Side.SELL, OrderPurpose.ENTRY)


def test_a_new_entry_waits_for_a_close_that_could_hit_it(play: Any, sent: Any) -> None:
    game = play()
    stop = game.hold()
    (close,) = sent(game.signal(CLOSE))
    game.fill_all(stop, price=90.0)
    assert sent(game.signal(BUY, size=1.0)) == [], "the close would sell the new position"
    (entry,) = sent(game.reject(close, -2022))
    assert (entry.side, entry.purpose) == (Side.BUY, OrderPurpose.ENTRY)


def test_a_reversal_whose_close_fails_is_denied_in_the_end(play: Any, sent: Any) -> None:
    game = play()
    game.hold()
    (close,) = sent(game.signal(SELL, size=1.0))
    while orders := sent(game.reject(close, -1001)):
        (close,) = orders
    assert game.denials[-1].code is DenialCode.UNKNOWN_STATE
    assert game.quantity == 1.0


def test_a_close_signal_takes_back_a_reversal(play: Any, sent: Any) -> None:
    game = play()
    game.hold()
    (close,) = sent(game.signal(SELL, size=1.0))
    game.signal(CLOSE)
    assert sent(game.fill_all(close)) == []
    assert game.quantity == 0.0


def test_a_cancel_signal_takes_back_a_reversal_too(play: Any, sent: Any) -> None:
    game = play()
    game.hold()
    (close,) = sent(game.signal(SELL, size=1.0))
    game.signal(CANCEL)
    assert sent(game.fill_all(close)) == []


def test_an_entry_that_is_over_but_for_its_fills_is_not_cancelled(
    play: Any, cancelled: Any
) -> None:
    game = play()
    entry = game.enter()
    game.update(entry, OrderStatus.FILLED, 1.0)
    assert cancelled(game.signal(CANCEL)) == []


# -- other wishes ---------------------------------------------------------------------------------


def test_a_limit_entry_is_on_a_tick_and_can_be_cancelled(
    play: Any, sent: Any, cancelled: Any
) -> None:
    game = play()
    (bid,) = sent(game.signal(BUY, size=1.0, price=99.97, stop=90.0))
    assert (bid.type, bid.price) == (OrderType.LIMIT, 99.9)
    assert cancelled(game.signal(CANCEL)) == [bid.client_id]
    game.canceled(bid)
    assert game.engine.is_settled


@pytest.mark.parametrize("stop", [100.0, 101.0, 0.0, -5.0, float("nan"), float("inf")])
def test_a_stop_cannot_be_moved_to_where_it_protects_nothing(
    play: Any, sent: Any, stop: float
) -> None:
    game = play()
    game.hold()
    assert sent(game.signal(MOVE_STOP, stop=stop)) == []
    assert game.denials[-1].code is DenialCode.STOP_WRONG_SIDE


def test_a_stop_without_position_cannot_be_moved(play: Any) -> None:
    game = play()
    game.signal(MOVE_STOP, stop=90.0)
    assert game.denials[-1].code is DenialCode.NO_POSITION


def test_signals_in_the_same_direction_add_up_to_the_limit(play: Any, sent: Any) -> None:
    game = play(max_leverage=2.0)
    game.hold(size=150.0)
    (more,) = sent(game.signal(BUY, risk=0.5, stop=99.0))
    assert more.quantity == 50.0


def test_orders_a_minute_are_counted_with_exits_and_refused_only_to_entries(
    play: Any, sent: Any
) -> None:
    game = play(max_orders_per_minute=3)
    game.hold(target=120.0)
    (close,) = sent(game.signal(CLOSE))
    assert close, "a fourth order, but it closes"
    game.fill_all(close)
    game.signal(BUY, size=1.0)
    assert game.denials[-1].code is DenialCode.MAX_ORDERS
    assert game.denials[-1].context == {"limit": 3}
    game.candle(100.0)
    assert sent(game.signal(BUY, size=1.0))


def test_entries_are_asked_for_again_at_the_moment_of_sending(play: Any) -> None:
    game = play()
    entry = game.enter()
    assert game.engine.refuses(entry) is None
    game.take(game.engine.begin_stop(StopPolicy.KEEP, "test"))
    assert game.engine.refuses(entry) is DenialCode.ENGINE_STOPPING
    stop = msgspec.structs.replace(entry, purpose=OrderPurpose.STOP)
    assert game.engine.refuses(stop) is None


def test_a_strategys_signals_come_back_and_are_not_acted_on_by_themselves(play: Any) -> None:
    class Asks(Strategy):
        def on_candle(self, candle: Any) -> None:
            self.buy(size=1.0, stop=90.0, reason="first")
            self.close(reason="second")

    game = play(Asks(), price=0.0)
    decisions = [d for d in game.candle(100.0) if isinstance(d, Signal)]
    assert [(s.action, s.reason, s.time) for s in decisions] == [
        (BUY, "first", 59_999), (CLOSE, "second", 59_999),
    ]  # fmt: skip
    assert game.engine.is_settled
    assert game.engine.state is EngineState.RUNNING
