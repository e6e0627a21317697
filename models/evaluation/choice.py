"""Outcomes -> which of its models are weak and strong, and which stand for the tiers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fareway.errors import BadRequest
from fareway.policy import TIERS, Tier
from models.evaluation.outcome_file import Outcomes

#: The share of the prompts that a model must have been asked, to be found without being named.
ASKED = 0.9


def pairs_of(found: Outcomes, weak: Sequence[str], strong: str | None) -> list[tuple[str, str]]:
    """(weak, strong) pairs: those named; else the cheapest or weakest, and the best by mean.

    Raises:
        BadRequest: a name that the file has not, or nothing to route between.
    """
    _must_be_there(found, [*weak, *([strong] if strong else [])])
    strong = strong or max(_known(found), key=lambda m: (found.mean(m), -_rank(found, m)))
    weak = weak or [min(_known(found), key=lambda m: (_rank(found, m), found.mean(m)))]
    pairs = [(model, strong) for model in weak if model != strong]
    if not pairs:
        raise BadRequest(f"{strong} is the cheapest and the best: name a --weak and a --strong")
    return pairs


def tiers_of(
    found: Outcomes, named: Mapping[Tier, str], pairs: Sequence[tuple[str, str]]
) -> dict[Tier, str]:
    """Tier -> model: as named; else the first pair's for cheap and premium, and one between.

    Mid is the model whose mean outcome is nearest to the middle of the two, and whose cost lies
    between; where there is none, mid goes to premium, as the router itself climbs.

    Raises:
        BadRequest: a name that the file has not.
    """
    _must_be_there(found, list(named.values()))
    weak, strong = pairs[0]
    cheap, premium = named.get("cheap", weak), named.get("premium", strong)
    middle = (found.mean(cheap) + found.mean(premium)) / 2
    between = [
        model
        for model in _known(found)
        if found.mean(cheap) < found.mean(model) < found.mean(premium)
        and _rank(found, cheap) <= _rank(found, model) <= _rank(found, premium)
    ]
    nearest = min(between, key=lambda m: abs(found.mean(m) - middle), default=premium)
    chosen = (cheap, named.get("mid", nearest), premium)
    return dict(zip(TIERS, chosen, strict=True))


def _known(found: Outcomes) -> list[str]:
    """Models that were asked nearly all prompts; priced ones alone, if there are two of them."""
    most = max(map(found.asked, found.models))
    models = [model for model in found.models if found.asked(model) >= ASKED * most]
    priced = [model for model in models if found.usd_per_call(model) is not None]
    return priced if len(priced) > 1 else models


def _rank(found: Outcomes, model: str) -> float:
    """Its cost, to compare by; its mean outcome where nothing is priced."""
    if found.priced_by == "nothing":
        return found.mean(model)
    cost = found.usd_per_call(model)
    return float("inf") if cost is None else float(cost)


def _must_be_there(found: Outcomes, models: Sequence[str]) -> None:
    unknown = [model for model in models if model not in found.models]
    if unknown:
        raise BadRequest(
            f"the file has no outcomes of {', '.join(unknown)}; it has {', '.join(found.models)}"
        )
