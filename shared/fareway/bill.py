"""What a completion cost, and what the baseline model would have. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from fareway.prices import NANO, Price, PriceTable, Usage
from fareway.render import utf8_size


@dataclass(frozen=True, slots=True)
class Bill:
    """Money of one completion, USD to the nano-dollar; None is unpriced, never 0.

    Args:
        usage: one of a batch job is charged at batch rates on both sides, so that what a batch
            saves is not counted as what routing does.
        source: `provider` (it said so), `price_table`, or `estimated` (we counted the tokens,
            or the model that served is unknown and the one asked for was priced).
    """

    usage: Usage
    cost_usd: Decimal | None
    source: str | None
    baseline_usd: Decimal | None


def bill(
    usage: Usage,
    reported_usd: Decimal | None,
    served_model: str,
    asked_price: Price | None,
    prices: PriceTable,
    baseline: Price | None,
) -> Bill:
    """The provider's own figure first, else the served model's price times the usage.

    Args:
        reported_usd: what the provider says that it charged, USD.
        asked_price: of the candidate that was asked for.
        baseline: price of the model that all calls would have gone to; None where there is none.
    """
    baseline_usd = baseline.cost_usd(usage) if baseline else None
    if reported_usd is not None:
        cost = reported_usd.quantize(NANO, rounding=ROUND_HALF_EVEN)
        return Bill(usage, cost, "provider", baseline_usd)
    served_price = prices.find(served_model)
    price = served_price or asked_price
    if price is None:
        return Bill(usage, None, None, baseline_usd)
    source = "estimated" if usage.estimated or served_price is None else "price_table"
    return Bill(usage, price.cost_usd(usage), source, baseline_usd)


def estimate_usage(count: Callable[[str], int], asked: str, answered: str) -> Usage:
    """Where an upstream reports no usage: our own count of the tokens, marked as estimated.

    Args:
        count: a text -> its tokens.
    """
    return Usage(count(asked), count(answered), estimated=True)


def four_bytes(text: str) -> int:
    """A text -> about its tokens, where no tokenizer could be loaded."""
    return utf8_size(text) // 4 + 1
