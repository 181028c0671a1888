"""How a request can fail: refused, held back by a limit, or without an answer."""

from __future__ import annotations

from candlewick.errors import VenueError

__all__ = [
    "Code",
    "OutcomeUnknown",
    "RateLimited",
    "Refused",
    "explain",
    "is_unknown",
    "reason_of",
]


class Code:
    """The exchange's error codes that are acted on."""

    UNKNOWN = -1000
    INTERNAL = -1001
    TOO_MANY_REQUESTS = -1003
    UNEXPECTED_RESPONSE = -1006
    TIMEOUT = -1007
    OVERLOADED = -1008
    TOO_MANY_ORDERS = -1015
    TIMESTAMP = -1021
    SIGNATURE = -1022
    PARAMETER_NOT_REQUIRED = -1106
    SYMBOL = -1121
    LISTEN_KEY = -1125
    UNKNOWN_ORDER = -2011
    NO_SUCH_ORDER = -2013
    KEY_FORMAT = -2014
    KEY_REJECTED = -2015
    LEVERAGE = -4028
    MARGIN_TYPE_UNCHANGED = -4046
    MARGIN_TYPE_ORDERS = -4047
    MARGIN_TYPE_POSITION = -4048
    POSITION_SIDE_UNCHANGED = -4059
    MODE_ORDERS = -4067
    MODE_POSITION = -4068


_UNKNOWN = frozenset(
    (Code.UNKNOWN, Code.INTERNAL, Code.UNEXPECTED_RESPONSE, Code.TIMEOUT)
)  # what these mean for an order is known only to the exchange

_ADVICE = {
    Code.TIMESTAMP: "the clocks differ by more than recv_window_ms allows",
    Code.SIGNATURE: "the API secret does not belong to the key",
    Code.KEY_FORMAT: "the API key is malformed; copy it again",
    Code.KEY_REJECTED: "check the API key, its permission for futures, and its list of addresses",
    Code.SYMBOL: "check the symbol's name",
    Code.LEVERAGE: "the symbol's brackets do not allow this leverage",
    Code.MARGIN_TYPE_ORDERS: "cancel the symbol's orders first, or leave margin_type empty",
    Code.MARGIN_TYPE_POSITION: "close the symbol's position first, or leave margin_type empty",
    Code.MODE_ORDERS: "cancel all orders of the account first",
    Code.MODE_POSITION: "close all positions of the account first",
}


class Refused(VenueError):
    """The exchange has answered, and the answer is no: nothing was done."""


class RateLimited(VenueError):
    """A limit forbids the request for ``wait_s`` more seconds; it was not sent, or not taken."""

    def __init__(self, message: str, wait_s: float, code: int = Code.TOO_MANY_REQUESTS) -> None:
        super().__init__(message, code)
        self.wait_s = wait_s


class OutcomeUnknown(VenueError):
    """No answer, or one that does not say whether the request was carried out.

    ``sent`` is False when it is certain that no byte of the request has left.
    """

    def __init__(self, message: str, code: int = 0, *, sent: bool = True) -> None:
        super().__init__(message, code)
        self.sent = sent


def reason_of(error: BaseException) -> str:
    """Why a connection failed, as far as that is known, without the URL."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    name, host = type(error).__name__, getattr(error, "host", None)
    cause = getattr(error, "strerror", None)
    if not isinstance(cause, str):
        cause = ""
    if isinstance(host, str) and host:
        return f"no connection to {host} ({cause or name})"
    return f"{name} ({cause})" if cause else name


def is_unknown(status: int, code: int) -> bool:
    """Whether an error answer leaves open if the request was carried out.

    ``status`` is that of HTTP. Overload (-1008) is a refusal; any other 5xx is no clear answer.
    """
    if code == Code.OVERLOADED:
        return False
    return code in _UNKNOWN or status >= 500 or status == 408


def explain(what: str, code: int, message: str) -> str:
    """Say what was refused, what the exchange says about it, and what to do."""
    advice = _ADVICE.get(code)
    told = f"{what}: {message or 'no reason given'} ({code})"
    return f"{told}; {advice}" if advice else told
