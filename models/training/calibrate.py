"""Held-out logits -> what makes them probabilities, and the policy's cut points.

A temperature (Guo et al. 2017, arXiv:1706.04599), for a yes or no a shift too (Platt 1999); of
complexity one temperature for the gate and one for the open requests, and a line for the level of
each other expert. All are those of the least cross-entropy on rows that the head did not see.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize

from models.training import complexity
from models.training.heads import Floats, sigmoid, softmax
from models.training.table import CLASSES, Mask, Rows, numbers, shares, shippable, weights

SAMPLE = 20_000  # prompts on which complexity is calibrated
COLUMNS = {"sensitivity": "sensitive", "dissatisfaction": "dissatisfied"}
Scale = tuple[Floats, Floats]  # (K,) factors and (K,) shifts of a head's columns


def scaling(rows: Rows, name: str, logits: Floats) -> Scale:
    """(N, K) held-out logits of all rows -> the factors and shifts of a head's columns."""
    told, goal = goal_of(rows, name)
    weight = weights(rows)[told]
    of = {"complexity": _complexity, **dict.fromkeys(CLASSES, _temperature)}.get(name, _line)
    return of(logits[told], goal, weight / weight.sum())


def goal_of(rows: Rows, name: str) -> tuple[Mask, Floats]:
    """The rows that tell what a head should say, and what it is: (M, K), or (M, 1) of a yes/no."""
    if name in CLASSES:
        target = shares(rows, name)
        told = shippable(rows) & ~np.isnan(target[:, 0])
        return told, target[told]
    values = numbers(rows, COLUMNS.get(name, name))
    told = shippable(rows) & ~np.isnan(values)
    goal = complexity.spread(values[told]) if name == "complexity" else values[told][:, None]
    return told, goal


def said(name: str, logits: Floats) -> Floats:
    """(N, K) calibrated logits of a head -> its probabilities."""
    if name == "complexity":
        return complexity.probabilities(logits)
    return softmax(logits) if name in CLASSES else sigmoid(logits)


def _complexity(columns: Floats, goal: Floats, weight: Floats) -> Scale:
    """A temperature of the open requests; where the experts' bells lie, and how wide the exams'.

    The gate, the slope of a level and the word problems' width stay: they order like prompts by
    what only the outcomes of models tell, which the levels do not know and would flatten.
    """
    del weight  # each prompt counts as much, so that what is said of all of them is right

    def scale(found: Any) -> Scale:
        factors, shifts = np.ones(complexity.WIDTH), np.zeros(complexity.WIDTH)
        factors[complexity.OPEN] = np.exp(found[0])
        shifts[complexity.EXAM], shifts[complexity.PROBLEM] = found[1:3], (found[3], 0)
        return factors.astype(np.float32), shifts.astype(np.float32)

    some = np.random.default_rng(0).permutation(len(goal))[:SAMPLE]
    columns, goal = columns[some], goal[some]

    def entropy(found: Any) -> float:
        factors, shifts = scale(found)
        p = complexity.probabilities(columns * factors + shifts)
        return -float((goal * np.log(p + 1e-9)).sum() / len(goal))

    return scale(_least(entropy, 4))


def _temperature(logits: Floats, goal: Floats, weight: Floats) -> Scale:
    def entropy(found: Any) -> float:
        p = softmax(logits * np.exp(found[0]))
        return -float((weight[:, None] * goal * np.log(p + 1e-9)).sum())

    factor = np.exp(_least(entropy, 1)[0])
    return np.full(goal.shape[1], factor, np.float32), np.zeros(goal.shape[1], np.float32)


def _line(logits: Floats, goal: Floats, weight: Floats) -> Scale:
    def entropy(found: Any) -> float:
        moved = logits * np.exp(found[0]) + found[1]
        return float((weight[:, None] * (np.logaddexp(0, moved) - goal * moved)).sum())

    log_factor, shift = _least(entropy, 2)
    return np.full(1, np.exp(log_factor), np.float32), np.full(1, shift, np.float32)


def _least(entropy: Callable[[Any], float], parameters: int) -> Any:
    options = {
        "maxiter": 400 * parameters,
        "adaptive": parameters > 2,
        "xatol": 1e-3,
        "fatol": 1e-7,
    }
    return minimize(entropy, np.zeros(parameters), method="Nelder-Mead", options=options).x


GRID = np.arange(1.2, 4.8, 0.05)


def cut_points(scores: Floats, levels: Floats, usd: Sequence[float], quality: float) -> list[float]:
    """(N,) scores and (N,) complexities -> four ascending cuts.

    The second and the fourth part the tiers: of those at which `quality` of the prompts go to a
    tier that suffices, the pair that costs least. The first and the third part complexities of
    one tier: each puts most prompts on their side of it.

    Args:
        usd: what a prompt costs at cheap, mid and premium.
        quality: 0 to 1.
    """
    second, fourth = min(
        (place for place in cost_quality(scores, levels, usd) if place[3] >= quality),
        key=lambda place: place[2],
    )[:2]

    def right(cut: float, most: int) -> float:
        return float(((scores < cut) == (levels < most + 0.5)).mean())

    first = max(GRID[second > GRID], key=lambda cut: right(cut, 1))
    third = max(GRID[(second < GRID) & (fourth > GRID)], key=lambda cut: right(cut, 3))
    return [round(float(cut), 2) for cut in (first, second, third, fourth)]


def cost_quality(
    scores: Floats, levels: Floats, usd: Sequence[float]
) -> list[tuple[float, float, float, float]]:
    """Of each pair of cuts between tiers: the two, the mean cost, and the share well served."""
    needed, found = np.digitize(levels, (2.5, 4.5)), []
    for low in GRID:
        for high in GRID[low + 0.15 < GRID]:
            tier = np.digitize(scores, (low, high))
            cost = float(np.asarray(usd)[tier].mean())
            found.append((float(low), float(high), cost, float((tier >= needed).mean())))
    return found
