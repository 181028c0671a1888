"""A NautilusTrader node that trades on a sandbox; its last line of output is JSON: what it saw.

Run by its test with whatever interpreter has the package: ``nautilus_trader_client.py REST WS KEY
SECRET``. Nothing of the adapter is changed: the node is pointed at the sandbox by configuration.
"""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from typing import Any

from nautilus_trader.adapters.binance import (
    BINANCE,
    BinanceAccountType,
    BinanceDataClientConfig,
    BinanceExecClientConfig,
    BinanceLiveDataClientFactory,
    BinanceLiveExecClientFactory,
)
from nautilus_trader.config import (
    InstrumentProviderConfig,
    LiveExecEngineConfig,
    LoggingConfig,
    TradingNodeConfig,
)
from nautilus_trader.live.node import TradingNode
from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.enums import OrderSide, TimeInForce
from nautilus_trader.model.identifiers import InstrumentId, TraderId
from nautilus_trader.trading.strategy import Strategy

INSTRUMENT = InstrumentId.from_str("BTCUSDT-PERP.BINANCE")
BARS = BarType.from_str("BTCUSDT-PERP.BINANCE-1-MINUTE-LAST-EXTERNAL")


class Trades(Strategy):
    """Buys at the first bar, rests a limit order and takes it back, tries a stop, and sells."""

    def __init__(self, done: Any) -> None:
        super().__init__()
        self.done = done
        self.seen: dict[str, Any] = {"bars": 0, "fills": [], "refused": ""}
        self.limit: Any = None

    def on_start(self) -> None:
        self.instrument = self.cache.instrument(INSTRUMENT)
        self.seen["tick"] = str(self.instrument.price_increment)
        self.seen["step"] = str(self.instrument.size_increment)
        account = self.cache.account_for_venue(INSTRUMENT.venue)
        self.seen["balance"] = float(account.balance_total(USDT))
        self.subscribe_bars(BARS)

    def on_bar(self, bar: Bar) -> None:
        self.seen["bars"] += 1
        if self.seen["bars"] == 1:
            self.submit_order(self._market(OrderSide.BUY))

    def _market(self, side: OrderSide, *, reduce_only: bool = False) -> Any:
        quantity = self.instrument.make_qty(Decimal("0.020"))
        return self.order_factory.market(INSTRUMENT, side, quantity, reduce_only=reduce_only)

    def on_order_filled(self, event: Any) -> None:
        self.seen["fills"].append(
            [event.order_side.name, float(event.last_qty), float(event.last_px),
             float(event.commission)]
        )  # fmt: skip
        if event.order_side == OrderSide.BUY:
            self.limit = self.order_factory.limit(
                INSTRUMENT, OrderSide.BUY, self.instrument.make_qty(Decimal("0.010")),
                self.instrument.make_price(Decimal("48000.0")), TimeInForce.GTC,
            )  # fmt: skip
            self.submit_order(self.limit)
        else:
            self.done()

    def on_order_accepted(self, event: Any) -> None:
        if self.limit is not None and event.client_order_id == self.limit.client_order_id:
            self.cancel_order(self.limit)

    def on_order_canceled(self, event: Any) -> None:
        self.seen["canceled"] = True
        stop = self.order_factory.stop_market(
            INSTRUMENT, OrderSide.SELL, self.instrument.make_qty(Decimal("0.020")),
            self.instrument.make_price(Decimal("45000.0")), reduce_only=True,
        )  # fmt: skip
        self.submit_order(stop)

    def on_order_rejected(self, event: Any) -> None:
        self.seen["refused"] = str(event.reason)
        self.submit_order(self._market(OrderSide.SELL, reduce_only=True))


def main(rest: str, ws: str, key: str, secret: str) -> None:
    common: dict[str, Any] = {
        "api_key": key,
        "api_secret": secret,
        "account_type": BinanceAccountType.USDT_FUTURES,
        "base_url_http": rest,
        "instrument_provider": InstrumentProviderConfig(load_all=True),
    }
    node = TradingNode(
        TradingNodeConfig(
            trader_id=TraderId("TESTER-001"),
            logging=LoggingConfig(log_level="WARNING"),
            exec_engine=LiveExecEngineConfig(reconciliation=True),
            data_clients={BINANCE: BinanceDataClientConfig(base_url_ws=f"{ws}/market", **common)},
            exec_clients={BINANCE: BinanceExecClientConfig(base_url_ws=f"{ws}/private", **common)},
            timeout_connection=30.0,
        )
    )
    strategy = Trades(lambda: node.get_event_loop().call_soon(node.stop))
    node.trader.add_strategy(strategy)
    node.add_data_client_factory(BINANCE, BinanceLiveDataClientFactory)
    node.add_exec_client_factory(BINANCE, BinanceLiveExecClientFactory)
    node.build()
    try:
        node.run()
    finally:
        node.dispose()
    print(json.dumps(strategy.seen), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
