"""Steps of prompts to better models, in a router's order -> what is recovered at what cost.

A router is an order of steps: each takes one prompt to a better model, that of the highest score
first. Prompts of one score are taken in no order: what they gain and cost is spread evenly over
them, so that a router that knows nothing (equal scores) is the diagonal, and the order of a file
tells nothing.

PGR, APGR and CPT are RouteLLM's (Ong et al. 2024, arXiv:2406.18665, section 3). A draw of the
bootstrap (Efron 1979) is how often each prompt was drawn: the order is sorted once.

Shapes: N prompts; K steps, N of them between two models and 2 N between three tiers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]
Integers = np.ndarray[Any, np.dtype[np.integer[Any]]]
BOOTSTRAPS = 300
NEAR = 1e-9  # what a sum of fractions may lack of a share


class Order:
    """(K,) scores -> the order of the steps, and sums along it."""

    def __init__(self, scores: Floats) -> None:
        self._order = np.argsort(-scores, kind="stable")
        ranked = scores[self._order]
        self._last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # of a score

    def walk(self, values: Floats | Integers, counts: Integers) -> Floats:
        """(K,) values and how often each step is there -> (counts.sum() + 1,) sums, 0 first."""
        steps = self._sums(counts)
        return np.interp(np.arange(steps[-1] + 1), steps, self._sums(values * counts))

    def auc(self, answers: Floats, counts: Integers) -> float:
        """(K,) answers, 1 or 0 -> the chance that a 1 is ranked before a 0; nan without both."""
        ones, zeros = self._sums(answers * counts), self._sums((1 - answers) * counts)
        if not ones[-1] or not zeros[-1]:
            return float("nan")
        later = zeros[-1] - (zeros[1:] + zeros[:-1]) / 2  # half of those of the same score
        return float((np.diff(ones) * later).sum() / (ones[-1] * zeros[-1]))

    def _sums(self, amounts: Floats | Integers) -> Floats | Integers:
        """After each score: integers stay integers, so that money is exact."""
        sums = np.cumsum(amounts[self._order])[self._last]
        return np.concatenate((np.zeros(1, sums.dtype), sums))


def recovered(gained: Floats) -> Floats:
    """Sums of gains along an order -> PGR, the share of the whole gain; nan if there is none."""
    whole = gained[-1]
    return gained / whole if whole > NEAR else np.full(len(gained), np.nan)


def apgr(pgr: Floats) -> float:
    """The mean share of the quality gap that is recovered; knowing nothing is 0.5."""
    return float(pgr.mean())


def cpt(pgr: Floats, share: float) -> float:
    """The least percentage of steps that recovers `share` of the quality gap."""
    reached = np.flatnonzero(pgr >= share - NEAR)
    return float(100 * reached[0] / (len(pgr) - 1)) if len(reached) else float("nan")


def least_cost(pgr: Floats, costs: Floats, share: float) -> float:
    """The least of the costs at which `share` of the quality gap is recovered."""
    reached = costs[pgr >= share - NEAR]
    return float(np.min(reached)) if len(reached) else float("nan")


def efficient(gains: Floats, extra: Integers) -> Floats:
    """(N,) gains and extra costs of a step -> an oracle's scores: most gain for the money first.

    It is optimal where no step saves money; one that does and loses nothing is taken first.
    """
    score = gains / np.maximum(extra, 1)
    return np.where((extra < 0) & (gains >= 0), np.inf, score)


def resampled(
    prompts: int, measure: Callable[[Integers], Mapping[str, Any]]
) -> dict[str, list[Any]]:
    """What is measured -> [value, low, high]: of the data, and its 95 % interval.

    Args:
        measure: (N,) how often each prompt counts -> numbers or arrays by name.
    """
    value = measure(np.ones(prompts, np.int64))
    chance = np.random.default_rng(0)
    found = [
        measure(np.bincount(chance.integers(0, prompts, prompts), minlength=prompts))
        for _ in range(BOOTSTRAPS)
    ]
    return {name: _interval(value[name], [draw[name] for draw in found]) for name in value}


def _interval(value: Any, drawn: list[Any]) -> list[Any]:
    drawn = [draw for draw in drawn if not np.isnan(draw).any()]
    low, high = np.percentile(drawn, (2.5, 97.5), axis=0) if drawn else (np.nan, np.nan)
    return [_plain(part) for part in (value, low, high)]


def _plain(value: Any) -> Any:
    """A number or an array, for JSON: five digits, and null for what is not known."""
    if np.ndim(value):
        return [_plain(part) for part in value]
    return None if np.isnan(value) else round(float(value), 5)
