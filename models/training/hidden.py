"""Features of prompts -> a yes or no that is not linear: one hidden layer over the encoder's state.

"My chest feels tight" and "my jar lid is tight" differ by how words meet, which no single line
through the state can tell. The mean of a few small nets of other seeds stands beside the linear
head over state and n-grams; both are fitted to the same answers, and their log-odds are added.

Shapes: N prompts, C the width of the features' state, H hidden units of all nets together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from models.training.heads import SMOOTHING, Features, Floats, Head, fit_yes_no, sigmoid

SEEDS = 4  # nets whose log-odds are averaged
UNITS = 64  # of each
EPOCHS, BATCH, RATE, DECAY, DROPOUT = 10, 512, 3e-3, 1e-3, 0.1


@dataclass(frozen=True)
class Hidden:
    """tanh(state @ inward + bias) @ outward -> (N, 1) log-odds.

    Args:
        inward: (C, H).
        bias: (H,).
        outward: (H, 1).
    """

    inward: Floats
    bias: Floats
    outward: Floats

    def logits(self, state: Floats) -> Floats:
        return np.asarray(np.tanh(state @ self.inward + self.bias) @ self.outward, np.float32)


@dataclass(frozen=True)
class Deep:
    """A linear head and the nets beside it, added -> (N, 1) log-odds."""

    linear: Head
    hidden: Hidden

    def logits(self, features: Features) -> Floats:
        return self.linear.logits(features) + self.hidden.logits(features.state)

    def scaled(self, factor: float, shift: float) -> Deep:
        hidden = Hidden(self.hidden.inward, self.hidden.bias, self.hidden.outward * factor)
        return Deep(self.linear.scaled(factor, shift), hidden)


def fit(features: Features, answers: Floats, weights: Floats) -> Deep:
    """(N,) 1 or 0 and (N,) weights -> the linear head and the nets."""
    nets = [net(features.state, answers, weights, seed) for seed in range(SEEDS)]
    hidden = Hidden(
        np.concatenate([n.inward for n in nets], axis=1),
        np.concatenate([n.bias for n in nets]),
        np.concatenate([n.outward for n in nets]) / SEEDS,
    )
    return Deep(fit_yes_no(features, answers, weights), hidden)


def net(state: Floats, answers: Floats, weights: Floats, seed: int) -> Hidden:
    """One net, by Adam with decoupled decay (Loshchilov & Hutter 2019) and dropout on both layers.

    The state is standardised first; what that takes is folded into the weights at the end.
    """
    chance = np.random.default_rng(seed)
    mean, scale = state.mean(0), state.std(0) + 1e-6
    seen = ((state - mean) / scale).astype(np.float32)
    target = (answers * (1 - 2 * SMOOTHING) + SMOOTHING).astype(np.float32)[:, None]
    weight = (weights / weights.mean()).astype(np.float32)[:, None]
    wide = state.shape[1]
    parts: list[Any] = [
        chance.uniform(-1, 1, (wide, UNITS)).astype(np.float32) * wide**-0.5,
        np.zeros(UNITS, np.float32),
        chance.uniform(-1, 1, (UNITS, 1)).astype(np.float32) * UNITS**-0.5,
    ]
    first = [np.zeros_like(part) for part in parts]
    second = [np.zeros_like(part) for part in parts]
    steps, step = EPOCHS * -(-len(seen) // BATCH), 0
    for _ in range(EPOCHS):
        order = chance.permutation(len(seen))
        for start in range(0, len(seen), BATCH):
            batch = order[start : start + BATCH]
            slopes = _slopes(parts, seen[batch], target[batch], weight[batch], chance)
            step += 1
            rate = RATE * min(1.0, 2 * (steps - step) / steps)
            for part, slope, one, two in zip(parts, slopes, first, second, strict=True):
                one += 0.1 * (slope - one)
                two += 0.001 * (slope**2 - two)
                move = one / (1 - 0.9**step) / (np.sqrt(two / (1 - 0.999**step)) + 1e-8)
                part -= rate * (move + DECAY * part)
    inward = parts[0] / scale[:, None]
    return Hidden(inward.astype(np.float32), parts[1] - mean @ inward, parts[2])


def _slopes(
    parts: list[Any], seen: Floats, target: Floats, weight: Floats, chance: np.random.Generator
) -> list[Any]:
    """The loss's gradient by each part, over one batch with fresh dropout."""
    inward, bias, outward = parts
    kept = (chance.random(seen.shape, np.float32) > DROPOUT) * np.float32(1 / (1 - DROPOUT))
    given = seen * kept
    unit = np.tanh(given @ inward + bias)
    kept = (chance.random(unit.shape, np.float32) > DROPOUT) * np.float32(1 / (1 - DROPOUT))
    wrong = weight * (sigmoid((unit * kept) @ outward) - target) / len(seen)
    back = (wrong @ outward.T) * kept * (1 - unit**2)
    return [given.T @ back, back.sum(0), (unit * kept).T @ wrong]
