"""The lake in DuckDB, filled, which keeps what it was asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date

from fareway.cost import CostEvent
from fareway.lake import FeedbackRow
from local.lake import Lake


class Asked(Lake):
    """Events in the partitions of their days, opinions, and the days summed up.

    Args:
        events: one that is there twice arrived twice.
    """

    def __init__(self, events: Sequence[CostEvent], opinions: Iterable[FeedbackRow] = ()) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.add("cost_events", (e.record() | {"dt": e.occurred_at[:10]} for e in events))
        self.add_opinions(opinions)
        days = [date.fromisoformat(e.occurred_at[:10]) for e in events]
        if days:
            self.sum_up(min(days), max(days))
        self.asked.clear()

    def run(self, sql: str) -> list[Mapping[str, str | None]]:
        self.asked.append(sql)
        return super().run(sql)
