"""Margin arithmetic: liquidation prices, in cross and isolated mode.

The formula is Binance's for USDⓈ-M contracts
(https://www.binance.com/en/support/faq/how-to-calculate-liquidation-price-of-usd%E2%93%A2-m-futures-contracts-b3c689c1f50a44cabb3a84e663b81d93),
solved for the tier the position's notional falls into at the liquidation price itself.
"""

from __future__ import annotations

from candlewick.models import Instrument

__all__ = ["liquidation_price"]


def liquidation_price(
    instrument: Instrument, quantity: float, entry_price: float, collateral: float
) -> float:
    """Price at which collateral plus open profit equals the maintenance margin; 0.0 if none.

    Args:
        instrument: gives the margin tiers.
        quantity: signed, base units, not zero.
        entry_price: average entry price.
        collateral: quote currency that backs this position alone: the isolated margin, or in
            cross mode the wallet plus other positions' open profit less their maintenance margin.
    """
    size = abs(quantity)
    for bracket in instrument.brackets:
        # collateral + quantity * (p - entry) = size * p * rate - amount
        slope = quantity - size * bracket.rate
        price = (quantity * entry_price - collateral - bracket.amount) / slope
        if price > 0.0 and bracket.floor <= size * price < bracket.cap:
            return price
    return 0.0
