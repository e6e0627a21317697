"""A decision -> the decision that is tried in its place, now and then, and the chance of it. Pure.

What another tier would have answered is known of requests that took it by lot alone. So a small
share goes one tier higher or lower, half of it each way. Only where the cuts alone decided: what a
caller bounds or pins, what a user complained of, and the sensitive lane are left as they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from fareway.asks import Bounds, Needs
from fareway.decide import Decision, Lift, decide
from fareway.policy import TIERS, Policy, Tier
from fareway.verdict import Verdict

#: What `decide` takes after the policy.
Asks: TypeAlias = tuple[tuple[str, ...], Verdict | None, Bounds, Needs, Tier | None, Sequence[Lift]]


@dataclass(frozen=True, slots=True)
class Draw:
    """The tier that is taken, and the chance that it was to be this one, over 0 to 1."""

    tier: Tier
    propensity: float
    explored: bool


def chances(tier: Tier, share: float, open_to: Collection[Tier] = TIERS) -> dict[Tier, float]:
    """Each tier's chance; a way that is not there is not taken, and its part stays.

    Args:
        share: of requests that are explored, 0 to 1.
        open_to: tiers that can take the request.
    """
    place = TIERS.index(tier)
    ways = [t for t in TIERS if abs(TIERS.index(t) - place) == 1 and t in open_to]
    return {tier: 1 - share / 2 * len(ways), **dict.fromkeys(ways, share / 2)}


def draw(tier: Tier, share: float, open_to: Collection[Tier], luck: float) -> Draw:
    """Takes a tier.

    Args:
        luck: at least 0 and under 1, as `luck_of` makes it.
    """
    at = 0.0
    for way, chance in chances(tier, share, open_to).items():
        at += chance
        if luck < at:
            return Draw(way, chance, way != tier)
    return Draw(tier, 1.0, explored=False)


def luck_of(decision_id: str, what: str) -> float:
    """A number from 0 to 1 that is a decision's own: another for each thing to be drawn."""
    digest = hashlib.sha256(f"{what}|{decision_id}".encode()).digest()
    return int.from_bytes(digest[:7]) / 2**56


def explore(
    policy: Policy,
    decision: Decision,
    luck: float,
    aggregators: tuple[str, ...],
    verdict: Verdict | None,
    bounds: Bounds,
    needs: Needs,
    pin: Tier | None,
    lifts: Sequence[Lift],
) -> Decision:
    """The decision with its chance, or another tier's in its place; as it is where it is not free.

    Args:
        decision: what `decide` made of the rest.
        luck: at least 0 and under 1.
    """
    share = policy.exploration.share
    if not share or verdict is None or pin or lifts or not _free(policy, decision, verdict, bounds):
        return decision
    assert decision.tier is not None
    candidates = {
        tier: decision.candidates
        if TIERS.index(tier) > TIERS.index(decision.tier)  # it stands behind: dispatch may climb
        else decide(policy, aggregators, verdict, bounds, needs, pin=tier).candidates
        for tier in chances(decision.tier, share)
        if tier != decision.tier
    }
    able = [tier for tier, some in candidates.items() if any(c.tier == tier for c in some)]
    drawn = draw(decision.tier, share, able, luck)
    if not drawn.explored:
        return replace(decision, propensity=drawn.propensity)
    least = TIERS.index(drawn.tier)
    return replace(
        decision,
        tier=drawn.tier,
        candidates=tuple(
            c for c in candidates[drawn.tier] if c.tier and TIERS.index(c.tier) >= least
        ),
        reasons=(*decision.reasons, f"explored: {drawn.tier} in place of {decision.tier}, by lot"),
        propensity=drawn.propensity,
        explored=True,
    )


def _free(policy: Policy, decision: Decision, verdict: Verdict, bounds: Bounds) -> bool:
    """Whether the cuts alone decided."""
    unbound = (
        bounds.tiers == TIERS
        and (bounds.min_tier, bounds.max_tier) == (TIERS[0], TIERS[-1])
        and bounds.max_cost_usd is None
    )
    by_cuts = (
        verdict.complexity is None
        and decision.complexity is not None
        and decision.tier == policy.tier(decision.complexity)
    )
    return decision.lane == "standard" and unbound and by_cuts
