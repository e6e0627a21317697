"""Evidence -> cheaper cuts that are not shown to satisfy less, or why there are none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fareway.appraise import Appraisal, Estimate, Point
from fareway.evidence import Evidence
from fareway.gain import WORTH, gain
from fareway.policy import Policy

#: How much of the satisfied share may be lost: a proposal is shown to lose less.
MARGIN = 0.005
#: Answers that other tiers gave to the requests that would move, and sessions in all: fewer are
#: too few. Sessions are what the intervals come from.
ENOUGH = 100
#: Points of the curve that are told.
POINTS = 25


@dataclass(frozen=True, slots=True)
class Tuning:
    """What was found.

    Args:
        present: the policy as it is; None where nothing can be said.
        curve: the best cuts for less and less cost, the dearest first.
        proposal: None where there is none; `why` says why, or what speaks for it.
        requests, explored: how many counted, and how many of them were explored.
        usd: what the requests would cost at the present cuts, by the same prices, USD.
        gain: what other cuts gain at equal quality, in parts of that cost (`fareway.gain`).
    """

    present: Point | None
    curve: tuple[Point, ...]
    proposal: Point | None
    why: str
    requests: int
    explored: int
    usd: float = 0.0
    gain: Estimate | None = None


def tune(seen: Evidence, policy: Policy, margin: float = MARGIN, seed: int = 0) -> Tuning:
    """Finds the cheapest cuts whose quality is not shown to fall.

    Cuts on the way to equal quality (`Appraisal.way_down`) are tried one after the other, as long
    as the lower bound of the change in quality is above `-margin`; the last that holds is proposed,
    if the present cuts are shown to waste anything (`gain`). In this order about one proposal in
    twenty loses more, however many are tried.

    Args:
        margin: what may be lost of the satisfied share, 0 to 1.
        seed: of the bootstrap.
    """
    explored = int(seen.explored.sum())
    if not explored:
        why = (
            "It cannot be told what other tiers would have answered: nothing was explored. Set "
            "`share` under [exploration] in policy.toml."
        )
        return Tuning(None, (), None, why, len(seen), 0)
    if explored < ENOUGH:
        why = f"Too few data: {explored} answers of {len(seen)} were explored, {ENOUGH} are needed"
        return Tuning(None, (), None, f"{why}{_when(explored, seen.days)}.", len(seen), explored)
    sessions = len(np.unique(seen.session))
    if sessions < ENOUGH:
        why = f"Too few data: the requests are of {sessions} sessions, {ENOUGH} are needed."
        return Tuning(None, (), None, why, len(seen), explored)
    appraisal = Appraisal(seen, policy, seed)
    present, frontier = appraisal.point(appraisal.present), appraisal.frontier()
    held = None
    for pair in appraisal.way_down():
        point = appraisal.point(pair)
        if point.quality_change.low <= -margin:
            break
        held = point
    gained = gain(appraisal)
    proposal, why = _judged(held, gained, margin)
    every = max(1, len(frontier) // POINTS)
    curve = tuple(appraisal.point(pair) for pair in frontier[::every])
    usd = appraisal.cost(appraisal.present) / 1e9
    return Tuning(present, curve, proposal, why, len(seen), explored, usd, gained)


def _judged(held: Point | None, gained: Estimate, margin: float) -> tuple[Point | None, str]:
    """The point, if it is worth proposing, and why."""
    if held is None:
        return None, (
            f"No cheaper cuts are shown to lose less than {margin:.1%} of satisfied answers."
        )
    if held.effective < ENOUGH:
        return None, (
            f"Too few data: of the requests that would move, {held.effective:.0f} got the answer "
            f"of the other tier, {ENOUGH} are needed."
        )
    if gained.low <= 0:
        return None, (
            f"It is not shown that anything is saved at equal quality: {gained.value:.1%} of the "
            f"cost ({gained.low:.1%} to {gained.high:.1%})."
        )
    if held.saving.low <= 0 or held.saving.value < WORTH:
        return None, f"Not worth a change: it would save {held.saving.value:.1%}."
    return held, (
        f"Saves {held.saving.value:.1%} ({held.saving.low:.1%} to {held.saving.high:.1%}); the "
        f"share of satisfied answers changes by {held.quality_change.value:+.2%} "
        f"({held.quality_change.low:+.2%} to {held.quality_change.high:+.2%})."
    )


def _when(explored: int, days: float) -> str:
    if days <= 0:
        return ""
    return f"; at this rate in {(ENOUGH - explored) * days / explored:.0f} days"
