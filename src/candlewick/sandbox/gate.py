"""`Gate`: what every request passes: weight, faults, key, signature, time, order count, alarms."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from candlewick.sandbox import rest_account, rest_market, rest_settings, rest_trade
from candlewick.sandbox.calls import Call, Endpoint, Security
from candlewick.sandbox.faults import Fault
from candlewick.sandbox.keys import Client, check_time
from candlewick.sandbox.limits import Throttled
from candlewick.sandbox.wire import ApiError, Params
from candlewick.sandbox.world import World

__all__ = ["ROUTES", "Gate", "refusal_of"]

ROUTES: dict[tuple[str, str], Endpoint] = {
    (endpoint.method, endpoint.path): endpoint
    for endpoint in (
        *rest_market.ENDPOINTS,
        *rest_account.ENDPOINTS,
        *rest_settings.ENDPOINTS,
        *rest_trade.ENDPOINTS,
    )
}
_COUNTDOWN = "/fapi/v1/countdownCancelAll"
_USUAL_CODES = {418: -1003, 429: -1003, 500: -1001, 503: -1007}


def refusal_of(fault: Fault) -> ApiError:
    """The refusal that a fault answers with."""
    code = fault.code or _USUAL_CODES.get(fault.status, -1000)
    words = ApiError(code, limit=2_400).message if code == -1003 else ApiError(code).message
    if fault.status in (418, 429):
        return Throttled(code, words, fault.status, fault.retry_after_s)
    return ApiError(code, words, fault.status)


class Gate:
    """Lets requests in, and carries them out.

    Args:
        world: whom they are for.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._alarms: dict[tuple[str, str], asyncio.TimerHandle] = {}

    def client_of(self, api_key: str) -> Client:
        """Whose key it is; raises ApiError -2014 for no key, -2015 for a strange one."""
        if not api_key:
            raise ApiError(-2014)
        try:
            return self._world.clients[api_key]
        except KeyError:
            raise ApiError(-2015) from None

    def carry_out(
        self,
        endpoint: Endpoint,
        params: Params,
        api_key: str,
        check: Callable[[Client], Params],
    ) -> Any:
        """Check who asks, and answer.

        Args:
            endpoint: what is asked.
            params: the parameters as they came.
            api_key: empty where none was sent.
            check: checks the signature with the client's secret; returns the parameters.
        """
        world = self._world
        client = None
        if endpoint.security != Security.NONE:
            client = self.client_of(api_key)
            if endpoint.security == Security.SIGNED:
                params = check(client)
                check_time(params, world.server_ms)
            if count := endpoint.order_count(params):
                client.counts.use(count)
        answer = endpoint.answer(Call(world, params, client))
        if client is not None and endpoint.path == _COUNTDOWN:
            self._set_alarm(client, answer)
        return answer

    def _set_alarm(self, client: Client, answer: dict[str, str]) -> None:
        """Cancel a symbol's orders when its countdown ends, on the wall clock."""
        symbol, delay_ms = answer["symbol"], int(answer["countdownTime"])
        key = (client.api_key, symbol)
        before = self._alarms.pop(key, None)
        if before is not None:
            before.cancel()
        if delay_ms > 0:
            self._alarms[key] = asyncio.get_running_loop().call_later(
                delay_ms / 1e3, client.trading.cancel_all, symbol
            )

    def stop(self) -> None:
        """Forget the alarms."""
        for alarm in self._alarms.values():
            alarm.cancel()
        self._alarms.clear()
