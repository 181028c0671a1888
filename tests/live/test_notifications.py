"""Notifications over real sockets: delivered, repeated, held back, never in the way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from candlewick.audit import AuditLogger, JournalState, anchors_of
from candlewick.backtesting import prepare
from candlewick.data import load_market
from candlewick.errors import ConfigError
from candlewick.live import Outcome, TradingSystem
from candlewick.live.notices import JournalNews, notified
from candlewick.models import Candle
from candlewick.notifications import Notice, NotificationSettings, Notifier, senders_from
from candlewick.strategies import Strategy

QUICK = NotificationSettings(repeat_after_s=60.0, timeout_s=0.2, give_up_s=1.0, first_retry_s=0.01)
Answer = Callable[[web.Request], Awaitable[web.Response]]


class Receiver:
    """A local HTTP server that keeps what it gets and answers as told."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, Any]]] = []
        self.answers: list[Answer] = []
        self.arrived = asyncio.Event()
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.got.append((request.path, await request.json()))
        self.arrived.set()
        if self.answers:
            return await self.answers.pop(0)(request)
        return web.Response()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.got) < count:
                self.arrived.clear()
                await self.arrived.wait()


def status(code: int, **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=code, headers=headers)

    return answer


async def hang(_: web.Request) -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    app = web.Application()
    app.router.add_post("/{path:.*}", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


class Undelivered(list[tuple[str, str, str]]):
    """What could not be told."""

    def __call__(self, sender: str, notice: Notice, reason: str) -> None:
        self.append((sender, notice.title, reason))


def notice(title: str = "halted", kind: str = "halted", subject: str = "") -> Notice:
    return Notice(kind, "critical", title, "daily loss of 21 %", 1, subject)


def webhook(url: str) -> Any:
    return senders_from({"CANDLEWICK_WEBHOOK_URL": url}, lambda secret: None)


async def test_each_receiver_gets_its_own_form(receiver: Receiver) -> None:
    secrets: list[str] = []
    senders = senders_from(
        {
            "CANDLEWICK_WEBHOOK_URL": f"{receiver.url}/hook",
            "CANDLEWICK_DISCORD_URL": f"{receiver.url}/discord/secret",
            "CANDLEWICK_TELEGRAM_TOKEN": "12:abc",
            "CANDLEWICK_TELEGRAM_CHAT": "77",
            "CANDLEWICK_TELEGRAM_URL": receiver.url,
        },
        secrets.append,
    )
    lost = Undelivered()
    notifier = Notifier(senders, QUICK, lost)
    notifier.start()
    notifier.tell(notice())
    await notifier.stop(5.0)
    got = dict(receiver.got)
    assert got["/hook"]["title"] == "halted"
    assert got["/hook"]["severity"] == "critical"
    assert got["/discord/secret"]["content"] == "[critical] halted\ndaily loss of 21 %"
    assert got["/bot12:abc/sendMessage"] == {
        "chat_id": "77", "text": "[critical] halted\ndaily loss of 21 %",
    }  # fmt: skip
    assert not lost
    assert {"12:abc", f"{receiver.url}/discord/secret"} <= set(secrets)


@pytest.mark.parametrize("first", [status(500), status(429, **{"Retry-After": "0.05"}), hang])
async def test_what_fails_is_tried_again(receiver: Receiver, first: Answer) -> None:
    receiver.answers = [first]
    lost = Undelivered()
    notifier = Notifier(webhook(receiver.url), QUICK, lost)
    notifier.start()
    notifier.tell(notice())
    await receiver.until(2)
    await notifier.stop(5.0)
    assert len(receiver.got) == 2
    assert not lost


async def test_what_is_refused_for_good_is_told_once_and_given_up(receiver: Receiver) -> None:
    receiver.answers = [status(404)]
    lost = Undelivered()
    notifier = Notifier(webhook(receiver.url), QUICK, lost)
    notifier.start()
    notifier.tell(notice())
    await notifier.stop(5.0)
    assert lost == [("webhook", "halted", "webhook answered 404")]
    assert len(receiver.got) == 1


async def test_a_receiver_that_is_not_there_is_given_up_without_naming_its_address() -> None:
    lost = Undelivered()
    settings = NotificationSettings(give_up_s=0.05, first_retry_s=0.01)
    notifier = Notifier(webhook("http://127.0.0.1:9/secret"), settings, lost)
    notifier.start()
    notifier.tell(notice())
    await notifier.stop(5.0)
    assert len(lost) == 1
    assert "cannot be reached" in lost[0][2]
    assert "secret" not in str(lost)


async def test_alike_notices_are_held_back_and_counted(receiver: Receiver) -> None:
    settings = NotificationSettings(repeat_after_s=0.2)
    notifier = Notifier(webhook(receiver.url), settings, Undelivered())
    notifier.start()
    for _ in range(5):
        notifier.tell(notice())
    notifier.tell(notice(subject="another"))
    await receiver.until(2)
    notifier._last.clear()  # the time has passed
    notifier.tell(notice())
    await notifier.stop(5.0)
    assert [body["repeated"] for _, body in receiver.got] == [0, 0, 4]


async def test_a_full_queue_is_told_and_nothing_waits(receiver: Receiver) -> None:
    receiver.answers = [hang] * 300
    lost = Undelivered()
    notifier = Notifier(webhook(receiver.url), QUICK, lost)
    notifier.start()
    for number in range(150):
        notifier.tell(notice(subject=str(number)))
    assert len(lost) == 50
    await notifier.stop(0.01)
    assert len(lost) >= 149


@pytest.mark.parametrize(
    "environment",
    [{"CANDLEWICK_TELEGRAM_TOKEN": "x"}, {"CANDLEWICK_WEBHOOK_URL": "ftp://x"}],
)
def test_half_a_setting_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="CANDLEWICK"):
        senders_from(environment, lambda secret: None)


def kinds_in(directory: Path) -> list[str]:
    lines = b"".join(path.read_bytes() for path in directory.glob("*.jsonl")).splitlines()
    return [json.loads(line)["type"] for line in lines if line.strip(b"\0")]


class Raises(Strategy):
    """Holds a position and raises."""

    def on_candle(self, candle: Candle) -> None:
        self.buy()
        if len(self.history) == 20:
            raise RuntimeError("bug")


async def run_told(
    directory: Path, url: str, settings: NotificationSettings = QUICK
) -> tuple[Outcome, JournalNews]:
    news = JournalNews()
    journal = AuditLogger(directory, on_state=news.on_state, on_anchor=news.on_anchor)
    market = load_market([], candles=3_000)
    system = TradingSystem.simulated(prepare(Raises, market), journal)
    async with notified(system, webhook(url), settings, news):
        outcome = await system.run()
        news.on_state(JournalState.WITHOUT_ROOM, "no space left")
        await asyncio.sleep(0)
    return outcome, news


def test_without_a_receiver_notices_stand_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        system = TradingSystem.simulated(
            prepare(Raises, load_market([], candles=100)), AuditLogger(tmp_path)
        )
        async with notified(system, [], QUICK):
            await system.run()

    with caplog.at_level("INFO", "candlewick"):
        asyncio.run(main())
    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert ("ERROR", "trading is halted: Raises.on_candle raised RuntimeError('bug')") in told
    assert any(text.startswith("flat, as the exchange has confirmed") for _, text in told)


async def test_a_system_tells_that_it_halted_stopped_lacks_room_and_its_anchor(
    receiver: Receiver, tmp_path: Path
) -> None:
    await run_told(tmp_path, receiver.url)
    (anchor,) = anchors_of(tmp_path)
    titles = [body["title"] for _, body in receiver.got]
    assert titles == [
        "trading is halted", "the system is stopping", "flat, as the exchange has confirmed",
        f"anchor of the journal, {anchor.day}", "the run has ended",
        "the journal cannot be written",
    ]  # fmt: skip
    assert f"--anchor {anchor.sequence}:{anchor.hash}" in receiver.got[3][1]["text"]
    assert "RuntimeError('bug')" in receiver.got[0][1]["text"]


async def test_a_hanging_receiver_is_not_in_the_way_and_what_it_missed_is_journaled(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.answers = [hang] * 50
    settings = NotificationSettings(timeout_s=0.05, give_up_s=0.06, first_retry_s=0.05)
    outcome, _ = await run_told(tmp_path, receiver.url, settings)
    assert outcome.summary.trades == 1  # the position was closed while the receiver hung
    assert kinds_in(tmp_path)[-1] == "journal_closed"
    assert receiver.got
