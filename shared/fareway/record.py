"""What was asked, decided, tried and billed -> the CostEvent of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Generic, TypeVar

from fareway.asks import Bounds, Needs
from fareway.bill import Bill
from fareway.caller import Caller
from fareway.conversation import Conversation
from fareway.cost import CostEvent
from fareway.decide import Candidate, Decision
from fareway.dispatch import Trail
from fareway.escalate import Session, Turn
from fareway.metrics import Facts
from fareway.policy import Policy, Tier
from fareway.trace import Trace
from fareway.verdicts import NOTHING, Found
from fareway.wire import Request

R_co = TypeVar("R_co", bound=Request, covariant=True)


@dataclass(frozen=True, slots=True)
class Asked(Generic[R_co]):
    """A request that was let in.

    Args:
        alone: no other request is being served by this process.

    Units: `begun` and `deadline` seconds on `time.monotonic`.
    """

    request: R_co
    caller: Caller
    bounds: Bounds
    conversation: Conversation | None
    begun: float
    deadline: float
    alone: bool = False
    trace: Trace = field(default_factory=Trace.new)
    facts: Facts = field(default_factory=Facts)


@dataclass(frozen=True, slots=True)
class Shadowed:
    """What a policy would have done that decides without acting."""

    policy_version: str
    tier: Tier | None


@dataclass(frozen=True, slots=True)
class Routed:
    """A decision with what led to it.

    Args:
        turn: the user's turn; None where nothing was routed.
        session: what is known of the session with this turn.
        shadow: what another policy would have done.
    """

    decision_id: str
    decision: Decision
    prompt_hash: str
    needs: Needs
    found: Found = NOTHING
    turn: Turn | None = None
    session: Session | None = None
    shadow: Shadowed | None = None


def cost_event(
    policy: Policy,
    asked: Asked[Request],
    routed: Routed,
    trail: Trail,
    status: int,
    candidate: Candidate | None = None,
    served_model: str | None = None,
    bill_: Bill | None = None,
) -> CostEvent:
    """One request's event, whether it was answered or not.

    Args:
        status: what the caller got.
        candidate, served_model, bill_: None where nothing answered.
    """
    verdict, usage = routed.found.verdict, bill_.usage if bill_ else None
    p = verdict.probabilities if verdict else (None,) * 5
    tier, reason = climbed(routed.decision, candidate)
    return CostEvent(
        decision_id=routed.decision_id,
        occurred_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        tenant_hash=asked.caller.tenant_hash,
        key_id=asked.caller.key_id,
        tags=asked.caller.tags,
        session_hash=asked.conversation.session_hash if asked.conversation else None,
        prompt_hash=routed.prompt_hash,
        p1=p[0],
        p2=p[1],
        p3=p[2],
        p4=p[3],
        p5=p[4],
        score=verdict.score if verdict else None,
        complexity=routed.decision.complexity,
        sensitivity=verdict.sensitivity if verdict else None,
        tier=tier,
        lane=routed.decision.lane,
        reason=reason,
        cache_hit=routed.found.hit,
        raised=routed.found.raised,
        follow_up=routed.turn.said if routed.turn else None,
        escalated=routed.decision.escalated,
        propensity=routed.decision.propensity if tier == routed.decision.tier else None,
        explored=routed.decision.explored,
        shadow_policy=routed.shadow.policy_version if routed.shadow else None,
        shadow_tier=routed.shadow.tier if routed.shadow else None,
        session_floor=routed.session.floor if routed.session else None,
        requested_model=asked.request.model,
        served_model=served_model,
        aggregator=candidate.aggregator if candidate else None,
        attempts=len(trail.attempts),
        failovers=len(set(trail.passed_over)),
        stream=asked.request.stream,
        prompt_tokens=usage.prompt_tokens if usage else None,
        cached_tokens=usage.cached_tokens if usage else None,
        cache_write_tokens=usage.cache_write_tokens if usage else None,
        completion_tokens=usage.completion_tokens if usage else None,
        reasoning_tokens=usage.reasoning_tokens if usage else None,
        audio_tokens=usage.audio_tokens if usage else None,
        cost_usd=bill_.cost_usd if bill_ else None,
        cost_source=bill_.source if bill_ else None,
        baseline_usd=bill_.baseline_usd if bill_ else None,
        classifier_ms=round(routed.found.classifier_ms, 3),
        cache_ms=round(routed.found.cache_ms, 3),
        first_token_ms=_rounded(trail.first_token_ms),
        upstream_ms=round(trail.upstream_ms, 3),
        total_ms=round(ms_since(asked.begun), 3),
        status=status,
        policy_version=policy.version,
        classifier_version=verdict.classifier if verdict else "none",
        price_version=policy.prices.version,
    )


def climbed(decision: Decision, candidate: Candidate | None) -> tuple[Tier | None, str]:
    """The tier that served, and the reason, which says so where it is not the decided one."""
    if candidate is None or candidate.tier == decision.tier:
        return decision.tier, decision.reason
    return (
        candidate.tier,
        f"{decision.reason}; climbed from {decision.tier} to {candidate.tier}",
    )


def _rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 3)


def ms_since(begun: float) -> float:
    return (time.monotonic() - begun) * 1000
