"""Evidence -> whether anything is to be gained by other cuts at equal quality.

Cheaper cuts that satisfy a little less can always be found, and among many some look better by
luck. So two things are asked. A change in satisfied answers counts at what the frontier takes for
them about the present quality: to save by satisfying fewer is no gain. And who chooses does not
judge: each half of the sessions chooses cuts, and their gain is taken from the other half.
"""

from __future__ import annotations

import numpy as np

from fareway.appraise import BLOCKS, Appraisal, Estimate, Pair, along

#: Shares of answers to either side of the present quality, between which their price is taken.
ABOUT = 0.005
#: Chosen is only what by the model gains this part of the present cost: the least that is worth it.
WORTH = 0.01


def gain(appraisal: Appraisal) -> Estimate:
    """What each half's choice gains in the other, in parts of the present cost.

    Where the present cuts are as good as any, its lower bound is over 0 about once in twenty times.
    """
    present, gained = appraisal.present, np.zeros(BLOCKS)
    for half in (0, 1):
        rate = _nano_per_answer(appraisal, half)
        chosen = _choice(appraisal, half, rate)
        saved = along(appraisal.nano, present) - along(appraisal.nano, chosen)
        won = along(appraisal.quality, chosen) - along(appraisal.quality, present)
        gained += np.where(np.arange(BLOCKS) % 2 != half, saved + rate * won, 0)
    return appraisal.share_of_cost(gained)


def _choice(appraisal: Appraisal, half: int, rate: float) -> Pair:
    """The pair whose gain, by a half's model, stands out most from its noise; else the present."""
    satisfied, noise = appraisal.by_half[half], appraisal.noise_by_half[half]
    present = appraisal.present
    cost, quality = appraisal.cost(present), along(satisfied, present)
    best, chosen = 0.0, present
    for pair in appraisal.pairs():
        gained = cost - appraisal.cost(pair) + rate * float(along(satisfied, pair) - quality)
        if gained >= WORTH * cost:
            variance = float(along(noise, pair) - along(noise, present))
            clear = gained / (rate * max(1.0, variance) ** 0.5 or 1.0)
            best, chosen = max((best, chosen), (clear, pair))
    return chosen


def _nano_per_answer(appraisal: Appraisal, half: int) -> float:
    """What a satisfied answer more costs on a half's frontier, about the present quality."""
    satisfied = appraisal.by_half[half]
    ascending = appraisal.frontier(satisfied)[::-1]
    quality = [float(along(satisfied, pair)) for pair in ascending]
    reach = ABOUT * len(appraisal.seen)
    about = float(along(satisfied, appraisal.present)) + np.array([-reach, reach])
    low, high = np.interp(about, quality, [appraisal.cost(pair) for pair in ascending])
    few, many = np.clip(about, quality[0], quality[-1])
    return float((high - low) / (many - few)) if many > few else 0.0
