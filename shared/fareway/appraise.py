"""Evidence -> what other cuts would have cost, and how many answers would have satisfied.

Doubly robust: a model of P(satisfied | score, tier), one logistic curve a tier, says what an answer
of another tier would have been like; where exploration took that tier, what really came of it
corrects the model, weighted by the inverse of its chance. With known chances the estimate is right
on average however wrong the model (Dudík, Langford, Li: Doubly Robust Policy Evaluation and
Learning, ICML 2011), as long as no request moves by more than one tier: of more nothing is
explored. The curves are fitted on one half of the sessions and used on the other. Intervals are
bootstrapped over blocks of whole sessions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fareway.evidence import Evidence, Floats, Ints
from fareway.policy import TIERS, Policy

#: Cuts are tried at every so many points of score.
STEP = 0.05
#: Blocks of sessions, and how often they are drawn anew.
BLOCKS, RESAMPLES = 256, 1_000
#: 90 % intervals, of which either end is a 95 % bound.
ENDS = (0.05, 0.95)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 90 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Point:
    """What cuts would have made of the requests.

    Args:
        cuts: four, ascending.
        shares: of requests, by tier.
        quality: share of satisfied answers.
        usd_per_1000: cost of 1,000 requests, USD.
        quality_change: against the present cuts, in shares of answers.
        saving: part of what the present cuts cost that is not spent; below 0 it is spent on top.
        effective: answers that the requests that move got from the tier they would move to, in
            effect (Kish: (sum of weights)^2 / sum of squares).
    """

    cuts: tuple[float, ...]
    shares: tuple[float, ...]
    quality: Estimate
    usd_per_1000: Estimate
    quality_change: Estimate
    saving: Estimate
    effective: float


#: Where cheap ends and where mid ends, as places in the table's edges.
Pair = tuple[int, int]


class Appraisal:
    """Appraises cuts, by sums for each block of sessions, stretch of score and tier.

    A stretch lies between two edges, where cuts may be; a tier takes the stretches up to its own.
    `quality` and `nano` are such sums, [BLOCKS, stretches, 3], of satisfied answers and nano-USD;
    `by_half` and `noise_by_half` what the curves of each half (of odd blocks, of even ones) expect
    of all requests, and the variance of its answers, [stretches, 3].

    Args:
        seen: at least one request.
        policy: whose cuts are the present ones.
        seed: of the bootstrap.
    """

    def __init__(self, seen: Evidence, policy: Policy, seed: int = 0) -> None:
        self.policy, self.seen = policy, seen
        grid = np.round(np.arange(1 + STEP, 5, STEP), 4)
        self.edges = np.unique([*grid, *tier_cuts(policy)])
        first, second = (int(np.searchsorted(self.edges, cut)) for cut in tier_cuts(policy))
        self.present: Pair = (first, second)
        self.stretch = np.searchsorted(self.edges, seen.score, side="right")
        blocks = _blocks(seen.session, seed)
        by_half = _modelled(seen, blocks)
        modelled = np.where((blocks % 2 == 0)[:, None], by_half[1], by_half[0])
        every = np.arange(len(seen))
        corrected = modelled.copy()
        miss = (seen.satisfied - modelled[every, seen.tier]) / seen.propensity
        corrected[every, seen.tier] += miss
        self.quality = self._sums(corrected, blocks)
        self.nano = self._sums(seen.nano_usd.astype(np.float64), blocks)
        self._spent = self.nano.sum(axis=0)
        self._count = self._sums(np.ones((len(seen), 1)), blocks)[..., 0].sum(axis=1)
        self.by_half = [self._sums(of_half, blocks).sum(axis=0) for of_half in by_half]
        self.noise_by_half = [
            self._sums(_noise(seen, of_half, blocks % 2 == half), blocks).sum(axis=0)
            for half, of_half in enumerate(by_half)
        ]
        self._smooth = (self.by_half[0] + self.by_half[1]) / 2
        draws = np.random.default_rng(seed + 1)
        # the first row is the data themselves
        weights = draws.multinomial(BLOCKS, np.full(BLOCKS, 1 / BLOCKS), size=RESAMPLES)
        self._weights = np.vstack([np.ones(BLOCKS), weights])

    def _sums(self, values: Floats, blocks: Ints) -> Floats:
        """[N, K] -> [BLOCKS, stretches, K]."""
        stretches = len(self.edges) + 1
        cell = blocks * stretches + self.stretch
        columns = [np.bincount(cell, v, BLOCKS * stretches) for v in values.T]
        return np.stack(columns, axis=-1).reshape(BLOCKS, stretches, -1)

    def cost(self, pair: Pair) -> float:
        """Of all requests, nano-USD."""
        return float(along(self._spent, pair))

    def frontier(self, satisfied: Floats | None = None) -> list[Pair]:
        """The pairs that by a model no other beats in cost and quality, the dearest first.

        Args:
            satisfied: [stretches, 3] answers that a model expects; our own if not given.
        """
        model = self._smooth if satisfied is None else satisfied
        best, kept = -np.inf, []
        for pair in sorted(self.pairs(), key=self.cost):
            if (quality := float(along(model, pair))) > best:
                best = quality
                kept.append(pair)
        return kept[::-1]

    def pairs(self) -> list[Pair]:
        """All that move no request by more than one tier."""
        first, second = self.present
        places = range(len(self.edges))
        return [(a, b) for a in places for b in places if a < b and a <= second and first <= b]

    def way_down(self) -> list[Pair]:
        """Pairs from the present one straight to the cheapest that by the model keeps the quality.

        The first steps move few requests. The model shows the way and the corrected estimate
        judges: to be led by the latter would be to be led by its errors.
        """
        least = along(self._smooth, self.present)
        kept = [pair for pair in self.frontier() if along(self._smooth, pair) >= least]
        goal = kept[-1] if kept and self.cost(kept[-1]) < self.cost(self.present) else self.present
        steps = 1 + int(np.max(np.abs(np.subtract(goal, self.present))))
        line = np.linspace(self.present, goal, steps)[1:]
        straight = [(round(float(a)), round(float(b))) for a, b in line]
        return [(a, b) for a, b in straight if a < b]

    def near(self, first: float, second: float) -> Pair:
        """The pair of edges nearest to two cuts, no further than what was explored tells."""
        low, high = (int(np.argmin(np.abs(self.edges - cut))) for cut in (first, second))
        return min(low, self.present[1] - 1), max(high, self.present[0] + 1, low + 1)

    def point(self, pair: Pair) -> Point:
        """A pair's figures with their intervals."""
        n = self._weights @ self._count
        quality = self._weights @ along(self.quality, pair) / n
        before = self._weights @ along(self.quality, self.present) / n
        nano = self._weights @ along(self.nano, pair)
        nano_before = self._weights @ along(self.nano, self.present)
        counts = self._count.sum()
        ends = [0, *(int(np.sum(self.stretch <= edge)) for edge in pair), len(self.seen)]
        return Point(
            cuts=cuts_with(self.policy, *(float(self.edges[edge]) for edge in pair)),
            shares=tuple(float((b - a) / counts) for a, b in pairwise(ends)),
            quality=_estimate(quality),
            usd_per_1000=_estimate(nano / n * 1_000 / 1e9),
            quality_change=_estimate(quality - before),
            saving=_estimate(1 - nano / nano_before),
            effective=self._effective(pair),
        )

    def share_of_cost(self, per_block: Floats) -> Estimate:
        """[BLOCKS] nano-USD -> in parts of what the present cuts cost."""
        spent = self._weights @ along(self.nano, self.present)
        return _estimate(self._weights @ per_block / spent)

    def _effective(self, pair: Pair) -> float:
        tier, before = (
            np.searchsorted(np.array(edges), self.stretch, side="left")
            for edges in (pair, self.present)
        )
        weights = 1 / self.seen.propensity[(tier != before) & (self.seen.tier == tier)]
        return float(weights.sum() ** 2 / (weights**2).sum()) if len(weights) else 0.0


def tier_cuts(policy: Policy, cuts: Sequence[float] = ()) -> tuple[float, float]:
    """The two of four cuts that divide the policy's tiers: of its own, or of others."""
    cheap, mid = _tier_places(policy)
    four = cuts or policy.cuts
    return four[cheap], four[mid]


def _tier_places(policy: Policy) -> tuple[int, int]:
    cheap, mid = (len(policy.tiers[tier].complexity) for tier in TIERS[:2])
    return cheap - 1, cheap + mid - 1


def cuts_with(policy: Policy, first: float, second: float) -> tuple[float, ...]:
    """The policy's four cuts with other ends of cheap and mid; those within a tier keep their place
    in it."""
    old, new = (1.0, *tier_cuts(policy), 5.0), (1.0, first, second, 5.0)
    cuts = np.interp(policy.cuts, old, new)
    cuts[list(_tier_places(policy))] = first, second  # an old one may be at 1 or 5, where none is
    return tuple(round(float(cut), 4) for cut in cuts)


def along(sums: Floats, pair: Pair) -> Floats:
    """[..., stretches, 3] -> [...]: each stretch at the tier that takes it."""
    first, second = pair[0] + 1, pair[1] + 1
    parts = (sums[..., :first, 0], sums[..., first:second, 1], sums[..., second:, 2])
    total: Floats = sum(part.sum(axis=-1) for part in parts)  # type: ignore[assignment]
    return total


def _estimate(draws: Floats) -> Estimate:
    low, high = np.quantile(draws[1:], ENDS)
    return Estimate(float(draws[0]), float(low), float(high))


def _blocks(session: Ints, seed: int) -> Ints:
    """A block for each session, by lot."""
    lots = np.random.default_rng(seed).integers(BLOCKS, size=int(np.max(session)) + 1)
    return lots[session]


def _modelled(seen: Evidence, blocks: Ints) -> Floats:
    """[2, N, 3] P(satisfied | score, tier) by the curves of each half of the blocks."""
    modelled = np.empty((2, len(seen), len(TIERS)))
    for half in (0, 1):
        for place in range(len(TIERS)):
            there = (blocks % 2 == half) & (seen.tier == place)
            weights = 1 / seen.propensity[there]
            curve = _curve(seen.score[there], seen.satisfied[there], weights)
            modelled[half, :, place] = _sigmoid(curve[0] + curve[1] * (seen.score - _MIDDLE))
    return modelled


def _noise(seen: Evidence, modelled: Floats, own: NDArray[np.bool_]) -> Floats:
    """[N, 3] variance that a request's own answer brings into the corrected estimate; 0 for those
    of the other half."""
    every = np.arange(len(seen))
    p = modelled[every, seen.tier]
    noise = np.zeros_like(modelled)
    noise[every, seen.tier] = np.where(own, p * (1 - p) / seen.propensity**2, 0)
    return noise


_MIDDLE = 3.0


def _curve(score: Floats, satisfied: Floats, weights: Floats) -> Sequence[float]:
    """Intercept and slope of a logistic curve by Newton's method, with one made-up answer of each
    kind so that it stays finite."""
    x = np.column_stack([np.ones(len(score) + 2), [*(score - _MIDDLE), 0.0, 0.0]])
    y = np.append(satisfied, [0.0, 1.0])
    w = np.append(weights, [1.0, 1.0])
    beta = np.zeros(2)
    for _ in range(25):
        p = _sigmoid(x @ beta)
        gradient = x.T @ (w * (y - p)) - 1e-3 * beta
        curvature = (x * (w * p * (1 - p))[:, None]).T @ x + 1e-3 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        beta = beta + np.clip(step, -2, 2)
        if np.max(np.abs(step)) < 1e-8:
            break
    return [float(b) for b in beta]


def _sigmoid(z: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(z, -30, 30))))
