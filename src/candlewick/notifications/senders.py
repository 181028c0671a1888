"""Senders: webhook, Telegram and Discord, each one HTTP POST."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import aiohttp
import msgspec

from candlewick.errors import ConfigError

__all__ = ["Discord", "SendError", "Sender", "Telegram", "Webhook", "senders_from"]

_TELEGRAM = "https://api.telegram.org"
_DISCORD_LIMIT = 2_000  # characters of one message
_TELEGRAM_LIMIT = 4_096


class SendError(Exception):
    """A message was not taken; ``retry_after_s`` is when the receiver wants to be asked again.

    ``is_final`` means that asking again will not help. The text names no secret.
    """

    def __init__(self, reason: str, retry_after_s: float = 0.0, *, is_final: bool = False) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s
        self.is_final = is_final


class Sender(Protocol):
    """Where notices go. ``name`` stands in the journal."""

    name: str

    async def send(self, session: aiohttp.ClientSession, notice: Mapping[str, Any]) -> None:
        """Deliver one notice; raises SendError."""


async def _post(
    session: aiohttp.ClientSession, name: str, url: str, body: Mapping[str, Any]
) -> None:
    headers = {"Content-Type": "application/json"}
    try:
        async with session.post(url, data=msgspec.json.encode(body), headers=headers) as answer:
            status = answer.status
            retry_after = answer.headers.get("Retry-After", "")
    except TimeoutError:
        raise SendError(f"{name} does not answer") from None
    except (aiohttp.ClientError, OSError) as error:
        # the error's own text holds the address, which is a secret
        raise SendError(f"{name} cannot be reached ({type(error).__name__})") from None
    if status < 300:
        return
    wait_s = float(retry_after) if retry_after.replace(".", "", 1).isdigit() else 0.0
    final = 400 <= status < 500 and status not in (408, 425, 429)
    raise SendError(f"{name} answered {status}", wait_s, is_final=final)


class Webhook:
    """POSTs the notice as JSON: kind, severity, title, text, time, repeated."""

    name = "webhook"

    def __init__(self, url: str) -> None:
        self._url = url

    async def send(self, session: aiohttp.ClientSession, notice: Mapping[str, Any]) -> None:
        """Deliver one notice."""
        await _post(session, self.name, self._url, notice)


class Telegram:
    """Sends a message to a chat: https://core.telegram.org/bots/api#sendmessage."""

    name = "telegram"

    def __init__(self, token: str, chat: str, base_url: str = _TELEGRAM) -> None:
        self._url = f"{base_url}/bot{token}/sendMessage"
        self._chat = chat

    async def send(self, session: aiohttp.ClientSession, notice: Mapping[str, Any]) -> None:
        """Deliver one notice."""
        text = _plain(notice)[:_TELEGRAM_LIMIT]
        await _post(session, self.name, self._url, {"chat_id": self._chat, "text": text})


class Discord:
    """Sends a message through a channel's webhook."""

    name = "discord"

    def __init__(self, url: str) -> None:
        self._url = url

    async def send(self, session: aiohttp.ClientSession, notice: Mapping[str, Any]) -> None:
        """Deliver one notice."""
        await _post(session, self.name, self._url, {"content": _plain(notice)[:_DISCORD_LIMIT]})


def _plain(notice: Mapping[str, Any]) -> str:
    text = f"[{notice['severity']}] {notice['title']}\n{notice['text']}".rstrip()
    return f"{text}\n(and {notice['repeated']} more like it)" if notice["repeated"] else text


def senders_from(environment: Mapping[str, str], hide: Callable[[str], None]) -> list[Sender]:
    """Make the senders whose secrets stand in the environment; ``hide`` gets each secret.

    Raises:
        ConfigError: half of a pair is missing, or an address is none.
    """
    senders: list[Sender] = []
    kinds: dict[str, Callable[[str], Sender]] = {
        "CANDLEWICK_WEBHOOK_URL": Webhook,
        "CANDLEWICK_DISCORD_URL": Discord,
    }
    for name, kind in kinds.items():
        if url := environment.get(name):
            if not url.startswith(("http://", "https://")):
                raise ConfigError(f"{name} must be an http or https address")
            hide(url)
            senders.append(kind(url))
    token = environment.get("CANDLEWICK_TELEGRAM_TOKEN", "")
    chat = environment.get("CANDLEWICK_TELEGRAM_CHAT", "")
    if bool(token) != bool(chat):
        raise ConfigError("set both CANDLEWICK_TELEGRAM_TOKEN and CANDLEWICK_TELEGRAM_CHAT")
    if token:
        hide(token)
        base_url = environment.get("CANDLEWICK_TELEGRAM_URL", _TELEGRAM)
        senders.append(Telegram(token, chat, base_url))
    return senders
