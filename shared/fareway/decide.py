"""Verdict + policy + what the request asks for -> Decision. Pure; no clock, no network.

In order: the verdict's tier; what memory lifts it to; the safety floor, which neither a pin nor
memory lowers; the request's own bounds; then what each candidate can do and would cost. A tier with
no fit candidate climbs; only a cost bound or a maximum tier ever sends a request lower.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import cast

from fareway.asks import Bounds, Needs
from fareway.errors import BadRequest, FarewayError, ModelNotFound, NoAggregator
from fareway.policy import TIERS, Policy, Tier
from fareway.prices import Price, Usage
from fareway.verdict import Verdict

PREFIX = "fareway/"
AUTO = "fareway/auto"
ROUTED_MODELS = (AUTO, *(PREFIX + tier for tier in TIERS))


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to get the answer: a model at an aggregator. `id` is its name there."""

    aggregator: str
    model: str
    id: str
    tier: Tier | None
    price: Price | None

    @property
    def name(self) -> str:
        return f"{self.aggregator}/{self.model}"


@dataclass(frozen=True, slots=True)
class Lift:
    """A tier that memory asks for at least, and why, for people."""

    tier: Tier
    reason: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a request goes, and why.

    Args:
        tier: None where the request named a model of its own.
        lane: `standard`, `sensitive`, or `direct` for a model passed through.
        reasons: what moved the decision, in order, for people.
        candidates: in the order in which `dispatch` tries them.
        escalated: whether memory lifted the tier.
        propensity: the chance that it was to be this tier, where `explore` drew it by lot.
        explored: whether the lot fell on another tier than the cuts' own.
    """

    tier: Tier | None
    complexity: int | None
    lane: str
    reasons: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    escalated: bool = False
    propensity: float | None = None
    explored: bool = False

    @property
    def reason(self) -> str:
        return "; ".join(self.reasons)


def complexity_of(policy: Policy, verdict: Verdict) -> int:
    """1 to 5: the one that the verdict names, else by the policy's cuts on its score."""
    return verdict.complexity or policy.complexity(verdict.score)


def pinned_tier(model: str) -> Tier | None:
    """`fareway/cheap` -> cheap; `fareway/auto` -> None.

    Raises:
        ModelNotFound: any other `fareway/...` name.
    """
    if model not in ROUTED_MODELS:
        raise ModelNotFound(
            f"The model '{model}' does not exist. Use one of {', '.join(ROUTED_MODELS)}, "
            "or any upstream model's own name.",
            param="model",
        )
    return None if model == AUTO else cast(Tier, model.removeprefix(PREFIX))


def decide(
    policy: Policy,
    aggregators: Iterable[str],
    verdict: Verdict | None,
    bounds: Bounds,
    needs: Needs,
    pin: Tier | None = None,
    lifts: Sequence[Lift] = (),
) -> Decision:
    """The routed case.

    Args:
        aggregators: names of those that can be called (a key is there), in the policy's order.
        verdict: None where the prompt could not be scored.
        pin: the tier that the request named instead of `fareway/auto`; nothing lifts it but the
            safety floor.
        lifts: what corrections and the session ask for, in order.

    Raises:
        BadRequest: no candidate within the bounds can do what the request needs.
        NoAggregator: no aggregator can be called.
    """
    complexity = None if verdict is None else complexity_of(policy, verdict)
    sensitive = verdict is None or verdict.sensitivity >= policy.sensitivity.threshold
    reasons = []
    if verdict is None:
        tier = pin or policy.unclassified_tier
        reasons.append("unclassified: sensitive lane")
    else:
        assert complexity is not None
        tier = policy.tier(complexity)
        reasons.append(f"complexity {complexity} (score {verdict.score:.2f})")
    if pin is not None:
        tier = pin
        reasons.append(f"pinned to {pin}")
    escalated = False
    for lift in () if pin else lifts:
        if TIERS.index(lift.tier) > TIERS.index(tier):
            tier, escalated = lift.tier, True
            reasons.append(lift.reason)
    if sensitive and verdict is not None:
        reasons.append(f"sensitive ({verdict.sensitivity:.2f})")
        tier = max(tier, policy.sensitivity.tier, key=TIERS.index)
    if TIERS.index(tier) < TIERS.index(bounds.min_tier):
        tier = bounds.min_tier
        reasons.append(f"{bounds.raised} {tier}")
    if TIERS.index(tier) > TIERS.index(bounds.max_tier):
        tier = bounds.max_tier
        reasons.append(f"{bounds.held} {tier}")

    chosen, candidates, moved = _fit(policy, tuple(aggregators), tier, bounds, needs, sensitive)
    return Decision(
        tier=chosen,
        complexity=complexity,
        lane="sensitive" if sensitive else "standard",
        reasons=(*reasons, *moved),
        candidates=tuple(candidates),
        escalated=escalated,
    )


def _fit(
    policy: Policy,
    aggregators: tuple[str, ...],
    tier: Tier,
    bounds: Bounds,
    needs: Needs,
    sensitive: bool,
) -> tuple[Tier, list[Candidate], list[str]]:
    """The tier's fit candidates and, behind them, those of the tiers above."""
    low, high = TIERS.index(bounds.min_tier), TIERS.index(bounds.max_tier)
    here = TIERS.index(tier)
    refusals: dict[str, str] = {}

    def fit(name: Tier) -> list[Candidate]:
        kept, short = [], []
        for candidate in tier_candidates(policy, aggregators, name, sensitive):
            refusal = _refusal(policy, candidate, bounds, needs)
            if refusal is not None:
                refusals.setdefault(candidate.model, refusal)
            elif _falls_short(policy, candidate, needs):
                short.append(candidate)
            else:
                kept.append(candidate)
        if kept:
            for candidate in short:
                most = policy.models[candidate.model].max_output
                refusals.setdefault(candidate.model, f"its completions end at {most} tokens")
        # A limit over what any of them gives is no reason to climb: `adapt` lowers it.
        return kept or short

    allowed = [name for name in TIERS[low : high + 1] if name in bounds.tiers]
    climbing = [c for name in allowed if TIERS.index(name) >= here for c in fit(name)]
    lower = [] if climbing else [n for n in reversed(allowed) if TIERS.index(n) < here]
    candidates = climbing or next(filter(None, map(fit, lower)), [])
    if not candidates:
        raise _nothing_fits(refusals, aggregators)
    first = candidates[0].tier
    assert first is not None
    moved = [f"{model} ruled out: {why}" for model, why in refusals.items()]
    if first != tier:
        moved.append(f"moved from {tier} to {first}")
    return first, candidates, moved


def tier_candidates(
    policy: Policy, aggregators: Sequence[str], tier: Tier, sensitive: bool
) -> list[Candidate]:
    """Next model, then next aggregator; in the sensitive lane, where the model counts, all
    aggregators of a model before the next."""
    table = policy.tiers[tier]
    if sensitive and table.sensitive:
        pairs = [(a, m) for m in table.sensitive for a in aggregators]
    else:
        pairs = [(a, m) for a in aggregators for m in table.models]
    return [
        Candidate(a, m, policy.models[m].ids[a], tier, policy.price(m, a))
        for a, m in pairs
        if a in policy.models[m].ids
    ]


def _refusal(policy: Policy, candidate: Candidate, bounds: Bounds, needs: Needs) -> str | None:
    """Why a candidate cannot take the request, or None."""
    model = policy.models[candidate.model]
    missing = needs.capabilities - set(model.can)
    if missing:
        return f"cannot do {', '.join(sorted(missing))}"
    limit = min(needs.completion_tokens or 0, model.max_output or model.context)
    if needs.prompt_tokens + limit > model.context:
        return f"its context is {model.context} tokens"
    if bounds.max_cost_usd is not None and candidate.price is not None:
        estimate = estimate_usd(policy, candidate.price, needs, model.max_output)
        if estimate > bounds.max_cost_usd:
            return f"about {estimate.normalize():f} USD is over x-fareway-max-cost-usd"
    return None


def _falls_short(policy: Policy, candidate: Candidate, needs: Needs) -> bool:
    """Whether the request allows a longer completion than the model can give."""
    most = policy.models[candidate.model].max_output
    return most is not None and (needs.completion_tokens or 0) > most


def estimate_usd(policy: Policy, price: Price, needs: Needs, most: int | None = None) -> Decimal:
    """What a request may cost at a price, USD: its own limit on completion tokens, or as many as
    the policy expects, for each choice.

    Args:
        most: what the model gives at most, tokens.
    """
    limit = needs.completion_tokens
    tokens = policy.expected_completion_tokens if limit is None else limit
    tokens = tokens if most is None else min(tokens, most)
    return price.cost_usd(Usage(needs.prompt_tokens, tokens * needs.choices))


def _nothing_fits(refusals: Mapping[str, str], aggregators: tuple[str, ...]) -> FarewayError:
    if not aggregators:
        return NoAggregator(
            "No aggregator has a key. Put one into the upstream secret, or set <NAME>_API_KEY."
        )
    over_cost = any("x-fareway-max-cost-usd" in why for why in refusals.values())
    whys = "; ".join(f"{model} {why}" for model, why in refusals.items())
    return BadRequest(
        f"No model within the request's bounds fits: {whys}.",
        param="x-fareway-max-cost-usd" if over_cost else None,
        code="no_candidate",
    )


def pass_through(policy: Policy, aggregators: Iterable[str], model: str) -> Decision:
    """A model named by the request itself: unrouted, but with failover between aggregators."""
    known = next(
        (name for name, m in policy.models.items() if model == name or model in m.ids.values()),
        None,
    )
    candidates = []
    for aggregator in aggregators:
        id_ = policy.models[known].ids.get(aggregator) if known else model
        if id_ is not None:
            price = policy.prices.find(id_)
            candidates.append(Candidate(aggregator, known or model, id_, None, price))
    if not candidates:
        raise _nothing_fits({}, ())
    return Decision(None, None, "direct", ("passed through",), tuple(candidates))
