"""Features of prompts -> complexity: three experts and a gate, each linear, mixed.

What makes a prompt hard is not the same everywhere: for open requests it is the kind of task, for
exam questions the subject and its words, for word problems of school maths the length. So each
of the three domains has an expert of its own, and a gate says how far a prompt is of it (Jacobs
et al. 1991, "Adaptive mixtures of local experts"; here the experts and the gate are fitted apart,
as the domains are known of the training prompts, so that each stays a convex problem).

One head holds them, of `WIDTH` columns: 3 of the gate, 5 of the open requests' distribution, and
two each of the exams' and the word problems': the level, around which `bell` puts a bell, and the
logarithm of how narrow it is (which calibrate.py finds: it is one number, whatever the prompt).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.training.heads import (
    Features,
    Floats,
    Head,
    Integers,
    fit_classes,
    fit_linear,
    joined,
    sigmoid,
    softmax,
)

DOMAINS = ("open", "exam", "problem")
GATE, OPEN, EXAM, PROBLEM = slice(0, 3), slice(3, 8), slice(8, 10), slice(10, 12)
WIDTH = 12
LOG_2 = math.log(2)
SPREAD = 0.55  # of a complexity over its neighbours, in levels
COMPLEXITIES = np.arange(1, 6, dtype=np.float32)


@dataclass(frozen=True)
class Expert:
    """How the expert of one domain is fitted.

    Args:
        level: L2 against the mean loss of the level, of the state and of the n-grams.
        gain: the same, of the gain.
        tilt: levels for each unit of the gain's log-odds.
        only_length: it does not read what the encoder says.
    """

    level: tuple[float, float]
    gain: tuple[float, float]
    tilt: float
    only_length: bool = False


EXPERTS = {
    "exam": Expert((1e-3, 1e-4), (3e-2, 2e-3), tilt=1.0),
    "problem": Expert((1e-4, 3e-4), (1e-4, 1e-3), tilt=1.0, only_length=True),
}


def spread(levels: Floats) -> Floats:
    """(N,) complexities -> (N, 5) distributions: a bell around each, cut to 1..5."""
    return softmax(bell(np.column_stack((levels, np.zeros_like(levels)))))


def bell(expert: Any, complexities: Any = COMPLEXITIES) -> Any:
    """(N, 2) levels and log-precisions -> (N, 5) logits; arrays, or tensors of the export.

    -(complexity - level)^2 / 2 SPREAD^2, less what all five have in common, times the precision.
    """
    level, narrow = expert[:, :1], expert[:, 1:]
    precision = 2.0 ** (narrow / LOG_2) / SPREAD**2  # a power, as both libraries write it
    return (level * complexities - complexities**2 / 2) * precision


def probabilities(columns: Floats) -> Floats:
    """(N, WIDTH) columns of the head -> (N, 5), the experts mixed by the gate."""
    gate = softmax(columns[:, GATE])
    experts = (
        softmax(columns[:, OPEN]),
        softmax(bell(columns[:, EXAM])),
        softmax(bell(columns[:, PROBLEM])),
    )
    mixed = sum(gate[:, i : i + 1] * expert for i, expert in enumerate(experts))
    return np.asarray(mixed, np.float32)


def score(distributions: Floats) -> Floats:
    """(N, 5) -> the expected complexity, (N,)."""
    return np.asarray(distributions @ COMPLEXITIES, np.float32)


def fit(
    features: Features,
    levels: Floats,
    gains: Floats,
    domains: Integers,
    sources: Sequence[str],
    weights: Floats,
) -> Head:
    """What is known of N prompts -> a head of WIDTH columns. What a row does not know is nan.

    Args:
        levels: (N,) complexities, 1.0 to 5.0.
        gains: (N,) shares of a source's pairs of models that needed the strong one.
        domains: (N,) places in DOMAINS.
        sources: (N,) names; a source's own mean gain is not learned.
    """
    names, opened = np.asarray(sources), (domains == 0) & ~np.isnan(levels)
    columns = [
        fit_classes(features, np.eye(len(DOMAINS), dtype=np.float32)[domains], weights),
        fit_classes(features[opened], spread(levels[opened]), weights[opened]),
    ]
    for place, how in enumerate(EXPERTS.values(), start=1):
        seen = only_length(features) if how.only_length else features
        graded = (domains == place) & ~np.isnan(levels)
        level = fit_level(seen[graded], levels[graded], weights[graded], how.level)
        told = (domains == place) & ~np.isnan(gains)
        gain = fit_gain(seen[told], gains[told], names[told], how.gain)
        columns += [level + centred(gain, seen[graded]).scaled(how.tilt), constant(features, 0.0)]
    return joined(columns)


def fit_level(
    features: Features, levels: Floats, weights: Floats, ridge: tuple[float, float]
) -> Head:
    """(N,) complexities -> a head that says the level, by least squares."""
    if not len(levels):
        return constant(features, float(COMPLEXITIES.mean()))
    mean = np.average(levels, weights=weights)
    target, weight = (levels - mean)[:, None], weights[:, None] / weights.sum()

    def loss(said: Floats) -> tuple[float, Floats]:
        return float((weight * (said - target) ** 2).sum() / 2), weight * (said - target)

    return fit_linear(features, 1, loss, ridge).scaled(1.0, mean)


def fit_gain(
    features: Features, gains: Floats, sources: Sequence[str], ridge: tuple[float, float]
) -> Head:
    """(N,) shares -> one logit that tells prompts of one source apart, whatever the source's mean.

    Each source has an intercept, which is dropped, and counts by the root of its rows.
    """
    if not len(gains):
        return constant(features, 0.0)
    order, place, counts = np.unique(np.asarray(sources), return_inverse=True, return_counts=True)
    weight = (counts[place] ** -0.5).astype(np.float32)[:, None]
    weight /= weight.sum()
    target = gains[:, None]

    def loss(logits: Floats) -> tuple[float, Floats]:
        p = sigmoid(logits)
        value = np.logaddexp(0, logits) - target * logits
        return float((weight * value).sum()), weight * (p - target)

    own = 10 * np.eye(len(order), dtype=np.float32)[place]  # so that the ridge hardly binds them
    with_own = Features(np.column_stack((features.state, own)), features.grams)
    head = fit_linear(with_own, 1, loss, ridge)
    return Head(head.over_state[: -len(order)], head.over_grams, np.zeros(1, np.float32))


def constant(features: Features, level: float) -> Head:
    """A head of one column that says the same of every prompt."""
    widths = features.state.shape[1], features.grams.shape[1]
    over_state, over_grams = (np.zeros((width, 1), np.float32) for width in widths)
    return Head(over_state, over_grams, np.full(1, level, np.float32))


def centred(head: Head, features: Features) -> Head:
    """The head less what it says of these prompts on average."""
    said = head.logits(features)
    return head.scaled(1.0, -said.mean()) if len(said) else head


def only_length(features: Features) -> Features:
    """The state without what the encoder says."""
    state = np.zeros_like(features.state)
    state[:, -2:] = features.state[:, -2:]
    return Features(state, features.grams)
