"""What an engine has decided, by kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from candlewick.engine import Cancel, Decision, Submit
from candlewick.models import Order

T = TypeVar("T")


def of(kind: type[T], decisions: Sequence[Decision]) -> list[T]:
    return [decision for decision in decisions if isinstance(decision, kind)]


def orders_in(decisions: Sequence[Decision]) -> list[Order]:
    """The orders that are to be sent."""
    return [submit.order for submit in of(Submit, decisions)]


def cancels_in(decisions: Sequence[Decision]) -> list[str]:
    """The client ids of the orders that are to be cancelled."""
    return [cancel.order.client_id for cancel in of(Cancel, decisions)]
