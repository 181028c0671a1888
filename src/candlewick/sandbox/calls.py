"""`Endpoint`: one thing that can be asked of the sandbox, the same over HTTP and WebSocket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from candlewick.sandbox.keys import Client
from candlewick.sandbox.wire import Params
from candlewick.sandbox.world import World

__all__ = ["Call", "Endpoint", "Security", "Weight"]

Weight = int | Callable[[Params], int]


class Security:
    """What a request must bring: nothing, an API key, or a key and a signature."""

    NONE = "none"
    KEY = "key"
    SIGNED = "signed"


class Call(msgspec.Struct, frozen=True):
    """One request: who asks what of whom."""

    world: World
    params: Params
    caller: Client | None = None

    @property
    def client(self) -> Client:
        """The account that asks; only for requests that need a key."""
        assert self.caller is not None
        return self.caller


class Endpoint(msgspec.Struct, frozen=True):
    """A path, what it costs, and what answers.

    ``weight`` counts for the address, ``orders`` for the account (0: not an order).
    """

    method: str
    path: str
    answer: Callable[[Call], Any]
    weight: Weight = 1
    security: str = Security.NONE
    orders: Callable[[Params], int] | int = 0

    def cost(self, params: Params) -> int:
        """The weight of a request."""
        return self.weight if isinstance(self.weight, int) else self.weight(params)

    def order_count(self, params: Params) -> int:
        """How many orders a request counts as."""
        return self.orders if isinstance(self.orders, int) else self.orders(params)
