"""What is asked and set before trading: instruments, position mode, margin type, leverage."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from candlewick.errors import ValidationError, VenueError, nearest
from candlewick.models import Instrument, MarginBracket
from candlewick.venues.binance import endpoints
from candlewick.venues.binance.answers import Bracket, BracketTable, Commission, Filter, SymbolInfo
from candlewick.venues.binance.failures import Code, Refused
from candlewick.venues.binance.limits import Limits, Urgency
from candlewick.venues.binance.rest import RestClient
from candlewick.venues.binance.settings import BinanceSettings

__all__ = ["fetch_instruments", "instrument_of", "prepare_account"]

_log = logging.getLogger(__name__)
_LIQUIDATION_FEE = 0.0125


async def fetch_instruments(
    rest: RestClient, limits: Limits, symbols: Sequence[str], *, with_account: bool
) -> dict[str, Instrument]:
    """Ask for the rules of each symbol and, with an account, for its fees and margin tiers.

    Raises:
        VenueError: a symbol cannot be traded, or an answer cannot be had.
    """
    info = await rest.call(endpoints.INFO, weight=0)  # what the limits are is not known before
    limits.adopt(info.rateLimits)
    known = {listed.symbol: listed for listed in info.symbols}
    found = {}
    for symbol in symbols:
        listed = known.get(symbol)
        if listed is None:
            raise VenueError(
                f"the exchange has no symbol {symbol!r}{nearest(symbol, known)}", Code.SYMBOL
            )
        if listed.status != "TRADING":
            raise VenueError(f"{symbol} cannot be traded: its status is {listed.status}")
        fees, tiers = None, None
        if with_account:
            fees = await rest.call(endpoints.COMMISSION, {"symbol": symbol})
            tables = await rest.call(endpoints.BRACKETS, {"symbol": symbol})
            tiers = _tiers_of(symbol, tables)
        found[symbol] = instrument_of(listed, fees, tiers)
    return found


def _tiers_of(symbol: str, tables: list[BracketTable] | BracketTable) -> Sequence[Bracket] | None:
    listed = [tables] if isinstance(tables, BracketTable) else tables
    return next((table.brackets for table in listed if table.symbol == symbol), None)


def instrument_of(
    listed: SymbolInfo, fees: Commission | None, tiers: Iterable[Bracket] | None
) -> Instrument:
    """Build an instrument from what the exchange lists; raises VenueError naming what is wrong."""
    filters = {rule.filterType: rule for rule in listed.filters}
    price, lot = filters.get("PRICE_FILTER"), filters.get("LOT_SIZE")
    if price is None or lot is None:
        raise VenueError(f"{listed.symbol}: the exchange lists no price filter or no lot size")
    market = filters.get("MARKET_LOT_SIZE", lot)
    notional = filters.get("MIN_NOTIONAL", Filter("MIN_NOTIONAL"))
    rules: dict[str, object] = {
        "tick": price.tickSize,
        "step": max(lot.stepSize, market.stepSize),
        "min_quantity": max(lot.minQty, market.minQty),
        "max_quantity": lot.maxQty,
        "market_max_quantity": market.maxQty or lot.maxQty,
        "min_notional": notional.notional,
        "liquidation_fee": listed.liquidationFee or _LIQUIDATION_FEE,
        "base": listed.baseAsset,
        "quote": listed.quoteAsset or "USDT",
    }
    if fees is not None:
        rules |= {"fee_maker": fees.makerCommissionRate, "fee_taker": fees.takerCommissionRate}
    if tiers is not None:
        rules["brackets"] = tuple(map(_bracket, sorted(tiers, key=lambda tier: tier.notionalFloor)))
    try:
        return Instrument(listed.symbol, **rules)  # type: ignore[arg-type]
    except ValidationError as error:
        raise VenueError(f"what the exchange lists cannot be: {error}") from None


def _bracket(tier: Bracket) -> MarginBracket:
    return MarginBracket(
        tier.notionalFloor, tier.notionalCap, tier.maintMarginRatio, tier.cum, tier.initialLeverage
    )


async def prepare_account(
    rest: RestClient, settings: BinanceSettings, symbols: Sequence[str]
) -> None:
    """Bring position mode, margin type and leverage to what the settings say.

    Raises:
        VenueError: the exchange refuses one of them; the message says what to do.
    """
    await _one_way(rest, settings)
    for symbol in symbols:
        if settings.margin_type:
            name = {"cross": "CROSSED", "isolated": "ISOLATED"}[settings.margin_type]
            await _set(
                rest, endpoints.SET_MARGIN_TYPE, {"symbol": symbol, "marginType": name},
                Code.MARGIN_TYPE_UNCHANGED, f"margin type {settings.margin_type} of {symbol}",
            )  # fmt: skip
        if settings.leverage:
            await _set(
                rest, endpoints.SET_LEVERAGE, {"symbol": symbol, "leverage": settings.leverage},
                0, f"leverage {settings.leverage} of {symbol}",
            )  # fmt: skip


async def _one_way(rest: RestClient, settings: BinanceSettings) -> None:
    mode = await rest.call(endpoints.POSITION_MODE)
    if not mode.dualSidePosition:
        return
    if not settings.switch_to_one_way:
        raise VenueError(
            "the account is in hedge mode, and Candlewick trades in one-way mode: switch it at the"
            " exchange, or set switch_to_one_way to let Candlewick do it for the whole account"
        )
    await _set(
        rest, endpoints.SET_POSITION_MODE, {"dualSidePosition": False},
        Code.POSITION_SIDE_UNCHANGED, "one-way mode",
    )  # fmt: skip
    _log.warning("the account was switched to one-way mode")


async def _set(
    rest: RestClient,
    endpoint: endpoints.Endpoint[object],
    params: dict[str, str | int | bool],
    unchanged: int,
    what: str,
) -> None:
    """Set something; that it is so already is success."""
    try:
        await rest.call(endpoint, params, urgency=Urgency.READ)
    except Refused as error:
        if error.code != unchanged:
            raise Refused(f"{what} cannot be set: {error}", error.code) from None
