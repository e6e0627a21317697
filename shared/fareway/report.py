"""The ledger -> the tables that an analyst opens first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from fareway.athena import Athena, load_query

Row = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Report:
    """Figures from Athena over some days (UTC, both ends included)."""

    first: date
    last: date
    totals: Row
    by_tier: Sequence[Row]
    by_model: Sequence[Row]

    @property
    def requests(self) -> int:
        return int(self.totals["requests"] or 0)


def report(athena: Athena, first: date, last: date) -> Report:
    """Runs the report's queries.

    Raises:
        QueryFailed: Athena could not answer.
    """
    totals, by_tier, by_model = (
        athena.run(load_query(name, first, last)) for name in ("totals", "by_tier", "by_model")
    )
    return Report(first, last, totals[0], by_tier, by_model)


def usd(row: Row, column: str) -> Decimal:
    """A money column; an empty sum is nothing spent."""
    return Decimal(row[column] or 0)


def saved_share(row: Row) -> float | None:
    """Part of the baseline that was not spent, 0 to 1; None where there is no baseline."""
    baseline = usd(row, "baseline_usd")
    return float(1 - usd(row, "cost_usd") / baseline) if baseline else None
