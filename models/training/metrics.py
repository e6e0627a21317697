"""What is measured of a router, from outcomes of a weak and a strong model.

PGR, APGR and CPT are RouteLLM's (Ong et al. 2024, arXiv:2406.18665, section 3): of the quality
that lies between the weak and the strong model, the share that the router recovers when it sends
a part of the calls to the strong one; its mean over all parts; and the least part that recovers
50 or 80 per cent. ECE is Guo et al.'s (2017, arXiv:1706.04599), over ten equal bins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]
BOOTSTRAPS = 300


def curve(scores: Floats, weak: Floats, strong: Floats) -> Floats:
    """(N,) scores and the two models' (N,) outcomes -> (N + 1,) mean outcome of the router.

    At place k the k prompts of the highest scores go to the strong model.
    """
    order = np.argsort(-scores, kind="stable")
    gains = np.concatenate(([0.0], np.cumsum((strong - weak)[order])))
    return np.asarray((weak.sum() + gains) / len(scores))


def apgr(scores: Floats, weak: Floats, strong: Floats) -> float:
    """The mean share of the quality gap that is recovered; random is 0.5."""
    qualities = curve(scores, weak, strong)
    return float(((qualities - weak.mean()) / (strong.mean() - weak.mean())).mean())


def cpt(scores: Floats, weak: Floats, strong: Floats, share: float) -> float:
    """The least percentage of calls to the strong model that recovers `share` of the gap."""
    qualities = curve(scores, weak, strong)
    reached = np.flatnonzero(qualities >= weak.mean() + share * (strong.mean() - weak.mean()))
    return float(100 * reached[0] / len(scores)) if len(reached) else 100.0


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
