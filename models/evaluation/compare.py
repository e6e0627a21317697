"""Scores of routers and what the models did -> AUC, APGR, CPT, cost at equal quality.

Between two models, `cost_quality`; between the three tiers of a policy, `tier_quality`. A measured
number is [value, low, high], with a 95 % bootstrap interval over prompts. Money is summed in whole
nano-USD; a cost is told as a share of that of always calling the strong model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from fareway.policy import TIERS, Policy
from models.evaluation.curves import (
    Floats,
    Integers,
    Order,
    apgr,
    cpt,
    efficient,
    least_cost,
    recovered,
    resampled,
)

#: Router -> (N,) scores.
Scores = Mapping[str, Floats]
#: The points of a curve that is kept to be drawn: shares of the steps.
GRID = np.linspace(0, 1, 41)
#: What counts as equal quality: of the gap from the weak to the strong model, the whole or most.
EQUAL = {"cost_equal": 1.0, "cost_95": 0.95}


def cost_quality(
    scores: Scores, outcomes: Floats, nano_usd: Integers | None = None
) -> dict[str, Any]:
    """A weak and a strong model -> what each router between them is worth.

    Two routers are there without being given: `random`, of which the expectation is told, and
    `oracle`, which knows the outcomes.

    Args:
        scores: router -> (N,); the highest goes to the strong model first.
        outcomes: (2, N) of the weak and the strong model, 0 to 1.
        nano_usd: (2, N) what their completions cost; None where that is not known.
    """
    pair = _Pair(np.asarray(outcomes, float), nano_usd)
    ends = {"random": np.zeros(pair.prompts), "oracle": pair.gains}
    found = {}
    for name, score in {**scores, **ends}.items():
        order = Order(score)
        dear = Order(pair.best_buys()) if name == "oracle" else order

        def measure(counts: Integers, order: Order = order, dear: Order = dear) -> dict[str, Any]:
            return pair.calls(order, counts) | pair.costs(dear, counts)

        found[name] = resampled(pair.prompts, measure)
    return {
        "prompts": pair.prompts,
        "only_strong": int(pair.only_strong.sum()),
        "quality": [round(float(quality), 4) for quality in pair.outcomes.mean(1)],
        "routers": found,
    }


class _Pair:
    """A weak and a strong model's outcomes and costs, and what an order of steps makes of them."""

    def __init__(self, outcomes: Floats, nano_usd: Integers | None) -> None:
        weak, strong = self.outcomes = outcomes
        self.prompts, self.nano_usd = len(weak), nano_usd
        self.gains = strong - weak
        self.only_strong = only_strong(weak, strong)

    def best_buys(self) -> Floats:
        """An oracle's scores: the most gain for the money, or for the call."""
        return self.gains if self.nano_usd is None else efficient(self.gains, self._extra)

    def calls(self, order: Order, counts: Integers) -> dict[str, Any]:
        pgr = recovered(order.walk(self.gains, counts))
        return {
            "auc": order.auc(self.only_strong, counts),
            "apgr": apgr(pgr),
            "cpt50": cpt(pgr, 0.5),
            "cpt80": cpt(pgr, 0.8),
            "curve": _drawn(pgr),
        }

    def costs(self, order: Order, counts: Integers) -> dict[str, Any]:
        if self.nano_usd is None:
            return {}
        weak, strong = _total(self.nano_usd, counts)
        costs = (weak + order.walk(self._extra, counts)) / strong
        pgr = recovered(order.walk(self.gains, counts))
        return {name: least_cost(pgr, costs, share) for name, share in EQUAL.items()}

    @property
    def _extra(self) -> Integers:
        assert self.nano_usd is not None
        extra: Integers = self.nano_usd[1] - self.nano_usd[0]
        return extra


def only_strong(weak: Floats, strong: Floats) -> Floats:
    """(N,) outcomes each -> 1 where the weak model fails and the strong one succeeds, else 0."""
    return ((weak < 0.5) & (strong >= 0.5)).astype(float)


def tier_quality(
    scores: Scores, cuts: Sequence[float], outcomes: Floats, nano_usd: Integers | None = None
) -> dict[str, Any]:
    """A model for each tier -> quality and cost at the policy's cuts, and with the cuts moved.

    Every router sends as many prompts to each tier as the first does: its scores are given the
    first's distribution. `random` is the expectation at those shares; `oracle` sends each prompt to
    the cheapest of the models that did best. Cost at equal quality: both cuts are moved together
    until it is reached.

    Args:
        scores: router -> (N,); the cuts are on the scale of the first.
        cuts: two, ascending: the least score of mid and of premium.
        outcomes: (3, N) of the models of cheap, mid and premium, 0 to 1.
        nano_usd: (3, N) what their completions cost; None where that is not known.
    """
    tiers = _Tiers(np.asarray(outcomes, float), nano_usd)
    ours = next(iter(scores.values()))
    found = {}
    for name, score in {**scores, "random": ours}.items():
        alike = score if score is ours else _distributed_as(ours, score)
        at, order = np.digitize(alike, cuts), Order(np.concatenate([alike - cut for cut in cuts]))

        def measure(
            counts: Integers, blind: bool = name == "random", at: Any = at, order: Order = order
        ) -> dict[str, Any]:
            seen = tiers.averaged(counts) if blind else tiers
            return seen.at(at, counts) | seen.along(order, counts)

        found[name] = resampled(len(ours), measure)
    always = {f"always-{tier}": np.full(len(ours), place) for place, tier in enumerate(TIERS)}
    for name, at in {"oracle": tiers.best(), **always}.items():
        found[name] = resampled(len(ours), partial(tiers.at, at))
    at = np.digitize(ours, cuts)
    return {
        "prompts": len(ours),
        "shares": [round(float((at == place).mean()), 4) for place in range(3)],
        "routers": found,
    }


def tier_cuts(policy: Policy) -> list[float]:
    """The least scores of mid and of premium."""
    return [policy.cuts[policy.tiers[tier].complexity[-1] - 1] for tier in TIERS[:-1]]


@dataclass(frozen=True)
class _Tiers:
    """(3, N) outcomes and costs, and what a placing or an order of steps makes of them."""

    outcomes: Floats
    nano_usd: Any  # None where not known

    def best(self) -> Integers:
        """The least tier, by cost where it is known, of those with a prompt's best outcome."""
        by = np.arange(3)[:, None] if self.nano_usd is None else self.nano_usd
        return np.asarray(np.lexsort(np.broadcast_arrays(by, -self.outcomes), axis=0)[0])

    def averaged(self, counts: Integers) -> _Tiers:
        """Every prompt as the mean prompt: what is expected of a router that knows nothing."""

        def mean(values: Any) -> Any:
            means = _total(values, counts) / counts.sum()
            return np.broadcast_to(means[:, None], values.shape)

        nano_usd = None if self.nano_usd is None else mean(self.nano_usd)
        return _Tiers(mean(self.outcomes), nano_usd)

    def at(self, tier: Integers, counts: Integers) -> dict[str, float]:
        """(N,) tiers -> the mean outcome, and the cost over that of always-premium."""
        each = np.arange(len(tier))
        told = {"quality": float(_total(self.outcomes[tier, each], counts) / counts.sum())}
        if self.nano_usd is None:
            return told
        cost = _total(self.nano_usd[tier, each], counts) / _total(self.nano_usd[2], counts)
        return told | {"cost": float(cost)}

    def along(self, order: Order, counts: Integers) -> dict[str, Any]:
        """The steps to mid and those to premium -> the curve, and the cost at equal quality."""
        if self.nano_usd is None:
            return {}
        twice = np.tile(counts, 2)
        gained = order.walk(np.diff(self.outcomes, axis=0).ravel(), twice)
        extra = order.walk(np.diff(self.nano_usd, axis=0).ravel(), twice)
        costs = (_total(self.nano_usd[0], counts) + extra) / _total(self.nano_usd[2], counts)
        qualities = (_total(self.outcomes[0], counts) + gained) / counts.sum()
        return {
            **{name: least_cost(recovered(gained), costs, s) for name, s in EQUAL.items()},
            "curve": _drawn(qualities),
            "curve_cost": _drawn(costs),
        }


def without_curves(found: Any) -> Any:
    """What was measured, without what is there to be drawn."""
    if not isinstance(found, Mapping):
        return found
    kept = {name: value for name, value in found.items() if not name.startswith("curve")}
    return {name: without_curves(value) for name, value in kept.items()}


def _total(values: Any, counts: Integers) -> Any:
    """(..., N) -> (...): no BLAS, whose threads wait for each other on a busy machine."""
    return (values * counts).sum(-1)


def _drawn(values: Floats) -> Floats:
    return np.interp(GRID, np.linspace(0, 1, len(values)), values)


def _distributed_as(ours: Floats, score: Floats) -> Floats:
    """A router's order of the prompts, told in our scores; equal ones in a random order."""
    mixed = np.random.default_rng(0).permutation(len(ours))
    order = mixed[np.argsort(score[mixed], kind="stable")]
    told = np.empty(len(ours))
    told[order] = np.sort(ours)
    return told
