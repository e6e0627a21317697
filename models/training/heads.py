"""Features of prompts -> heads: one linear layer each, over the encoder and the n-grams.

Each head is a convex problem of its own, on which L-BFGS takes at most 200 steps from zero: there
is no seed, and it is cheap enough to be done anew for every fold.

Shapes: N prompts, C the encoder's width, G n-gram buckets, K outputs of a head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_matrix, diags

Floats = np.ndarray[Any, np.dtype[np.float32]]
Integers = np.ndarray[Any, np.dtype[np.int64]]

HEADS = ("complexity", "sensitivity", "kinds", "task", "dissatisfaction")
PIECES, PAIRS = 32_768, 65_536  # buckets of single pieces and of pairs
LENGTH_CENTRE = 3.5  # of the logarithm of the tokens
RIDGE = (1e-5, 3e-6)  # L2 against the mean loss, of the state and of the n-grams
STEPS = 200
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

    def __add__(self, other: Head) -> Head:
        """The head that says the sum of what two say."""
        return Head(
            self.over_state + other.over_state,
            self.over_grams + other.over_grams,
            self.bias + other.bias,
        )

    def scaled(self, factor: Any, shift: Any = 0.0) -> Head:
        """The head that says logits * factor + shift, numbers or (K,) of each column."""
        return Head(self.over_state * factor, self.over_grams * factor, self.bias * factor + shift)


def joined(heads: Sequence[Head]) -> Head:
    """Heads side by side -> one, of all their columns."""
    parts = ("over_state", "over_grams", "bias")
    return Head(*(np.concatenate([getattr(h, part) for h in heads], axis=-1) for part in parts))


def features_of(states: Floats, ids: Sequence[Sequence[int]]) -> Features:
    """(N, C) encoder vectors and the N prompts' token ids, as they are served -> features."""
    lengths = np.array([len(row) for row in ids], np.float32)
    length = np.log(lengths) - LENGTH_CENTRE
    state = np.column_stack((states, length, length**2))
    return Features(state.astype(np.float32), grams_of(ids))


def pair_bucket(before: Any, now: Any) -> Any:
    """Ids of neighbours, arrays or tensors -> the pair's bucket (Weinberger et al. 2009)."""
    return (before * 1_000_003 + now * 7_919) % PAIRS + PIECES


def grams_of(ids: Sequence[Sequence[int]]) -> csr_matrix:
    """(N, G) pieces and pairs of neighbours, as export.py's graph counts them."""
    columns, values, starts = [], [], [0]
    for row in ids:
        now = np.asarray(row, np.int64)
        before = np.concatenate(([1], now[:-1]))  # 1 opens a text
        pairs = pair_bucket(before, now)
        columns.append(np.concatenate((now, pairs)))
        values.append(np.full(2 * len(now), len(now) ** -0.5, np.float32))
        starts.append(starts[-1] + 2 * len(now))
    shape = (len(ids), PIECES + PAIRS)
    grams = csr_matrix((np.concatenate(values), np.concatenate(columns), starts), shape)
    grams.sum_duplicates()
    return grams


def softmax(logits: Floats) -> Floats:
    raised = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(raised / raised.sum(1, keepdims=True), np.float32)


def sigmoid(logits: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -30, 30))), np.float32)


def fit_classes(features: Features, shares: Floats, weights: Floats) -> Head:
    """(N, K) shares that sum to 1 -> a head of K logits."""
    weight = weights[:, None] / weights.sum()

    def loss(logits: Floats) -> tuple[float, Floats]:
        p = softmax(logits)
        return -float((weight * shares * np.log(p + 1e-9)).sum()), weight * (p - shares)

    return fit_linear(features, shares.shape[1], loss)


def fit_yes_no(features: Features, answers: Floats, weights: Floats) -> Head:
    """(N,) 1 or 0 -> a head of one logit."""
    target = answers[:, None] * (1 - 2 * SMOOTHING) + SMOOTHING
    weight = weights[:, None] / weights.sum()

    def loss(logits: Floats) -> tuple[float, Floats]:
        p = sigmoid(logits)
        value = np.logaddexp(0, logits) - target * logits
        return float((weight * value).sum()), weight * (p - target)

    return fit_linear(features, 1, loss)


def fit_linear(
    features: Features,
    outputs: int,
    loss: Callable[[Floats], tuple[float, Floats]],
    ridge: tuple[float, float] = RIDGE,
) -> Head:
    """The least loss. Rare grams may weigh more: they are scaled by their idf, as tf-idf does."""
    rows, wide = features.state.shape
    ridge_state, ridge_grams = ridge
    many = features.grams.shape[1]
    found_in = np.bincount(features.grams.indices, minlength=many)
    used = np.flatnonzero(found_in >= 2)
    scale = np.maximum(np.log(rows / (1 + found_in[used])), 0.5).astype(np.float32) / 4
    grams = (features.grams[:, used] @ diags(scale)).tocsr().astype(np.float32)
    transposed = grams.T.tocsr()
    sizes = (wide * outputs, len(used) * outputs, outputs)
    cuts = np.cumsum(sizes)[:2]

    def parts(flat: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
        one, two, three = np.split(flat, cuts)
        return [one.reshape(wide, outputs), two.reshape(len(used), outputs), three]

    def objective(flat: np.ndarray[Any, Any]) -> tuple[float, np.ndarray[Any, Any]]:
        over_state, over_grams, bias = parts(flat.astype(np.float32))
        value, slope = loss(features.state @ over_state + grams @ over_grams + bias)
        value += ridge_state * float((over_state**2).sum())
        value += ridge_grams * float((over_grams**2).sum())
        gradient = (
            features.state.T @ slope + 2 * ridge_state * over_state,
            transposed @ slope + 2 * ridge_grams * over_grams,
            slope.sum(0),
        )
        return value, np.concatenate([part.ravel() for part in gradient]).astype(np.float64)

    options = {"maxiter": STEPS, "maxcor": 10, "ftol": 1e-10, "gtol": 1e-9}
    found = minimize(objective, np.zeros(sum(sizes)), jac=True, method="L-BFGS-B", options=options)
    over_state, over_used, bias = (part.astype(np.float32) for part in parts(found.x))
    over_grams = np.zeros((many, outputs), np.float32)
    over_grams[used] = over_used * scale[:, None]
    return Head(over_state, over_grams, bias)
