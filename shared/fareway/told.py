"""A decision, and what came of it -> what the caller is told: the `x-fareway-*` headers.

A value that is not known is left out: a cost is never told as 0 for want of a price.
"""

from __future__ import annotations

import re
from decimal import Decimal

from fareway.adapt import told
from fareway.record import Routed, climbed
from fareway.relay import Relay
from fareway.route import Answer

_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


def headers(routed: Routed, answer: Answer | None = None) -> dict[str, str]:
    """What a caller may want to know of its request; a value not known is left out."""
    decision = routed.decision
    values: dict[str, object | None] = {
        "decision-id": routed.decision_id,
        "complexity": decision.complexity,
        "tier": decision.tier,
        "lane": decision.lane,
        "cache": routed.found.hit,
        "follow-up": routed.turn.said if routed.turn else None,
        "reason": decision.reason,
    }
    if answer is not None:
        event = answer.event
        values |= {
            "tier": event.tier,
            "reason": event.reason,
            "served-model": event.served_model,
            "aggregator": event.aggregator,
            "attempts": event.attempts,
            "adapted": told(answer.adapted),
            "cost-usd": _usd(event.cost_usd),
            "saving-usd": _usd(event.saving_usd),
            "budget-remaining-usd": _usd(answer.left_usd),
        }
    return {f"x-fareway-{k}": _header_value(v) for k, v in values.items() if v is not None}


def stream_headers(relay: Relay) -> dict[str, str]:
    """As `headers`; what a stream costs is known only at its end, in the ledger."""
    tier, reason = climbed(relay.routed.decision, relay.candidate)
    values = {
        "tier": tier,
        "reason": reason,
        "served-model": relay.upstream.served_model,
        "aggregator": relay.candidate.aggregator,
        "attempts": len(relay.trail.attempts),
        "adapted": told(relay.trail.adapted.get(relay.candidate.name, ())),
        "budget-remaining-usd": _usd(relay.left_usd),
    }
    named = {f"x-fareway-{k}": _header_value(v) for k, v in values.items() if v is not None}
    return headers(relay.routed) | named


def _usd(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:f}"


def _header_value(value: object) -> str:
    """Printable ASCII alone: part of a value may come from an upstream."""
    return _UNPRINTABLE.sub("?", str(value))[:1000]
