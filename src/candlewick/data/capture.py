"""Raw captures of an exchange's streams: what a client received, byte for byte, and when.

A line is ``<local receive time, ns> <message>``; a message is a combined-stream frame
``{"stream": name, "data": {...}}`` or an answer that belongs to no stream.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import msgspec

from candlewick.data.building import CandleBuilder
from candlewick.data.problems import OnProblem, Problem, ProblemKind
from candlewick.errors import DataError
from candlewick.models import Candle, PriceUpdate

__all__ = ["Capture", "CaptureRecord", "load_capture"]

_TRADES = frozenset({"trade", "aggTrade"})
_LISTED = 100  # problems kept; all are counted


class CaptureRecord(msgspec.Struct, frozen=True, gc=False):
    """One message of a capture.

    ``received_ns`` is the capturing host's clock (UTC ns since 1970), which may be off;
    ``stream`` is empty for an answer that belongs to none. ``event`` and ``event_time`` (UTC ms,
    the exchange's clock) are those of the message, empty and 0 where it has none. ``message`` holds
    its bytes as they were received.
    """

    received_ns: int
    stream: str
    event: str
    event_time: int
    message: bytes
    line: int

    def decode(self) -> Any:
        """Return the message as plain Python values."""
        return msgspec.json.decode(self.message)


class _Data(msgspec.Struct, gc=False):
    e: str = ""
    E: int = 0
    s: str = ""
    T: Any = 0
    t: Any = 0  # number of a trade
    l: Any = 0  # noqa: E741 - the exchange's name: number of the last trade in an aggTrade
    p: Any = ""
    q: Any = ""
    X: Any = "MARKET"


class _Frame(msgspec.Struct, gc=False):
    stream: str = ""
    data: _Data | list[Any] | None = None


class Capture:
    """A capture file; iterating yields its `CaptureRecord`s, one by one, in the order received.

    Each iteration reads the file from its beginning. Lines that are no records are counted in
    ``malformed`` and the first hundred are listed in ``problems``, both of the latest iteration.
    """

    def __init__(self, path: Path, on_problem: OnProblem) -> None:
        self.path = path
        self.problems: list[Problem] = []
        self.records = 0
        self.malformed = 0
        self._on_problem = on_problem
        self._decode = msgspec.json.Decoder(_Frame).decode

    def __iter__(self) -> Iterator[CaptureRecord]:
        return (record for record, _ in self._frames())

    def prices(self) -> Iterator[PriceUpdate]:
        """Yield the trades of the market, in the order received; trade or aggTrade streams.

        Each trade comes once, also where the capture holds both kinds of stream (the first that
        is met is taken) or a trade twice. Trades with the insurance fund and the like are left
        out: they are no market prices.
        """
        return (price for _, price in self._prices() if price is not None)

    def candles(self, interval: str = "1m", grace_ms: int = 250) -> Iterator[Candle]:
        """Yield the closed candles that the trades make, by symbol as they close.

        Never one of which the beginning or the end was not heard; see `CandleBuilder`. Volumes are
        in base units.
        """
        builders: dict[str, CandleBuilder] = {}
        for event_time, price in self._prices():
            if price is not None:
                builder = builders.get(price.symbol)
                if builder is None:
                    builder = CandleBuilder(price.symbol, interval, grace_ms)
                    builders[price.symbol] = builder
                if (made := builder.update(price)) is not None:
                    yield made
            elif event_time:
                for builder in builders.values():
                    if (made := builder.heard(event_time)) is not None:
                        yield made

    def _prices(self) -> Iterator[tuple[int, PriceUpdate | None]]:
        """The time of each message on the exchange, and the trade, where it is a new one."""
        kinds: dict[str, str] = {}
        last: dict[str, int] = {}
        for record, data in self._frames():
            price = None
            if (
                data is not None
                and data.e in _TRADES
                and data.X == "MARKET"
                and kinds.setdefault(data.s, data.e) == data.e
                and _is_new(data, last)
            ):
                price = self._price(record, data)
            yield record.event_time, price

    def _price(self, record: CaptureRecord, data: _Data) -> PriceUpdate | None:
        try:
            price = PriceUpdate(data.s, float(data.p), float(data.q), int(data.T))
        except (ValueError, TypeError) as error:
            self._broken(record.line, f"a trade of {data.s} without a price: {error}")
            return None
        if not (0.0 < price.price < 1e300 and 0.0 < price.quantity < 1e300 and price.time > 0):
            self._broken(record.line, f"a trade of {price.quantity!r} at {price.price!r}")
            return None
        return price

    def _frames(self) -> Iterator[tuple[CaptureRecord, _Data | None]]:
        self.problems = []
        self.records = self.malformed = 0
        for number, line in self._lines():
            received, _, message = line.partition(b" ")
            message = message.rstrip(b"\r\n")
            try:
                received_ns = int(received)
                frame = self._decode(message)
            except (ValueError, msgspec.DecodeError) as error:
                if line.strip():
                    self._broken(number, str(error))
                continue
            data = frame.data if isinstance(frame.data, _Data) else None
            event, event_time = (data.e, data.E) if data is not None else ("", 0)
            self.records += 1
            yield (
                CaptureRecord(received_ns, frame.stream, event, event_time, message, number),
                data,
            )

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        number = 0
        try:
            with self._open() as file:
                for number, line in enumerate(file, 1):
                    yield number, line
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            self._broken(number + 1, f"the file ends here: {error}")
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error}") from error

    def _open(self) -> IO[bytes]:
        if self.path.suffix == ".gz":
            return cast("IO[bytes]", gzip.open(self.path))
        return self.path.open("rb")

    def _broken(self, line: int, reason: str) -> None:
        self.malformed += 1
        problem = Problem(ProblemKind.BROKEN_ROW, str(self.path), reason, line=line)
        found: list[Problem] = []
        problem.settle(self._on_problem, found)
        if len(self.problems) < _LISTED:
            self.problems += found


def _is_new(data: _Data, last: dict[str, int]) -> bool:
    """Tell a trade that was not yielded before by its number, where it has one."""
    number = data.t if data.e == "trade" else data.l
    if not isinstance(number, int) or number <= 0:
        return True
    if number <= last.get(data.s, 0):
        return False
    last[data.s] = number
    return True


def load_capture(path: str | Path, on_problem: OnProblem | str = OnProblem.REPORT) -> Capture:
    """Open a capture, plain or gzipped; nothing is read before it is iterated.

    Raises DataError when there is no such file, and while iterating, where that is chosen, at the
    first line that is no record.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"capture file {path} does not exist")
    return Capture(path, OnProblem(on_problem))
