"""What is measured of scores and probabilities; of a router's cost, models/evaluation/curves.py.

ECE is Guo et al.'s (2017, arXiv:1706.04599), over ten equal bins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]
BOOTSTRAPS = 300


def mean_auc(scores: Floats, answers: Sequence[Floats]) -> float:
    """Of several questions about the same (N,) prompts, each 1, 0 or nan, the mean AUC."""
    values = []
    for answer in answers:
        told = ~np.isnan(answer)
        if 0 < answer[told].mean() < 1:
            values.append(roc_auc_score(answer[told], scores[told]))
    return float(np.mean(values)) if values else float("nan")


def interval(rows: int, measure: Callable[[Any], float]) -> tuple[float, float]:
    """The 95 % interval of a measure over rows drawn again with replacement (Efron 1979)."""
    chance = np.random.default_rng(0)
    found = [measure(chance.integers(0, rows, rows)) for _ in range(BOOTSTRAPS)]
    low, high = np.nanpercentile(found, (2.5, 97.5))
    return float(low), float(high)


def ece(said: Floats, true: Floats) -> float:
    """(N,) probabilities and (N,) 1 or 0 -> the mean gap of what is said and what is."""
    bins = np.minimum((said * 10).astype(int), 9)
    gaps = [
        abs(said[bins == b].mean() - true[bins == b].mean()) * (bins == b).mean()
        for b in np.unique(bins)
    ]
    return float(sum(gaps))


def false_alarms(scores: Floats, answers: Floats, recall: float) -> float:
    """The share of the negatives at or above the threshold that finds `recall` of the positives."""
    threshold = np.quantile(scores[answers == 1], 1 - recall)
    return float((scores[answers == 0] >= threshold).mean())
