"""`MarginCalls`: warns an account whose positions come close to their liquidation."""

from __future__ import annotations

from typing import Any

from candlewick.exchange.holding import Holding
from candlewick.sandbox.account import Account
from candlewick.sandbox.wire import money, number

__all__ = ["MarginCalls"]

# The exchange says only that the ratio of risk is "too high"; it shows it in red from here on.
_RATIO = 0.8


class MarginCalls:
    """Tells MARGIN_CALL when the maintenance margin has used up 80 % of what backs it.

    Positions in cross margin are backed by the wallet together, isolated ones each by its own
    margin. Each is told once, and again after it has been out of danger.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._warned: set[tuple[str, str]] = set()

    def look(self) -> None:
        """Compare at the last prices, and tell what has come into danger."""
        account = self._account
        held = account.held()
        if not held:
            self._warned.clear()
            return
        endangered = self._endangered(held)
        names = {(one.instrument.symbol, str(one.side)) for one in endangered}
        if not names <= self._warned:
            account.tell(self._event(endangered))
        self._warned = names

    def _endangered(self, held: list[Holding]) -> list[Holding]:
        cross = [one for one in held if not self._is_isolated(one)]
        backing = self._account.wallet - self._account.locked()
        backing += sum(one.unrealized(self._price(one)) for one in cross)
        in_danger = sum(map(self._maintenance, cross)) >= _RATIO * backing
        return [
            *(cross if in_danger else ()),
            *(
                one
                for one in held
                if self._is_isolated(one)
                and self._maintenance(one)
                >= _RATIO * (one.isolated_margin + one.unrealized(self._price(one)))
            ),
        ]

    def _price(self, held: Holding) -> float:
        return self._account.exchange.book(held.instrument.symbol).mark

    def _is_isolated(self, held: Holding) -> bool:
        return self._account.exchange.book(held.instrument.symbol).isolated

    def _maintenance(self, held: Holding) -> float:
        return held.instrument.maintenance_margin(held.notional(self._price(held)))

    def _event(self, endangered: list[Holding]) -> dict[str, Any]:
        account = self._account
        event: dict[str, Any] = {"e": "MARGIN_CALL", "E": account.around.now}
        if not all(map(self._is_isolated, endangered)):
            event["cw"] = money(account.wallet - account.locked())
        event["p"] = [
            {
                "s": held.instrument.symbol,
                "ps": str(held.side),
                "pa": held.instrument.format_quantity(held.quantity + 0.0),
                "mt": "ISOLATED" if self._is_isolated(held) else "CROSSED",
                "iw": money(held.isolated_margin) if self._is_isolated(held) else "0",
                "mp": number(self._price(held)),
                "up": money(held.unrealized(self._price(held))),
                "mm": money(self._maintenance(held)),
            }
            for held in endangered
        ]
        return event
