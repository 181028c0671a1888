"""python-binance and the exchange's own SDK, unmodified, pointed at the sandbox."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.sandbox.conftest import Flow
from tests.sandbox.sandbox_client import SYMBOL, Client, table_of

CALM = [(50_000.0, 50_100.0, 49_900.0, 50_000.0)] * 3_000


async def python_binance(client: Client) -> Any:
    binance = pytest.importorskip("binance", reason="python-binance is not installed")
    made = binance.AsyncClient(client.key, client.secret)
    made.FUTURES_URL = f"{client.sandbox.rest_url}/fapi"
    return made


async def test_python_binance_trades_and_listens(flowing: Flow) -> None:
    client = await flowing(table_of(CALM), history=20)
    other = await python_binance(client)
    from binance import BinanceSocketManager

    manager = BinanceSocketManager(other)
    manager.FSTREAM_URL = f"{client.sandbox.ws_url}/"
    try:
        assert len(await other.futures_klines(symbol=SYMBOL, interval="1m", limit=10)) == 10
        assert (await other.futures_account_balance())[0]["balance"] == "10000.00000000"
        user = await manager.futures_user_socket().__aenter__()
        order = await other.futures_create_order(
            symbol=SYMBOL, side="BUY", type="MARKET", quantity=0.02
        )
        stop = await other.futures_create_order(
            symbol=SYMBOL, side="SELL", type="STOP_MARKET", stopPrice=48_000, closePosition=True
        )
        kinds = []
        async with asyncio.timeout(20):
            while "ALGO_UPDATE" not in kinds:
                message = await user.recv()
                kinds.append(message["e"])
        # its reading loop looks up only when something comes: one more message lets it end
        await asyncio.gather(
            user.__aexit__(None, None, None),
            other.futures_cancel_all_algo_open_orders(symbol=SYMBOL),
        )
        assert kinds == [
            "ORDER_TRADE_UPDATE", "TRADE_LITE", "ACCOUNT_UPDATE", "ORDER_TRADE_UPDATE",
            "ALGO_UPDATE",
        ]  # fmt: skip
        assert stop["algoStatus"] == "NEW"
        positions = await other.futures_position_information(symbol=SYMBOL)
        assert [row["positionAmt"] for row in positions] == ["0.020"]
        assert (await other.futures_account_trades(symbol=SYMBOL))[0]["orderId"] == order["orderId"]
    finally:
        await other.close_connection()


async def test_python_binance_cancels_several_orders_and_moves_margin(flowing: Flow) -> None:
    client = await flowing(table_of(CALM), history=20)
    other = await python_binance(client)
    try:
        await other.futures_change_margin_type(symbol=SYMBOL, marginType="ISOLATED")
        for list_name, id_name in (
            ("orderidlist", "orderId"), ("origclientorderidlist", "clientOrderId")
        ):  # fmt: skip
            orders = [
                await other.futures_create_order(
                    symbol=SYMBOL, side="BUY", type="LIMIT", quantity=0.01, price=price,
                    timeInForce="GTC",
                )
                for price in (48_900, 48_800)
            ]  # fmt: skip
            ended = await other.futures_cancel_orders(
                symbol=SYMBOL, **{list_name: [order[id_name] for order in orders]}
            )
            assert [order["status"] for order in ended] == ["CANCELED", "CANCELED"]
        await other.futures_create_order(symbol=SYMBOL, side="BUY", type="MARKET", quantity=0.02)
        await other.futures_change_position_margin(symbol=SYMBOL, amount=30, type=1)
        changes = await other.futures_position_margin_history(symbol=SYMBOL)
        assert [change["deltaType"] for change in changes] == ["TRADE", "USER_ADJUST"]
    finally:
        await other.close_connection()


async def test_python_binance_streams_klines_of_the_market_route(flowing: Flow) -> None:
    client = await flowing(table_of(CALM))
    other = await python_binance(client)
    from binance import BinanceSocketManager

    manager = BinanceSocketManager(other)
    manager.FSTREAM_URL = f"{client.sandbox.ws_url}/"
    try:
        async with manager.kline_futures_socket(SYMBOL, "1m") as klines, asyncio.timeout(20):
            message = await klines.recv()
        assert message["k"]["i"] == "1m"
    finally:
        await other.close_connection()


async def test_the_exchanges_own_sdk_parses_every_answer_it_gets(flowing: Flow) -> None:
    """The SDK is synchronous; its models are strict about the type of every field."""
    sdk = pytest.importorskip(
        "binance_sdk_derivatives_trading_usds_futures.derivatives_trading_usds_futures",
        reason="the SDK is not installed",
    )
    from binance_common.configuration import ConfigurationRestAPI

    client = await flowing(table_of(CALM), history=20)
    rest = sdk.DerivativesTradingUsdsFutures(
        config_rest_api=ConfigurationRestAPI(
            api_key=client.key, api_secret=client.secret, base_path=client.sandbox.rest_url,
            timeout=10_000,
        )
    ).rest_api  # fmt: skip

    def trade() -> dict[str, Any]:
        bought = rest.new_order(symbol=SYMBOL, side="BUY", type="MARKET", quantity=0.02).data()
        rest.new_algo_order(
            algo_type="CONDITIONAL", symbol=SYMBOL, side="SELL", type="STOP_MARKET",
            trigger_price=48_000.0, quantity=0.02, reduce_only="true",
        )  # fmt: skip
        found = {
            "order": rest.query_order(symbol=SYMBOL, order_id=bought.order_id).data(),
            "algos": rest.current_all_algo_open_orders(symbol=SYMBOL).data(),
            "trades": rest.account_trade_list(symbol=SYMBOL).data(),
            "positions": rest.position_information_v3(symbol=SYMBOL).data(),
            "account": rest.account_information_v3().data(),
            "balance": rest.futures_account_balance_v3().data(),
            "brackets": rest.notional_and_leverage_brackets().data(),
            "info": rest.exchange_information().data(),
            "klines": rest.kline_candlestick_data(symbol=SYMBOL, interval="1m", limit=5).data(),
        }
        found["bought"] = bought
        rest.cancel_all_algo_open_orders(symbol=SYMBOL)
        return found

    found = await asyncio.to_thread(trade)
    assert found["order"].status == "FILLED"
    assert found["order"].executed_qty == "0.020"
    assert [algo.trigger_price for algo in found["algos"]] == ["48000.0"]
    assert [trade.order_id for trade in found["trades"]] == [found["bought"].order_id]
    assert [position.position_amt for position in found["positions"]] == ["0.020"]
    assert len(found["klines"]) == 5
    assert [symbol.symbol for symbol in found["info"].symbols] == [SYMBOL]
    assert not client.sandbox.first.account.open_algos()
