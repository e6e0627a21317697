"""The ledger -> the figures that an analyst opens first, and those behind them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Protocol

from fareway.athena import Row, load_query

#: Queries that are asked at once: Athena takes twenty from an account that asked for no more.
AT_ONCE = 5


class Lake(Protocol):
    """What answers SQL: Athena."""

    def run(self, sql: str) -> list[Row]: ...


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


@dataclass(frozen=True, slots=True)
class Details:
    """The figures behind a Report, each by the query of its name.

    Args:
        by_tag: of single tags, `team=search`: a request counts for each of its key's.
        forecast: of the month of the day on which it was asked for.
    """

    by_day: Sequence[Row]
    by_key: Sequence[Row]
    by_tag: Sequence[Row]
    wasted_premium: Sequence[Row]
    failed_tiers: Sequence[Row]
    cache_value: Sequence[Row]
    classifier_value: Sequence[Row]
    reliability: Sequence[Row]
    latency: Sequence[Row]
    tokens: Sequence[Row]
    forecast: Row


def report(lake: Lake, first: date, last: date) -> Report:
    """Asks for the report.

    Raises:
        QueryFailed: Athena could not answer.
    """
    totals, by_tier, by_model = (
        lake.run(load_query(name, first, last)) for name in ("totals", "by_tier", "by_model")
    )
    return Report(first, last, totals[0], by_tier, by_model)


def details(lake: Lake, first: date, last: date, today: date) -> Details:
    """Asks for what is behind the report.

    Args:
        today: the forecast is of its month, from what was spent before it.

    Raises:
        QueryFailed: Athena could not answer.
    """
    names = [name for name in Details.__dataclass_fields__ if name != "forecast"]
    queries = [load_query(name, first, last) for name in names]
    queries.append(load_query("forecast", today.replace(day=1), today - timedelta(days=1)))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        *answers, forecast = pool.map(lake.run, queries)
    figures = dict(zip(names, answers, strict=True))
    figures["by_tag"] = by_single_tag(figures["by_tag"])
    return Details(**figures, forecast=forecast[0])


def by_single_tag(rows: Iterable[Row]) -> list[Row]:
    """Rows of `by_tag.sql`, by sets of tags -> the same sums by each tag, the dearest first."""
    sums: dict[str, dict[str, Decimal | None]] = {}
    for row in rows:
        tags = json.loads(row["tags"] or "{}")
        for name in sorted(f"{tag}={value}" for tag, value in tags.items()) or ["(none)"]:
            of_tag = sums.setdefault(name, {})
            for column, text in row.items():
                if column != "tags" and text is not None:
                    of_tag[column] = (of_tag.get(column) or Decimal(0)) + Decimal(text)
                elif column != "tags":
                    of_tag.setdefault(column, None)
    ordered = sorted(sums.items(), key=lambda item: (-(item[1]["cost_usd"] or 0), item[0]))
    return [
        {"tag": name} | {c: None if v is None else f"{v:f}" for c, v in of_tag.items()}
        for name, of_tag in ordered
    ]


def usd(row: Row, column: str) -> Decimal:
    """A money column; an empty sum is nothing spent."""
    return Decimal(row[column] or 0)


def saved_share(row: Row) -> float | None:
    """Part of the baseline that was not spent, 0 to 1; None where there is no baseline."""
    baseline = usd(row, "baseline_usd")
    return float(1 - usd(row, "cost_usd") / baseline) if baseline else None
