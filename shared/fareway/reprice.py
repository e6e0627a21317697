"""Tokens summed up by `tokens.sql` -> what they cost at a price: another baseline's, or the list's.

Pure. Tokens of one length band are charged at one rate, so that sums can be charged as one. Audio
cannot: the ledger does not say what was heard and what was said. Nor is it known which of the
tokens written to a cache were kept for an hour; they are charged as those of five minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from fareway.athena import Row
from fareway.prices import Price, PriceTable, Usage


def cost_usd(row: Row, price: Price) -> Decimal | None:
    """One row of `tokens.sql` at a price, USD; None where it cannot be told."""
    if _count(row, "audio"):
        return None
    shortest = _count(row, "prompts_from")
    for tokens, tier in price.above:
        if shortest > tokens:
            price = tier
    usage = Usage(
        prompt_tokens=_count(row, "prompt_tokens"),
        completion_tokens=_count(row, "completion_tokens"),
        cached_tokens=_count(row, "cached_tokens"),
        cache_write_tokens=_count(row, "cache_write_tokens"),
        reasoning_tokens=_count(row, "reasoning_tokens"),
    )
    return replace(price, above=()).cost_usd(usage)


@dataclass(frozen=True, slots=True)
class Repriced:
    """Requests at the price that they had and at another.

    Args:
        requests: those in the sums; `left_out` could not be priced again.
    """

    requests: int = 0
    left_out: int = 0
    cost_usd: Decimal = Decimal(0)
    again_usd: Decimal = Decimal(0)


def repriced(rows: Iterable[Row], price_of: Callable[[Row], Price | None]) -> Repriced:
    """Sums up rows of `tokens.sql`; those that are unpriced stay out of both sums."""
    sums = Repriced()
    for row in rows:
        price, requests = price_of(row), _count(row, "requests")
        again = None if price is None or row["cost_usd"] is None else cost_usd(row, price)
        if again is None:
            sums = replace(sums, left_out=sums.left_out + requests)
            continue
        sums = Repriced(
            sums.requests + requests,
            sums.left_out,
            sums.cost_usd + Decimal(row["cost_usd"] or 0),
            sums.again_usd + again,
        )
    return sums


def reconciled(rows: Iterable[Row], prices: PriceTable) -> dict[tuple[str, str], Repriced]:
    """(aggregator, served model) -> what the provider said that it charged (`cost_usd`), and what
    the list price makes of the same tokens (`again_usd`).
    """
    told: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["cost_source"] == "provider":
            told.setdefault((str(row["aggregator"]), str(row["served_model"])), []).append(row)
    return {
        (aggregator, model): repriced(of_it, lambda _, m=model: prices.find(m))  # type: ignore[misc]
        for (aggregator, model), of_it in told.items()
    }


def _count(row: Row, column: str) -> int:
    return int(row[column] or 0)
