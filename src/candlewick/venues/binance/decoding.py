"""`FrameDecoder`: from frame to message; what is unknown or malformed is counted, not raised."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from candlewick.venues.binance.answers import ErrorAnswer
from candlewick.venues.binance.messages import MarketMessage, UserMessage
from candlewick.venues.binance.tally import UNREADABLE, Tally

__all__ = ["FrameDecoder", "Reply", "market_decoder", "user_decoder"]

T = TypeVar("T")

_ANYTHING = msgspec.json.Decoder()


class Reply(msgspec.Struct):
    """The answer to a request of ours: its number, and what was wrong, if anything was."""

    id: int | str
    error: str = ""


class MarketFrame(msgspec.Struct, gc=False):
    """A frame of a combined stream, or an answer."""

    data: MarketMessage | None = None
    id: int | str | None = None
    error: ErrorAnswer | None = None


class UserFrame(msgspec.Struct, gc=False):
    """A frame of a combined stream, or an answer."""

    data: UserMessage | None = None
    id: int | str | None = None
    error: ErrorAnswer | None = None


class FrameDecoder(Generic[T]):
    """Decodes the frames of one kind of stream, raw or combined."""

    def __init__(self, source: str, frame: Any, message: Any, tally: Tally) -> None:
        self._source = source
        self._tally = tally
        self._frame = msgspec.json.Decoder(frame, strict=False)
        self._message = message

    def decode(self, data: bytes | str) -> T | Reply | None:
        """Return the message in a frame, or the reply; None for what is counted only."""
        try:
            frame = self._frame.decode(data)
        except UNREADABLE as error:
            return self._other(data, error)
        if frame.data is not None:
            message: T = frame.data
            return message
        return self._other(data, None)

    def _other(self, data: bytes | str, error: Exception | None) -> T | Reply | None:
        """Find out what a frame is that is no message of a combined stream."""
        try:
            content = _ANYTHING.decode(data)
        except UNREADABLE as broken:
            self._tally.saw_malformed(self._source, broken, data)
            return None
        if isinstance(content, dict):
            inner = content.get("data", content)
            if isinstance(inner, dict) and isinstance(inner.get("e"), str):
                return self._message_in(inner, data)
            reply = _reply_in(content)
            if reply is not None:
                return reply
        if isinstance(content, dict) and isinstance(content.get("data"), list):
            self._tally.saw_unknown("list")
        else:
            self._tally.saw_malformed(self._source, error or "neither event nor answer", data)
        return None

    def _message_in(self, inner: dict[str, Any], data: bytes | str) -> T | None:
        if inner["e"] not in _TAGS:
            self._tally.saw_unknown(inner["e"])
            return None
        try:
            message: T = msgspec.convert(inner, self._message, strict=False)
        except UNREADABLE as error:
            self._tally.saw_malformed(self._source, error, data)
            return None
        return message


def _reply_in(content: dict[str, Any]) -> Reply | None:
    number = content.get("id")
    told = content.get("error")
    if told is None and "result" not in content and "code" in content:
        told = content
    if told is None and (number is None or "result" not in content):
        return None
    text = f"{told.get('msg')} ({told.get('code')})" if isinstance(told, dict) else str(told or "")
    return Reply(number if isinstance(number, int | str) else 0, text[:300])


def _tags(union: Any) -> set[str]:
    return {str(member.__struct_config__.tag) for member in union.__args__}


_TAGS = _tags(MarketMessage) | _tags(UserMessage)


def market_decoder(tally: Tally) -> FrameDecoder[MarketMessage]:
    """Decodes what the market's streams bring."""
    return FrameDecoder("market", MarketFrame, MarketMessage, tally)


def user_decoder(tally: Tally) -> FrameDecoder[UserMessage]:
    """Decodes what the account's stream brings."""
    return FrameDecoder("account", UserFrame, UserMessage, tally)
