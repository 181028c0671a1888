"""Instruments for data whose exchange cannot be asked: known contracts, and sensible guesses."""

from __future__ import annotations

import math

import numpy as np

from candlewick.models import CandleTable, Instrument, MarginBracket

__all__ = ["guess_instrument", "quote_of"]

# The lowest tiers of BTCUSDT as the exchange lists them; they serve as an example for the others.
_BRACKETS = (
    MarginBracket(0.0, 50_000.0, 0.004, 0.0, 125),
    MarginBracket(50_000.0, 600_000.0, 0.005, 50.0, 100),
    MarginBracket(600_000.0, 3_000_000.0, 0.01, 3_050.0, 75),
    MarginBracket(3_000_000.0, 12_000_000.0, 0.025, 48_050.0, 50),
    MarginBracket(12_000_000.0, math.inf, 0.05, 348_050.0, 20),
)
_KNOWN = {
    "BTCUSDT": Instrument(
        "BTCUSDT", 0.1, 0.001, 0.001, 1_000.0, 120.0, 100.0, base="BTC", brackets=_BRACKETS
    ),
    "ETHUSDT": Instrument(
        "ETHUSDT", 0.01, 0.001, 0.001, 10_000.0, 2_000.0, 20.0, base="ETH", brackets=_BRACKETS
    ),
}
_QUOTES = ("USDT", "USDC", "BUSD", "USD", "BTC", "ETH", "BNB")
_STEP_VALUE = {"BTC": 1e-4, "ETH": 1e-3, "BNB": 1e-2}  # worth of one step; 1.0 for dollars
_MOST_DECIMALS = 8
_SAMPLE = 10_000  # candles that are looked at
_ENOUGH = 0.995  # share of prices that must be multiples of a tick


def quote_of(symbol: str) -> tuple[str, str]:
    """Split a symbol into base and quote currency; the quote is USDT where none is named."""
    for quote in _QUOTES:
        if symbol.endswith(quote) and symbol != quote:
            return symbol.removesuffix(quote), quote
    return symbol, "USDT"


def guess_instrument(symbol: str, table: CandleTable | None = None) -> Instrument:
    """Return a known contract, or one whose units fit the prices in ``table``.

    The tick is the finest decimal that the prices use, but for a few of them; a step is worth
    about one dollar (or 0.0001 BTC). Without a table a tick of 0.01 is taken.
    """
    known = _KNOWN.get(symbol)
    if known is not None and (table is None or _on_ticks(table, known.tick)):
        return known
    base, quote = quote_of(symbol)
    if table is None or not len(table):
        return Instrument(symbol, base=base, quote=quote)
    price = float(np.median(table.close))
    worth = _STEP_VALUE.get(quote, 1.0)
    exponent = min(max(math.floor(math.log10(worth / price)), -_MOST_DECIMALS), 6)
    step = float(f"1e{exponent}")
    return Instrument(symbol, _tick_of(table), step, min_quantity=step, base=base, quote=quote)


def _on_ticks(table: CandleTable, tick: float) -> bool:
    """True when nearly all prices are multiples of ``tick``: recordings hold interpolated ones."""
    every = max(1, len(table) // _SAMPLE)
    ticks = np.concatenate([table.open[::every], table.close[::every]]) / tick
    whole = np.rint(ticks)
    good = (whole >= 1.0) & (np.abs(ticks - whole) < 1e-6 + 1e-12 * ticks)
    return bool(np.mean(good) >= _ENOUGH)


def _tick_of(table: CandleTable) -> float:
    for decimals in range(_MOST_DECIMALS):
        if _on_ticks(table, float(f"1e-{decimals}")):
            return float(f"1e-{decimals}")
    return float(f"1e-{_MOST_DECIMALS}")
