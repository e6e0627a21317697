"""A row and what came of it -> what it cost, and its event in the ledger."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from fareway.batch.job import Asked, custom_id
from fareway.batch.lanes import REALTIME
from fareway.batch.rows import Row
from fareway.bill import Bill, bill, estimate_usage, four_bytes
from fareway.cache import prompt_hash
from fareway.caller import Caller
from fareway.cost import CostEvent
from fareway.policy import Policy
from fareway.usage import read_cost, read_usage
from fareway.wire import words

#: The ledger's status of a row: as if it had been a request.
_HTTP = {"succeeded": 200, "errored": 502, "expired": 504, "cancelled": 499}


@dataclass(frozen=True, slots=True)
class Paid:
    """What a row cost, USD: at batch rates where it was in a batch, and what it would have."""

    bill: Bill
    realtime_usd: Decimal | None
    baseline_usd: Decimal


def paid_for(
    policy: Policy, told: Mapping[str, Any], row: Row, outcome: Mapping[str, Any]
) -> Paid | None:
    """None where nothing was answered: such rows are not charged."""
    if outcome["status"] != "succeeded":
        return None
    batch = told["provider"] != REALTIME
    usage = read_usage(outcome["usage"]) or estimate_usage(
        four_bytes, "\n".join(words(row.messages)), outcome["answer"]
    )
    usage = replace(usage, batch=batch)
    asked_price = policy.prices.find(told["id"])
    served, baseline = outcome["model"] or told["id"], policy.baseline_price()
    reported = None if batch else read_cost(outcome["usage"])
    billed = bill(usage, reported, served, asked_price, policy.prices, baseline)
    at_once = replace(usage, batch=False)
    price = policy.prices.find(served) or asked_price
    realtime = price.cost_usd(at_once) if price and batch else billed.cost_usd
    return Paid(billed, realtime, baseline.cost_usd(at_once))


def event_of(
    policy: Policy,
    caller: Caller,
    asked: Asked,
    row: Row,
    told: Mapping[str, Any],
    outcome: Mapping[str, Any],
    paid: Paid | None,
) -> CostEvent:
    """The ledger's event of a row; of the same row always the same one."""
    billed = paid.bill if paid else None
    usage = billed.usage if billed else None
    identity = f"{asked.created_at}\0{custom_id(asked.name, row)}"
    p1, p2, p3, p4, p5 = told["p"]
    return CostEvent(
        decision_id="dec_" + hashlib.sha256(identity.encode()).hexdigest()[:32],
        occurred_at=_utc(outcome["ended_at"] or asked.created_at),
        tenant_hash=caller.tenant_hash,
        key_id=caller.key_id,
        tags=json.dumps({"batch": asked.name}),
        session_hash=None,
        prompt_hash=prompt_hash(caller.tenant, {"messages": row.messages}),
        p1=p1,
        p2=p2,
        p3=p3,
        p4=p4,
        p5=p5,
        score=told["score"],
        complexity=told["complexity"],
        sensitivity=told["sensitivity"],
        tier=outcome.get("tier") or told["tier"],
        lane=told["lane"],
        reason=f"batch; {told['reason']}",
        cache_hit="none",
        raised=None,
        follow_up=None,
        session_floor=None,
        escalated=False,
        propensity=None,
        explored=False,
        shadow_policy=None,
        shadow_tier=None,
        requested_model=row.model,
        served_model=(outcome["model"] or told["id"]) if paid else None,
        aggregator=outcome.get("aggregator") or told["provider"],
        attempts=outcome.get("attempts") or outcome["tries"],
        failovers=0,
        stream=False,
        prompt_tokens=usage.prompt_tokens if usage else None,
        cached_tokens=usage.cached_tokens if usage else None,
        cache_write_tokens=usage.cache_write_tokens if usage else None,
        completion_tokens=usage.completion_tokens if usage else None,
        reasoning_tokens=usage.reasoning_tokens if usage else None,
        audio_tokens=usage.audio_tokens if usage else None,
        cost_usd=billed.cost_usd if billed else None,
        cost_source=billed.source if billed else None,
        baseline_usd=billed.baseline_usd if billed else None,
        classifier_ms=0.0,
        cache_ms=0.0,
        first_token_ms=None,
        upstream_ms=0.0,
        total_ms=0.0,
        status=_HTTP[outcome["status"]],
        policy_version=asked.policy_version,
        classifier_version=told["classifier"],
        price_version=policy.prices.version,
    )


def _utc(moment: str) -> str:
    """An ISO 8601 moment as the ledger writes it."""
    return datetime.fromisoformat(moment).astimezone(UTC).isoformat(timespec="milliseconds")
