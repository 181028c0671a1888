"""`Bench`: commands as real processes against a sandbox, whose books say what is true."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

from candlewick.audit import verify
from candlewick.exchange import SimulatedExchange
from candlewick.live.replay import replay
from candlewick.models import OrderType
from candlewick.sandbox import Sandbox
from candlewick.sandbox.records import AlgoRecord, OrderRecord, TradeRecord
from tests.live.books import EIGHT, Books, digits

COMMAND = (sys.executable, "-c", "from candlewick.cli.main import main; main()")
PROTECT_S = 3.0  # the default of risk.protect_within_ms
LATE_S = 3.0  # how much later a loaded machine may be seen to do it
CONFIG = """
[strategy]
name = "sma_cross"
params = {fast = 3, slow = 6}
[data]
symbols = ["BTCUSDT"]
interval = "1m"
[risk]
daily_loss = 0.0
default_stop = 0.05
[run]
venue = "binance"
cleanup_timeout_s = 20.0
reconcile_every_s = 2.0
"""


class Tail:
    """Reads a journal as it grows, each record once, without the package's own reader.

    ``of`` has the data of each type of record, ``fills`` what is known of fills, from the stream
    and from snapshots, by trade id; ``known`` are the runs that have taken in the account;
    ``books`` what the records come to.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.of: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self.fills: dict[int, dict[str, Any]] = {}
        self.known: list[str] = []
        self.books = Books()
        self.entered_after: list[tuple[str, int]] = []
        self._candles: dict[str, int] = {}
        self._run = ""
        self._offsets: dict[int, int] = {}

    def read(self) -> Tail:
        """Take in what is new."""
        for path in sorted(self.directory.glob("*.jsonl")):
            try:
                with path.open("rb") as file:
                    inode = os.fstat(file.fileno()).st_ino
                    offset = self._offsets.get(inode, 0)
                    file.seek(offset)
                    lines = self._written(file)
            except FileNotFoundError:
                continue  # it has got its name in this moment
            whole = lines.rpartition(b"\n")[0]
            if whole:
                self._offsets[inode] = offset + len(whole) + 1
                for line in whole.split(b"\n"):
                    self._take(json.loads(line))
        return self

    def _take(self, record: dict[str, Any]) -> None:
        kind, data = record["type"], record["data"]
        self.of[kind].append(data)
        self.books.take(kind, data)
        if kind == "engine_started":
            self._run = data["run_id"]
        elif kind == "account_snapshot":
            self.fills |= {fill["trade_id"]: fill for fill in data["fills"]}
            if self._run not in self.known:
                self.known.append(self._run)
        elif kind == "fill":
            self.fills[data["trade_id"]] = data
        elif kind in ("candle_closed", "candle_shown"):
            self._candles[data["symbol"]] = data["open_time"]
        elif kind == "order_planned" and data["purpose"] == "entry":
            self.entered_after.append((data["symbol"], self._candles[data["symbol"]]))

    @staticmethod
    def _written(file: BinaryIO) -> bytes:
        """What stands before the zeros with which a segment is prepared."""
        chunks = []
        while chunk := file.read(32_768):
            chunks.append(chunk.split(b"\0", 1)[0])
            if len(chunks[-1]) < len(chunk):
                break
        return b"".join(chunks)


class Bench:
    """Starts commands against a sandbox, and looks into its books.

    ``unprotected_s`` is the longest time for which a position was seen without a covering stop
    while an engine that knows its account was at work: see `watch`.
    """

    def __init__(self, sandbox: Sandbox, directory: Path, config: str = CONFIG) -> None:
        self.sandbox = sandbox
        self.directory = directory
        self.journal = directory / "journal"
        self.tail = Tail(self.journal)
        self.unprotected_s = 0.0
        self.rest_url, self.ws_url = sandbox.rest_url, sandbox.ws_url
        self.environment: dict[str, str] = {}
        (directory / "c.toml").write_text(config)

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        """Start a command; it leads a group of its own."""
        return await asyncio.create_subprocess_exec(
            *COMMAND, *arguments, "-c", "c.toml", "--rest", self.rest_url, "--ws", self.ws_url,
            cwd=self.directory, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            env={
                **os.environ,
                "CANDLEWICK_API_KEY": self.sandbox.api_key,
                "CANDLEWICK_API_SECRET": self.sandbox.api_secret,
                "XDG_RUNTIME_DIR": str(self.directory),
                **self.environment,
            },
        )  # fmt: skip

    @property
    def exchange(self) -> SimulatedExchange:
        return self.sandbox.first.account.exchange

    @property
    def trades(self) -> list[TradeRecord]:
        return self.sandbox.first.account.trades

    @property
    def orders(self) -> list[OrderRecord | AlgoRecord]:
        """All orders of ours that the exchange has ever seen, those it made itself left out."""
        account = self.sandbox.first.account
        every = [*account.orders.values(), *account.algos.values()]
        return [order for order in every if order.client_id.startswith("cw-")]

    @property
    def is_flat(self) -> bool:
        """No position, and no order, normal or conditional."""
        return not self.exchange.positions() and not self.exchange.open_orders()

    def is_protected(self) -> bool:
        """Flat, or a stop at the exchange that covers the position."""
        for held in self.exchange.positions():
            stops = sum(
                order.quantity
                for order in self.exchange.open_orders(held.symbol)
                if order.type in (OrderType.STOP_MARKET, OrderType.TRAILING_STOP_MARKET)
                and order.side.sign * held.quantity < 0.0
            )
            if stops < abs(held.quantity):
                return False
        return True

    async def until(self, reached: Callable[[], bool], seconds: float = 60.0) -> None:
        """Wait for something that another process brings about."""
        async with asyncio.timeout(seconds):
            while not reached():  # noqa: ASYNC110 - there is no event across processes
                await asyncio.sleep(0.01)

    async def until_known(
        self, runs: int, engine: asyncio.subprocess.Process | None = None
    ) -> None:
        """Wait until so many runs have taken in the account; ``engine`` must not end before."""

        def is_over() -> bool:
            return engine is not None and engine.returncode is not None

        await self.until(lambda: is_over() or len(self.tail.read().known) >= runs)
        if engine is not None and is_over():
            raise AssertionError(f"it has ended with {engine.returncode}: {await ended(engine)}")

    async def watch(self) -> None:
        """Measure how long positions are without a stop, until cancelled."""
        since = 0.0
        while True:
            await asyncio.sleep(0.01)
            if self.is_protected():
                since = 0.0
            else:
                since = since or time.monotonic()
                self.unprotected_s = max(self.unprotected_s, time.monotonic() - since)

    # -- what must always hold -------------------------------------------------------------------

    def check_journal(self) -> None:
        """The journal verifies, knows every order, and entered once for each signal."""
        verified = verify(self.journal)
        assert verified.ok, verified.problems
        tail = self.tail.read()
        planned = {order["client_id"] for order in tail.of["order_planned"]}
        assert {order.client_id for order in self.orders} <= planned
        assert len(tail.entered_after) == len(set(tail.entered_after))
        self._check_entries()

    def _check_entries(self) -> None:
        """No run enters on top of what an earlier one has entered: the strategy adds to none.

        (Within a run two signals of two candles may both find the account flat.)
        """
        account = self.sandbox.first.account
        held, opener = dict[str, Decimal](), dict[str, str]()
        for trade in self.trades:
            client_id = account.orders[trade.order_id].client_id
            before = held.get(trade.symbol, Decimal(0))
            if client_id.endswith("-entry"):
                run = client_id.split("-")[1]
                assert not before or opener[trade.symbol] == run, f"{client_id} on top of {before}"
                opener[trade.symbol] = run
            sign = 1 if trade.side == "BUY" else -1
            held[trade.symbol] = before + sign * digits(trade.quantity)

    async def until_booked(self) -> None:
        """Wait until the journal has booked all trades that the exchange has now."""
        made = {trade.id for trade in self.trades}
        await self.until(lambda: made <= self.tail.read().books.booked)

    def check_fills(self) -> None:
        """Fills, fees and realised profit are the exchange's, to the last digit, and no more.

        Also while an engine trades: it is about the fills that the journal has.
        """
        tail = self.tail.read()
        trades = {trade.id: trade for trade in self.trades}
        assert tail.fills.keys() <= trades.keys()
        for trade_id, fill in tail.fills.items():
            trade = trades[trade_id]
            assert digits(fill["price"]) == digits(trade.price)
            assert digits(fill["quantity"]) == digits(trade.quantity)
            assert digits(fill["fee"]) == digits(trade.commission)
            assert digits(fill["realized"]) == digits(trade.realized)
        booked = [trades[trade_id] for trade_id in tail.books.booked]
        earned = sum((digits(t.realized) - digits(t.commission) for t in booked), Decimal(0))
        assert abs(tail.books.earned - earned) < EIGHT * (1 + len(booked)), tail.books.adoptions

    def check_replay(self) -> None:
        """Every run makes the same decisions again."""
        replayed = replay(self.journal)
        assert replayed.same, replayed.first_difference
        assert replayed.compared

    def check_profit(self) -> None:
        """The trades of the journal come to what the wallet has changed; only when flat."""
        assert self.is_flat
        account = self.sandbox.first.account
        earned = sum(
            (digits(t["profit"]) for t in self.tail.read().of["trade_completed"]), Decimal(0)
        )
        wallet = digits(account.exchange.balance) - digits(self.sandbox.settings.balance)
        assert abs(earned - wallet) < EIGHT * (1 + len(self.trades)), (earned, wallet)


async def ended(process: asyncio.subprocess.Process, seconds: float = 90.0) -> str:
    """Wait for the end of a command; returns what it said."""
    output, _ = await asyncio.wait_for(process.communicate(), seconds)
    return output.decode()


class Proxy:
    """A wire between a client and the sandbox that can be cut, or left without an answer.

    `be_silent` keeps connections open, accepts new ones, and carries nothing any more; `cut` ends
    what is connected and lets nobody in until `mend`.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._target = (sandbox.host, sandbox.port)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._is_cut = False
        self.url = ""

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def be_silent(self, silent: bool = True) -> None:
        """Carry nothing from now on, or everything again."""
        if silent:
            self._flows.clear()
        else:
            self._flows.set()

    def cut(self) -> None:
        """Pull the cable."""
        self._is_cut = True
        for task in list(self._tasks):
            task.cancel()

    def mend(self) -> None:
        """Plug it in again."""
        self._is_cut = False

    def point(self, bench: Bench) -> None:
        """Let a bench's commands go through this wire."""
        bench.rest_url, bench.ws_url = f"http://{self.url}", f"ws://{self.url}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        ends = [writer]
        try:
            there, back = await asyncio.open_connection(*self._target)
            ends.append(back)
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        except (OSError, asyncio.CancelledError):
            pass  # one side is gone, or the wire is taken away
        finally:
            self._tasks.discard(task)
            for end in ends:
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            await self._flows.wait()
            writer.write(data)
            await writer.drain()
        writer.close()
