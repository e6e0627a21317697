"""What a completion cost, and what the baseline model would have. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from fareway.prices import NANO, Price, PriceTable, Usage


@dataclass(frozen=True, slots=True)
class Bill:
    """Money of one completion, USD to the nano-dollar; None is unpriced, never 0.

    Args:
        source: `provider` (it said so), `price_table`, or `estimated` (we counted the tokens,
            or the model that served is unknown and the one asked for was priced).
    """

    usage: Usage
    cost_usd: Decimal | None
    source: str | None
    baseline_usd: Decimal


def bill(
    usage: Usage,
    reported_usd: Decimal | None,
    served_model: str,
    asked_price: Price | None,
    prices: PriceTable,
    baseline: Price,
) -> Bill:
    """The provider's own figure first, else the served model's price times the usage.

    Args:
        reported_usd: what the provider says that it charged, USD.
        asked_price: of the candidate that was asked for.
        baseline: price of the model that all calls would have gone to.
    """
    baseline_usd = baseline.cost_usd(usage)
    if reported_usd is not None:
        cost = reported_usd.quantize(NANO, rounding=ROUND_HALF_EVEN)
        return Bill(usage, cost, "provider", baseline_usd)
    served_price = prices.find(served_model)
    price = served_price or asked_price
    if price is None:
        return Bill(usage, None, None, baseline_usd)
    source = "estimated" if usage.estimated or served_price is None else "price_table"
    return Bill(usage, price.cost_usd(usage), source, baseline_usd)


def estimate_usage(prompt_tokens: int, completion: Mapping[str, Any]) -> Usage:
    """Where an upstream reports no usage: four characters a token, marked as estimated."""
    characters = sum(
        len(str(choice["message"].get("content") or "")) for choice in completion["choices"]
    )
    return Usage(prompt_tokens, characters // 4 + 1, estimated=True)
