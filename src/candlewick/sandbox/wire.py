"""What goes over the wire: error codes, parameters of requests, numbers as text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from candlewick.errors import CandlewickError
from candlewick.models import Instrument

__all__ = ["ERRORS", "ApiError", "Params", "average", "decimals", "money", "number", "price_text"]

# code -> (words, HTTP status); a missing status is 400
ERRORS: dict[int, tuple[str, int]] = {
    -1000: ("An unknown error occurred while processing the request.", 400),
    -1001: ("Internal error; unable to process your request. Please try again.", 500),
    -1003: (
        "Too many requests; current limit of IP is {limit} requests per minute. Please use the"
        " websocket for live updates to avoid polling the API.",
        429,
    ),
    -1007: (
        "Timeout waiting for response from backend server. Send status unknown; execution status"
        " unknown.",
        503,
    ),
    -1008: ("Server is currently overloaded with other requests. Please try again in a few"
            " minutes.", 503),
    -1015: ("Too many new orders; current limit is {limit} orders per {span}.", 429),
    -1021: ("Timestamp for this request is outside of the recvWindow.", 400),
    -1022: ("Signature for this request is not valid.", 400),
    -1023: ("Start time is greater than end time.", 400),
    -1100: ("Illegal characters found in parameter '{name}'; legal range is '{legal}'.", 400),
    -1102: (
        "Mandatory parameter '{name}' was not sent, was empty/null, or malformed.", 400,
    ),
    -1106: ("Parameter '{name}' sent when not required.", 400),
    -1111: ("Precision is over the maximum defined for this asset.", 400),
    -1115: ("Invalid timeInForce.", 400),
    -1116: ("Invalid orderType.", 400),
    -1117: ("Invalid side.", 400),
    -1120: ("Invalid interval.", 400),
    -1121: ("Invalid symbol.", 400),
    -1125: ("This listenKey does not exist.", 400),
    -1130: ("Invalid data sent for a parameter '{name}'.", 400),
    -1136: ("Invalid newOrderRespType.", 400),
    -2010: ("New order rejected.", 400),
    -2011: ("Unknown order sent.", 400),
    -2013: ("Order does not exist.", 400),
    -2014: ("API-key format invalid.", 401),
    -2015: ("Invalid API-key, IP, or permissions for action.", 401),
    -2019: ("Margin is insufficient.", 400),
    -2021: ("Order would immediately trigger.", 400),
    -2022: ("ReduceOnly Order is rejected.", 400),
    -2025: ("Reach max open order limit.", 400),
    -4003: ("Quantity less than or equal to zero.", 400),
    -4016: ("Limit price can't be higher than {limit}.", 400),
    -4024: ("Limit price can't be lower than {limit}.", 400),
    -4028: ("Leverage {leverage} is not valid", 400),
    -4031: ("Invalid parameter working type: {value}", 400),
    -4045: ("Reach max stop order limit.", 400),
    -4046: ("No need to change margin type.", 400),
    -4047: ("Margin type cannot be changed if there exists open orders.", 400),
    -4048: ("Margin type cannot be changed if there exists position.", 400),
    -4049: ("Add margin only support for isolated position.", 400),
    -4050: ("Cross balance insufficient.", 400),
    -4051: ("Isolated balance insufficient.", 400),
    -4054: ("Cannot add position margin: position is 0.", 400),
    -4055: ("Amount must be positive.", 400),
    -4059: ("No need to change position side.", 400),
    -4060: ("Invalid position side.", 400),
    -4061: ("Order's position side does not match user's setting.", 400),
    -4067: ("Position side cannot be changed if there exists open orders.", 400),
    -4068: ("Position side cannot be changed if there exists position.", 400),
    -4116: ("ClientOrderId is duplicated.", 400),
    -4120: (
        "Order type not supported for this endpoint. Please use the Algo Order API endpoints"
        " instead.",
        400,
    ),
    -4130: (
        "An open stop or take profit order with GTE and closePosition in the direction is"
        " existing.",
        400,
    ),
    -4136: ("Target strategy invalid for orderType {type}, closePosition {close}", 400),
    -4137: ("Quantity must be zero with closePosition equals true.", 400),
    -4161: ("Leverage reduction is not supported in Isolated Margin Mode with open positions.",
            400),
    -4165: ("Maximum time interval is {days} days.", 400),
    -4509: (
        "Time in Force (TIF) GTE can only be used with open positions. Please ensure that"
        " positions are available.",
        400,
    ),
    -5040: (
        "The goodTillDate timestamp must be greater than the current time plus 600 seconds and"
        " smaller than 253402300799000.",
        400,
    ),
    -5027: ("No need to modify the order.", 400),
    -5000: ("Path {path}, Method {method} is invalid", 404),
}  # fmt: skip


class ApiError(CandlewickError):
    """An answer that refuses: the exchange's code and words, and the HTTP status they come with."""

    def __init__(self, code: int, message: str = "", status: int = 0, **words: object) -> None:
        known, default = ERRORS.get(code, ("", 400))
        self.code = code
        self.message = message or (known.format(**words) if words else known)
        self.status = status or default
        super().__init__(f"{code}: {self.message}")

    def as_json(self) -> dict[str, Any]:
        """The body of the answer."""
        return {"code": self.code, "msg": self.message}


def number(value: float) -> str:
    """Write a float in full, without exponent: the text reads back as the same float."""
    text = repr(value)
    if "e" in text:
        text = f"{Decimal(text):f}"
    return text[:-2] if text.endswith(".0") else text


def money(value: float) -> str:
    """Write an amount of quote currency with eight decimals, or in full where it has more.

    So what a client adds up is what the books say, to the last bit.
    """
    value += 0.0  # turns -0.0 into 0.0
    text = f"{value:.8f}"
    return text if float(text) == value else number(value)


def price_text(instrument: Instrument, price: float) -> str:
    """Write a price with the decimals of its tick, or in full where it lies between ticks."""
    text = instrument.format_price(price)
    return text if float(text) == price else number(price)


def decimals(unit: float) -> int:
    """Number of decimals in a tick or step."""
    return len(number(unit).partition(".")[2])


def average(value: float) -> str:
    """Write an average price, which need not lie on a tick."""
    return f"{value:.8f}" if value else "0.00"


_CLIENT_ID = re.compile(r"^[.A-Z:/a-z0-9_-]{1,36}$")
_TRUE = ("true", "1")
_FALSE = ("false", "0")


class Params:
    """The parameters of a request, as text; each look-up names what is wrong."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = {name: value for name, value in values.items() if value != ""}

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def text(self, name: str, default: str = "") -> str:
        """A text; ``default`` where it is missing."""
        return self.values.get(name, default)

    def need(self, name: str) -> str:
        """A text that must be there."""
        try:
            return self.values[name]
        except KeyError:
            raise ApiError(-1102, name=name) from None

    def integer(self, name: str, default: int = 0) -> int:
        """A whole number."""
        text = self.values.get(name)
        if text is None:
            return default
        try:
            return int(text)
        except ValueError:
            raise ApiError(-1102, name=name) from None

    def need_integer(self, name: str) -> int:
        """A whole number that must be there."""
        self.need(name)
        return self.integer(name)

    def amount(self, name: str, default: float = 0.0) -> float:
        """A price or quantity; may be written with an exponent."""
        text = self.values.get(name)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            raise ApiError(-1102, name=name) from None
        if not -1e15 < value < 1e15:
            raise ApiError(-1102, name=name)
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        """A truth value, in any case of letters."""
        text = self.values.get(name)
        if text is None:
            return default
        if text.lower() in _TRUE:
            return True
        if text.lower() in _FALSE:
            return False
        raise ApiError(-1102, name=name)

    def choice(self, name: str, known: Iterable[str], default: str, code: int = -1102) -> str:
        """One of some words."""
        text = self.values.get(name, default).upper()
        if text not in known:
            raise ApiError(code, name=name, value=text)
        return text

    def client_id(self, name: str) -> str:
        """A client id; empty where none is given."""
        text = self.values.get(name, "")
        if text and not _CLIENT_ID.match(text):
            raise ApiError(-1100, name=name, legal=r"^[\.A-Z\:/a-z0-9_-]{1,36}$")
        return text

    def json(self, name: str) -> Any:
        """A JSON text that must be there, decoded."""
        try:
            return msgspec.json.decode(self.need(name))
        except msgspec.DecodeError:
            raise ApiError(-1130, name=name) from None
