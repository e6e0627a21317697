"""The lake's two small tables, stated once: users' opinions, and days summed up. JSON lines in S3.

The Glue tables in `template.yaml` and the SQL in `sql/` use these names; the partition, `dt`, is
the UTC day in the object's path.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from fareway.cost import glue_columns

FEEDBACK_PREFIX = "feedback/"
ROLLUP_PREFIX = "rollup/"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackRow:
    """What a user thought of an answer; users' own words are not kept."""

    decision_id: str
    occurred_at: str  # ISO 8601, UTC
    tenant_hash: str
    rating: str  # up | down
    score: float | None  # 0 to 1, where one was given
    reason: str | None  # one of ours

    @property
    def key(self) -> str:
        """Its object: of one answer the last `up` and the last `down` of a day are kept, so that
        an opinion that is sent again counts once.
        """
        day = self.occurred_at[:10]
        return f"{FEEDBACK_PREFIX}dt={day}/{self.decision_id}-{self.rating}.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RollupRow:
    """Requests of one hour that went the same way; sums and counts, which can be added up.

    Units: `*_usd` USD, `*_tokens` tokens, `*_ms` milliseconds, each the sum over the requests.
    """

    day: str
    hour: int  # UTC
    tier: str  # direct: passed through unrouted
    complexity: int | None
    lane: str
    served_model: str  # (none): nothing answered
    aggregator: str
    tenant_hash: str
    key_id: str
    requests: int
    answered: int
    failed: int
    answered_by_failover: int
    cache_hits: int
    escalated: int
    unpriced: int
    estimated: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: Decimal | None
    baseline_usd: Decimal | None  # of the priced requests
    classifier_ms: float
    upstream_ms: float
    total_ms: float

    @classmethod
    def of(cls, row: Mapping[str, str | None]) -> RollupRow:
        """A row of `rollup_days.sql`, as Athena's text."""
        return cls(**{name: _read(row[name], kind) for name, kind in glue_columns(cls).items()})


def _json_columns(row: type) -> dict[str, str]:
    """Money is text in JSON, and the SQL casts it: not every reader of JSON makes it a decimal."""
    return {n: "string" if t.startswith("decimal") else t for n, t in glue_columns(row).items()}


FEEDBACK_COLUMNS = _json_columns(FeedbackRow)
ROLLUP_COLUMNS = _json_columns(RollupRow)
_READ: Mapping[str, type] = {"int": int, "double": float, "decimal(18,9)": Decimal}


def _read(text: str | None, kind: str) -> Any:
    return None if text is None else _READ.get(kind, str)(text)


def json_lines(rows: Iterable[FeedbackRow | RollupRow]) -> bytes:
    """Rows as an object holds them: every column, money as a decimal string."""
    return b"".join(_line(row) for row in rows)


def _line(row: FeedbackRow | RollupRow) -> bytes:
    names = FEEDBACK_COLUMNS if isinstance(row, FeedbackRow) else ROLLUP_COLUMNS
    values = {name: getattr(row, name) for name in names}
    values = {k: f"{v:f}" if isinstance(v, Decimal) else v for k, v in values.items()}
    return json.dumps(values, separators=(",", ":")).encode() + b"\n"
