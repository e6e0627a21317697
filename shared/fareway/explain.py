"""A decision -> what may be told of it: every input that moved it, in order."""

from __future__ import annotations

from typing import Any

from fareway.asks import Bounds
from fareway.cost import CostEvent
from fareway.record import Routed


def explained(routed: Routed, bounds: Bounds, event: CostEvent | None = None) -> dict[str, Any]:
    """What `/v1/route` and `/v1/decisions/{id}` answer; no word of the prompt is in it.

    Args:
        event: None before the call.
    """
    decision, found, verdict = routed.decision, routed.found, routed.found.verdict
    told: dict[str, Any] = {
        "object": "fareway.decision",
        "decision_id": routed.decision_id,
        "tier": decision.tier,
        "complexity": decision.complexity,
        "score": round(verdict.score, 4) if verdict else None,
        "probabilities": [round(p, 4) for p in verdict.probabilities] if verdict else None,
        "sensitivity": round(verdict.sensitivity, 4) if verdict else None,
        "classifier": verdict.classifier if verdict else None,
        "lane": decision.lane,
        "reason": decision.reason,
        "reasons": list(decision.reasons),
        "cache_hit": found.hit,
        "raised": found.raised,
        "follow_up": routed.turn.said if routed.turn else None,
        "session_floor": routed.session.floor if routed.session else None,
        "bounds": {
            "min_tier": bounds.min_tier,
            "max_tier": bounds.max_tier,
            "tiers": list(bounds.tiers),
            "max_cost_usd": None if bounds.max_cost_usd is None else f"{bounds.max_cost_usd:f}",
        },
        "needs": {
            "capabilities": sorted(routed.needs.capabilities),
            "prompt_tokens": routed.needs.prompt_tokens,
            "completion_tokens": routed.needs.completion_tokens,
            "choices": routed.needs.choices,
        },
        "candidates": [
            {"aggregator": c.aggregator, "model": c.model, "id": c.id, "tier": c.tier}
            for c in decision.candidates
        ],
    }
    return told if event is None else told | _outcome(event)


#: Of the cost event, what came of the decision.
_OUTCOME = (
    "occurred_at", "status", "served_model", "aggregator", "attempts", "failovers",
    "prompt_tokens", "cached_tokens", "completion_tokens", "cost_usd", "cost_source",
    "baseline_usd", "session_hash", "tags", "key_id", "policy_version", "price_version",
)  # fmt: skip


def _outcome(event: CostEvent) -> dict[str, Any]:
    record = event.record()
    reasons = event.reason.split("; ")  # with the climb of dispatch, if there was one
    return {
        "tier": event.tier,
        "reason": event.reason,
        "reasons": reasons,
        **{name: record[name] for name in _OUTCOME},
    }
