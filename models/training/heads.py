"""Features of prompts -> heads: one linear layer each, over the encoder and the n-grams.

Each head is a problem of its own, fitted to its end by L-BFGS from zero: no seed, no epochs, and
cheap enough to be fitted anew for every fold. A complexity is a distribution over 1 to 5; inside
one source its mean is also ranked, so that of two prompts the one that only the strong model
could do comes out higher (RankNet, Burges et al. 2005), whatever the source's style.

Shapes: N prompts, C the encoder's width, G n-gram buckets, K outputs of a head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_matrix

Floats = np.ndarray[Any, np.dtype[np.float32]]
Integers = np.ndarray[Any, np.dtype[np.int64]]

PIECES, PAIRS = 32_768, 65_536  # buckets of single pieces and of pairs
SPREAD = 0.55  # of a complexity over its neighbours, in levels
RIDGE_STATE, RIDGE_GRAMS = 3e-5, 3e-6  # L2, per mean loss
RANK_WEIGHT, RANK_SLOPE, RANK_PAIRS = 0.6, 2.0, 60_000
SMOOTHING = 0.02  # of a yes or no


@dataclass(frozen=True)
class Features:
    """What heads see of N prompts.

    Args:
        state: (N, C) the encoder's vector, and two columns for the length.
        grams: (N, G) counts of pieces and pairs of pieces over the root of the length.
    """

    state: Floats
    grams: csr_matrix

    def __getitem__(self, rows: Any) -> Features:
        return Features(self.state[rows], self.grams[rows])


@dataclass(frozen=True)
class Head:
    """state @ over_state + grams @ over_grams + bias -> (N, K) logits."""

    over_state: Floats
    over_grams: Floats
    bias: Floats

    def logits(self, features: Features) -> Floats:
        said = features.state @ self.over_state + features.grams @ self.over_grams + self.bias
        return np.asarray(said, np.float32)


def features_of(states: Floats, ids: Sequence[Sequence[int]]) -> Features:
    """(N, C) encoder vectors and the N prompts' token ids, as they are served -> features."""
    lengths = np.array([len(row) for row in ids], np.float32)
    logs = np.log(lengths)
    state = np.column_stack((states, logs - 3.5, (logs - 3.5) ** 2))
    return Features(state.astype(np.float32), grams_of(ids))


def grams_of(ids: Sequence[Sequence[int]]) -> csr_matrix:
    """Pieces, and pairs of neighbours hashed (Weinberger et al. 2009); export.py does the same."""
    columns, values, starts = [], [], [0]
    for row in ids:
        now = np.asarray(row, np.int64)
        before = np.concatenate(([1], now[:-1]))  # 1 opens a text
        pairs = (before * 1_000_003 + now * 7_919) % PAIRS + PIECES
        columns.append(np.concatenate((now, pairs)))
        values.append(np.full(2 * len(now), len(now) ** -0.5, np.float32))
        starts.append(starts[-1] + 2 * len(now))
    shape = (len(ids), PIECES + PAIRS)
    grams = csr_matrix((np.concatenate(values), np.concatenate(columns), starts), shape)
    grams.sum_duplicates()
    return grams


def spread(levels: Floats) -> Floats:
    """(N,) complexities -> (N, 5) distributions: a bell around each, cut to 1..5."""
    bell = np.exp(-((np.arange(1, 6) - levels[:, None]) ** 2) / (2 * SPREAD**2))
    return np.asarray(bell / bell.sum(1, keepdims=True), np.float32)


def softmax(logits: Floats) -> Floats:
    raised = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(raised / raised.sum(1, keepdims=True), np.float32)


def sigmoid(logits: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -30, 30))), np.float32)


def score(probabilities: Floats) -> Floats:
    """(N, 5) -> the expected complexity, (N,)."""
    return np.asarray(probabilities @ np.arange(1, 6), np.float32)


def ranked(values: Floats, sources: Sequence[str], seed: int = 0) -> Integers:
    """(P, 2) rows of one source, the first of the higher value; as many of each source."""
    chance = np.random.default_rng(seed)
    names = np.asarray(sources)
    known = sorted({name for name in names[~np.isnan(values)]})
    out = []
    for name in known:
        rows = np.flatnonzero((names == name) & ~np.isnan(values))
        one, other = chance.choice(rows, (2, 2 * RANK_PAIRS // len(known)))
        swap = values[one] < values[other]
        one, other = np.where(swap, other, one), np.where(swap, one, other)
        out.append(np.stack((one, other), 1)[values[one] > values[other] + 0.2])
    return np.concatenate(out)


def fit_complexity(
    features: Features, levels: Floats, weights: Floats, pairs: Integers | None = None
) -> Head:
    """(N,) complexities, (N,) weights and (P, 2) ranked rows -> a head of 5 logits.

    A complexity that is not known is nan; such a row is ranked only.
    """
    known = ~np.isnan(levels)
    target = spread(np.where(known, levels, 3.0))
    weight = np.where(known, weights, 0.0)[:, None] / weights[known].sum()
    centre = np.arange(1, 6, dtype=np.float32)

    def loss(logits: Floats) -> tuple[float, Floats]:
        p = softmax(logits)
        value = -float((weight * target * np.log(p + 1e-9)).sum())
        slope = weight * (p - target)
        if pairs is not None and len(pairs):
            mean = p @ centre
            gap = RANK_SLOPE * (mean[pairs[:, 0]] - mean[pairs[:, 1]])
            value += RANK_WEIGHT * float(np.logaddexp(0, -gap).mean())
            pull = -RANK_WEIGHT * RANK_SLOPE * sigmoid(-gap) / len(pairs)
            by_mean = np.zeros(len(p), np.float32)
            np.add.at(by_mean, pairs[:, 0], pull)
            np.add.at(by_mean, pairs[:, 1], -pull)
            slope = slope + by_mean[:, None] * p * (centre - mean[:, None])
        return value, slope

    return _fit(features, 5, loss)


def fit_classes(features: Features, classes: Integers, count: int, weights: Floats) -> Head:
    """(N,) classes from 0 to count - 1 -> a head of `count` logits."""
    target = np.eye(count, dtype=np.float32)[classes]
    weight = weights[:, None] / weights.sum()

    def loss(logits: Floats) -> tuple[float, Floats]:
        p = softmax(logits)
        return -float((weight * target * np.log(p + 1e-9)).sum()), weight * (p - target)

    return _fit(features, count, loss)


def fit_yes_no(features: Features, answers: Floats, weights: Floats) -> Head:
    """(N,) 1 or 0 -> a head of one logit."""
    target = answers[:, None] * (1 - 2 * SMOOTHING) + SMOOTHING
    weight = weights[:, None] / weights.sum()

    def loss(logits: Floats) -> tuple[float, Floats]:
        p = sigmoid(logits)
        value = np.logaddexp(0, logits) - target * logits
        return float((weight * value).sum()), weight * (p - target)

    return _fit(features, 1, loss)


def _fit(features: Features, outputs: int, loss: Callable[[Floats], tuple[float, Floats]]) -> Head:
    wide, many = features.state.shape[1], features.grams.shape[1]
    used = np.flatnonzero(np.bincount(features.grams.indices, minlength=many) >= 2)
    grams = features.grams[:, used]
    transposed = grams.T.tocsr()
    sizes = (wide * outputs, len(used) * outputs, outputs)
    cuts = np.cumsum(sizes)[:2]

    def parts(flat: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
        one, two, three = np.split(flat, cuts)
        return [one.reshape(wide, outputs), two.reshape(len(used), outputs), three]

    def objective(flat: np.ndarray[Any, Any]) -> tuple[float, np.ndarray[Any, Any]]:
        over_state, over_grams, bias = parts(flat.astype(np.float32))
        value, slope = loss(features.state @ over_state + grams @ over_grams + bias)
        value += RIDGE_STATE * float((over_state**2).sum())
        value += RIDGE_GRAMS * float((over_grams**2).sum())
        gradient = (
            features.state.T @ slope + 2 * RIDGE_STATE * over_state,
            transposed @ slope + 2 * RIDGE_GRAMS * over_grams,
            slope.sum(0),
        )
        return value, np.concatenate([part.ravel() for part in gradient]).astype(np.float64)

    options = {"maxiter": 150, "maxcor": 8, "ftol": 1e-7}
    found = minimize(objective, np.zeros(sum(sizes)), jac=True, method="L-BFGS-B", options=options)
    over_state, over_used, bias = (part.astype(np.float32) for part in parts(found.x))
    over_grams = np.zeros((many, outputs), np.float32)
    over_grams[used] = over_used
    return Head(over_state, over_grams, bias)
