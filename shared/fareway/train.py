"""Labelled prompts -> a correction of the shipped heads, and how it does on prompts held out.

The correction is linear over the encoder's vector and is added to what the head says already:
softmax(log p + state @ W + b). Its ridge pulls it towards zero, which is the shipped head, with a
strength that does not grow with the rows: fifty labels that differ move it little, thousands as
far as they say. Nothing here needs to know how the shipped heads are made.

Shapes: N prompts, C the encoder's width, K outputs of a head (5 complexities; or no and yes).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize  # type: ignore[import-untyped]
from scipy.special import log_softmax, softmax  # type: ignore[import-untyped]
from scipy.stats import rankdata  # type: ignore[import-untyped]

Floats = np.ndarray[Any, np.dtype[np.float64]]
Integers = np.ndarray[Any, np.dtype[np.int64]]

FOLDS = 5
#: Inverse variance, in logits, that a correction is believed to have before any label is seen.
#: Of 1 to 16, tried on public prompts with labels shifted, by topic and at random: a lesser one
#: follows noise at 50 rows, a greater one does not yet follow 1,000.
RIDGE = 4.0
#: A head says at least this, here and in the graph: what is impossible to it can still be learned.
LEAST_P = 1e-6


@dataclass(frozen=True, slots=True)
class Correction:
    """(C, K) weights and (K,) bias that are added to a head's log-probabilities."""

    weights: Floats
    bias: Floats

    def apply(self, states: Floats, before: Floats) -> Floats:
        """(N, C) vectors and (N, K) probabilities -> (N, K) corrected probabilities."""
        logits = np.log(np.maximum(before, LEAST_P)) + states @ self.weights + self.bias
        return np.asarray(softmax(logits, axis=1))


@dataclass(frozen=True, slots=True)
class Compared:
    """What a head decides of N prompts before and after, as the policy decides by it.

    Args:
        right_before, right_after: (N,) whether a prompt gets its label.
    """

    right_before: Floats
    right_after: Floats

    @property
    def gain(self) -> float:
        """Share of the prompts that are right after, less that before."""
        return float((self.right_after - self.right_before).mean())

    @property
    def error(self) -> float:
        """Standard error of the gain."""
        difference = self.right_after - self.right_before
        return float(difference.std(ddof=1) / np.sqrt(len(difference)))

    @property
    def better(self) -> bool:
        """Whether the gain is more than chance gives: two standard errors.

        Log-loss would not do as a judge: labels at random lower it, by teaching the head to doubt.
        """
        return self.gain > 2 * self.error


def fit(states: Floats, before: Floats, labels: Integers) -> Correction:
    """The correction that the labels ask for, as far as the ridge lets it go.

    A convex problem, from zero, without a seed.

    Shapes: (N, C) vectors, (N, K) probabilities, (N,) labels of 0 to K - 1.
    """
    width, outputs = states.shape[1], before.shape[1]
    centre = states.mean(0)
    scale = (states.std(0) + 1e-9) * np.sqrt(width)  # a prompt's features have a length of about 1
    features = (states - centre) / scale
    offset = np.log(np.maximum(before, LEAST_P))
    wanted = np.eye(outputs)[labels]

    def loss(flat: Floats) -> tuple[float, Floats]:
        weights, bias = flat[:-outputs].reshape(width, outputs), flat[-outputs:]
        said = log_softmax(offset + features @ weights + bias, axis=1)
        excess = np.exp(said) - wanted
        slope = np.concatenate([(features.T @ excess).ravel(), excess.sum(0)]) + RIDGE * flat
        return float(RIDGE / 2 * flat @ flat - (said * wanted).sum()), slope

    found = minimize(loss, np.zeros((width + 1) * outputs), jac=True, method="L-BFGS-B").x
    weights = found[:-outputs].reshape(width, outputs) / scale[:, None]
    return Correction(weights, found[-outputs:] - centre @ weights)


def held_out(texts: Sequence[str], states: Floats, before: Floats, labels: Integers) -> Floats:
    """(N, K) probabilities of each prompt by a correction fitted on the folds it is not in.

    Equal texts are in one fold. Shapes: as `fit`, and N texts.
    """
    after = np.empty_like(before)
    for fold in _folds(texts):
        others = np.setdiff1d(np.arange(len(texts)), fold)
        correction = fit(states[others], before[others], labels[others])
        after[fold] = correction.apply(states[fold], before[fold])
    return after


def _folds(texts: Sequence[str]) -> Iterator[Integers]:
    """Row numbers of each fold, by the order of the texts' hashes: the same every time."""
    different = sorted(set(texts), key=lambda text: hashlib.sha256(_bytes(text)).digest())
    fold_of = {text: position % FOLDS for position, text in enumerate(different)}
    folds = np.array([fold_of[text] for text in texts])
    return (np.flatnonzero(folds == fold) for fold in range(FOLDS))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def expected(p: Floats) -> Floats:
    """(N, 5) probabilities -> (N,) expected complexity, 1.0 to 5.0."""
    return np.asarray(p @ np.arange(1.0, 6.0))


def auc(scores: Floats, positive: np.ndarray[Any, np.dtype[np.bool_]]) -> float | None:
    """How often a positive outscores a negative, ties half; None where one kind is missing."""
    yes = int(positive.sum())
    no = len(positive) - yes
    if not yes or not no:
        return None
    return float((rankdata(scores)[positive].sum() - yes * (yes + 1) / 2) / (yes * no))
