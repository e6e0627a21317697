"""The ledger's columns, stated once: one `CostEvent` for each request that was accepted.

The Glue table in `template.yaml`, the SQL in `sql/` and the reports all use these names.
No prompt, completion or secret: hashes, counts, scores and money.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, get_type_hints


@dataclass(frozen=True, slots=True, kw_only=True)
class CostEvent:
    """What one request was, where it went and what it cost.

    Units: `*_usd` USD to the nano-dollar; `*_tokens` tokens; `*_ms` milliseconds.
    A null cost means that the model has no known price; it is never written as 0.
    """

    decision_id: str
    occurred_at: str  # ISO 8601, UTC
    tenant_hash: str
    key_id: str
    tags: str | None  # the key's, a JSON object
    session_hash: str | None
    prompt_hash: str
    p1: float | None
    p2: float | None
    p3: float | None
    p4: float | None
    p5: float | None
    score: float | None  # expected complexity
    complexity: int | None  # 1..5
    sensitivity: float | None
    tier: str | None  # null: passed through unrouted
    lane: str  # standard | sensitive | direct
    reason: str
    cache_hit: str  # none | local | table | derivative
    raised: str | None  # the tier to which feedback of the tenant's users raised the prompt
    follow_up: (
        str | None
    )  # complaint | satisfied | neutral: on the answer before; null: none before
    session_floor: str | None  # the tier below which the session does not go
    escalated: bool  # a correction or the session lifted the tier
    propensity: float | None  # chance of this tier, where exploration might have taken another
    explored: bool  # a tier higher or lower than decided, by lot
    shadow_policy: str | None  # version of the policy that decided too, without acting
    shadow_tier: str | None  # the tier that it would have taken
    requested_model: str
    served_model: str | None
    aggregator: str | None
    attempts: int
    failovers: int  # candidates passed over: they failed, or their breaker was open
    stream: bool
    prompt_tokens: int | None
    cached_tokens: int | None
    cache_write_tokens: int | None
    completion_tokens: int | None
    reasoning_tokens: int | None
    audio_tokens: int | None  # heard and said; their rates are far above those of text
    cost_usd: Decimal | None
    cost_source: str | None  # provider | price_table | estimated
    baseline_usd: Decimal | None  # the same tokens on the policy's baseline model
    classifier_ms: float
    cache_ms: float
    first_token_ms: float | None  # of a stream: from the request to its first content
    upstream_ms: float
    total_ms: float
    status: int  # what the caller got; of a stream that broke off what it was told; 499: it left
    policy_version: str
    classifier_version: str
    price_version: str

    @property
    def saving_usd(self) -> Decimal | None:
        """What the baseline would have cost more; negative where Fareway cost more."""
        if self.cost_usd is None or self.baseline_usd is None:
            return None
        return self.baseline_usd - self.cost_usd

    def record(self) -> dict[str, Any]:
        """The event as the ledger stores it: JSON types, money as a decimal string."""
        values = ((name, getattr(self, name)) for name in COLUMNS)
        return {name: f"{v:f}" if isinstance(v, Decimal) else v for name, v in values}


_GLUE = {str: "string", float: "double", int: "int", bool: "boolean", Decimal: "decimal(18,9)"}


def _glue_type(hint: Any) -> str:
    for python_type, glue_type in _GLUE.items():
        if hint in (python_type, python_type | None):
            return glue_type
    raise TypeError(hint)


def glue_columns(row: type) -> dict[str, str]:
    """A table's dataclass -> column -> Glue type, in the table's order."""
    return {name: _glue_type(hint) for name, hint in get_type_hints(row).items()}


#: Column -> Glue type, in the table's order.
COLUMNS = glue_columns(CostEvent)
