"""The tuner against a month whose truth is known.

    uv run python -m benchmarks.month [--seeds 100] [--requests 200000] [--share 0.02] [--json]

Each seed is a month of conversations. A request has a difficulty that nobody sees; its score is
the difficulty with noise; whether an answer satisfies hangs on the difficulty and the tier. Half of
those whom an answer failed complain in their next turn, if they take one, and one in fifty of the
others do too. A complaint lifts its session. The shipped policy with other cuts routes, and a share
is explored (`fareway.explore`).

Quality is what the ledger can see: the share of answers that no complaint followed. Its truth, and
the oracle, which knows how each request would have been answered by each tier, come from 40,000,000
requests, explored alike, without a draw of luck in what is satisfied. Told are, over all seeds:

- how often the 90 % intervals hold the truth, at the oracle's cuts and of the proposal: of quality,
  its change, cost, and saving;
- how much more the proposal costs than the oracle's cheapest cuts of at least the proposal's own
  true quality, and than its cheapest cuts of at least the present one's;
- how often a proposal truly loses more than the tuner's margin;
- what is proposed with a hundredth of the data, and without exploration.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from fareway.appraise import Appraisal, Point, tier_cuts
from fareway.evidence import Evidence, Floats, Ints, first_price
from fareway.explore import chances
from fareway.policy import TIERS, Policy, load_policy
from fareway.settings import PACKAGE
from fareway.tune import MARGIN, Tuning, tune

TURNS = 8
GOES_ON = 0.65  # chance that a session has another turn
COMPLAINS, GRUMBLES = 0.5, 0.02  # of the failed, of the satisfied
CALM = 2  # turns for which a complaint lifts its session
CAPABLE = (3.0, 4.4, 5.0)  # the difficulty at which a tier satisfies every second time
CUTS = (1.55, 2.4, 2.8, 3.2)  # at present: too much goes to premium, too little to mid
NOISE = 0.45  # of the score
MONTHS, REQUESTS = 40, 1_000_000  # of which the truth is made
SEED = 20261126


@dataclass(frozen=True, slots=True)
class Month:
    """N requests in order of turn and session; what nobody sees included.

    Args:
        satisfying: [N, 3] chance that a tier's answer is not complained of as far as can be seen.
        free: [N] whether cuts alone decide.
        complained: [N] whether a complaint followed.
    """

    session: Ints
    turn: Ints
    score: Floats
    tier: Ints
    propensity: Floats
    explored: NDArray[np.bool_]
    free: NDArray[np.bool_]
    complained: NDArray[np.bool_]
    satisfying: Floats
    prompt_tokens: Ints
    completion_tokens: Ints


def month(
    policy: Policy, requests: int, share: float, seed: int, capable: Sequence[float] = CAPABLE
) -> Month:
    """A month under a policy, of about so many requests."""
    rng = np.random.default_rng(seed)
    sessions = int(requests / ((1 - GOES_ON**TURNS) / (1 - GOES_ON)))
    topic = 1 + 4 * rng.beta(1.2, 1.9, sessions)
    lifted = np.zeros(sessions, dtype=np.int64)  # turns for which it stays lifted
    alive = np.arange(sessions)
    turns = []
    for turn in range(TURNS):
        n = len(alive)
        difficulty = np.clip(topic[alive] + rng.normal(0, 0.4, n), 1, 5)
        score = np.clip(difficulty + rng.normal(0, NOISE, n), 1, 5)
        decided = np.searchsorted(tier_cuts(policy), score, side="right")
        free = lifted[alive] == 0
        tier, propensity = _taken(decided, free, share, rng.random(n))
        goes_on = rng.random(n) < (GOES_ON if turn < TURNS - 1 else 0)
        succeeds = 0.97 / (1 + np.exp(-2.2 * (np.array(capable) - difficulty[:, None])))
        told = COMPLAINS * (1 - succeeds) + GRUMBLES * succeeds
        satisfying = 1 - told * (GOES_ON if turn < TURNS - 1 else 0)
        complained = goes_on & (rng.random(n) < told[np.arange(n), tier])
        tokens = np.exp(rng.normal(0, 0.6, (2, n)))
        turns.append(
            Month(
                alive,
                np.full(n, turn),
                score,
                tier,
                propensity,
                free & (tier != decided),
                free,
                complained,
                satisfying,
                np.ceil(150 * (turn + 1) * tokens[0]).astype(np.int64),
                np.ceil(120 * difficulty * tokens[1]).astype(np.int64),
            )
        )
        lifted[alive] = np.where(complained, CALM, np.maximum(lifted[alive] - 1, 0))
        alive = alive[goes_on]
    columns = zip(*(_columns(t) for t in turns), strict=True)
    return Month(*(np.concatenate(column) for column in columns))


def _columns(part: Month) -> list[Any]:
    return [getattr(part, name) for name in Month.__slots__]


def _taken(
    decided: Ints, free: NDArray[np.bool_], share: float, luck: Floats
) -> tuple[Ints, Floats]:
    """The tier that each takes and its chance, by the router's own; a lifted one goes up."""
    tier = np.minimum(decided + ~free, 2)
    propensity = np.full(len(decided), np.nan)
    for place, name in enumerate(TIERS):
        here = np.flatnonzero(free & (decided == place))
        ways = chances(name, share)
        ends = np.cumsum(list(ways.values()))
        way = np.minimum(np.searchsorted(ends, luck[here], side="right"), len(ways) - 1)
        tier[here] = np.array([TIERS.index(t) for t in ways])[way]
        propensity[here] = np.array(list(ways.values()))[way]
    return tier, propensity


def evidence_of(one: Month, policy: Policy) -> Evidence:
    """The month as the tuner reads it from the ledger, without the way through rows."""
    free = one.free
    return Evidence(
        score=one.score[free],
        tier=one.tier[free],
        propensity=one.propensity[free],
        satisfied=1.0 - one.complained[free],
        nano_usd=nano_usd(one, policy)[free],
        session=one.session[free],
        explored=one.explored[free],
        days=30,
    )


def nano_usd(one: Month, policy: Policy) -> Ints:
    """[N, 3] what each request costs at each tier."""
    columns = []
    for place in range(len(TIERS)):
        price = first_price(policy, place)
        assert not price.above
        micro = [round(float(rate * 1_000)) for rate in (price.input, price.output)]
        columns.append(one.prompt_tokens * micro[0] + one.completion_tokens * micro[1])
    return np.stack(columns, axis=1)


def rows(one: Month) -> Iterator[dict[str, Any]]:
    """The month as the ledger has it."""
    said = {True: "complaint", False: "neutral"}
    before: dict[int, bool] = {}
    for i, session in enumerate(one.session.tolist()):
        hour = i * 24 * 30 / len(one.session)
        day = f"2026-11-{1 + int(hour // 24):02}"
        yield {
            "decision_id": f"dec_{i}",
            "occurred_at": f"{day}T{int(hour % 24):02}:00:00.{i:09}+00:00",
            "tenant_hash": "t",
            "session_hash": f"s{session}",
            "score": float(one.score[i]),
            "tier": TIERS[one.tier[i]],
            "lane": "standard",
            "propensity": float(one.propensity[i]) if one.free[i] else None,
            "explored": bool(one.explored[i]),
            "follow_up": said[before[session]] if session in before else None,
            "session_floor": None,
            "requested_model": "fareway/auto",
            "prompt_tokens": int(one.prompt_tokens[i]),
            "completion_tokens": int(one.completion_tokens[i]),
            "status": 200,
            "classifier_version": "month-1",
        }
        before[session] = bool(one.complained[i])


class Truth:
    """What any two cuts between the tiers come to: quality, and USD of 1,000 requests.

    Cuts are known to two digits, as the tuner's are.
    """

    def __init__(
        self,
        policy: Policy,
        capable: Sequence[float] = CAPABLE,
        months: int = MONTHS,
        share: float = 0.02,
    ) -> None:
        self._capable, self._share = capable, share
        self._edges = np.round(np.arange(1, 5.001, 0.01), 4)
        parts = [self._month(policy, REQUESTS, SEED + i) for i in range(months)]
        total = np.cumsum(np.sum(parts, axis=0), axis=0)
        self._sums = np.concatenate([np.zeros((1, *total.shape[1:])), total])
        lows, highs = np.triu_indices(len(self._edges))
        self._quality, self._usd = self._of(lows + 1, highs + 1)

    def _month(self, policy: Policy, requests: int, seed: int) -> Floats:
        """[stretches, 3, 3] sums of quality, USD and requests by stretch of score and tier."""
        one = month(policy, requests, self._share, seed, self._capable)
        stretch = np.searchsorted(self._edges, one.score[one.free], side="right")
        usd = nano_usd(one, policy)[one.free] / 1e6
        kinds = (one.satisfying[one.free], usd, np.ones_like(usd))
        sums = [
            np.bincount(stretch, kind[:, k], len(self._edges) + 1)
            for kind in kinds
            for k in range(3)
        ]
        return np.stack(sums, axis=1).reshape(-1, 3, 3)

    def _of(self, low: Any, high: Any) -> tuple[Any, Any]:
        s = self._sums
        found = s[low, :, 0] + s[high, :, 1] - s[low, :, 1] + s[-1, :, 2] - s[high, :, 2]
        return found[..., 0] / found[..., 2], found[..., 1] / found[..., 2]

    def of(self, cuts: Sequence[float]) -> tuple[float, float]:
        low, high = np.searchsorted(self._edges, np.round(cuts, 2), side="left") + 1
        quality, usd = self._of(low, high)
        return float(quality), float(usd)

    def cheapest(self, quality: float) -> float:
        """The oracle's least cost of at least this quality."""
        return float(self._usd[self._quality >= quality - 1e-9].min())

    def best(self, quality: float) -> tuple[float, float]:
        """The cuts of that cost."""
        lows, highs = np.triu_indices(len(self._edges))
        place = np.flatnonzero(self._quality >= quality - 1e-9)
        least = place[self._usd[place].argmin()]
        return float(self._edges[lows[least]]), float(self._edges[highs[least]])


def _inside(point: Point, truth: Truth, policy: Policy) -> dict[str, bool]:
    """Which of a point's intervals hold the truth."""
    quality, usd = truth.of(tier_cuts(replace(policy, cuts=point.cuts)))
    quality_0, usd_0 = truth.of(tier_cuts(policy))
    true = {
        "quality": (point.quality, quality),
        "change": (point.quality_change, quality - quality_0),
        "cost": (point.usd_per_1000, usd),
        "saving": (point.saving, 1 - usd / usd_0),
    }
    return {name: e.low <= value <= e.high for name, (e, value) in true.items()}


def _at_oracles(seen: Evidence, truth: Truth, policy: Policy) -> Point:
    """What the tuner says of the oracle's cuts, which no luck of its own picked."""
    quality, _ = truth.of(tier_cuts(policy))
    appraisal = Appraisal(seen, policy)
    return appraisal.point(appraisal.near(*truth.best(quality)))


def _measured(point: Point, truth: Truth, policy: Policy) -> dict[str, float]:
    """What a point truly is."""
    quality, usd = truth.of(tier_cuts(replace(policy, cuts=point.cuts)))
    quality_0, usd_0 = truth.of(tier_cuts(policy))
    return {
        "true_saving": 1 - usd / usd_0,
        "true_change": quality - quality_0,
        "gap_at_its_own_quality": usd / truth.cheapest(quality) - 1,
        "gap_at_the_present_quality": usd / truth.cheapest(quality_0) - 1,
    }


def main() -> None:
    """Reads the arguments, prints the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--share", type=float, default=0.02)
    parser.add_argument("--capable", type=float, nargs=3, default=CAPABLE)
    parser.add_argument("--cuts", type=float, nargs=4, default=CUTS)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    policy = present(given.cuts)
    truth = Truth(policy, given.capable, share=given.share)
    found, fixed, few, blind = [], [], 0, 0
    for seed in range(given.first_seed, given.first_seed + given.seeds):

        def seen(requests: int, share: float, seed: int = seed) -> Evidence:
            return evidence_of(month(policy, requests, share, seed, given.capable), policy)

        whole = seen(given.requests, given.share)
        found.append(tune(whole, policy))
        fixed.append(_inside(_at_oracles(whole, truth, policy), truth, policy))
        few += tune(seen(given.requests // 100, given.share), policy).proposal is not None
        blind += tune(seen(given.requests // 10, 0.0), policy).proposal is not None
    _print(_summary(found, fixed, few, blind, truth, policy), as_json=given.json)


def present(cuts: Sequence[float] = CUTS) -> Policy:
    """The shipped policy with the cuts of the month."""
    return replace(load_policy(PACKAGE / "policy.toml"), cuts=tuple(cuts))


def _summary(
    found: list[Tuning],
    fixed: list[dict[str, bool]],
    few: int,
    blind: int,
    truth: Truth,
    policy: Policy,
) -> dict[str, Any]:
    proposals = [t.proposal for t in found if t.proposal]
    made = [_measured(p, truth, policy) for p in proposals]
    # what stands once the tuner has spoken: its proposal, or the policy as it is
    stands = [_measured(p, truth, policy) for t in found if (p := t.proposal or t.present)]
    quality, usd = truth.of(tier_cuts(policy))
    inside = [_inside(p, truth, policy) for p in proposals]
    return {
        "seeds": len(found),
        "present": {"quality": round(quality, 4), "usd_per_1000": round(usd, 4)},
        "oracle": {
            "cuts": truth.best(quality),
            "saving": round(1 - truth.cheapest(quality) / usd, 4),
        },
        "proposals": len(made),
        "intervals_that_hold_at_the_oracles_cuts": _counted(fixed),
        "intervals_that_hold_of_proposals": _counted(inside),
        **{name: _spread([m[name] for m in made]) for name in (made[0] if made else ())},
        "within_5_percent_at_its_own_quality": sum(
            m["gap_at_its_own_quality"] <= 0.05 for m in made
        ),
        "lost_more_than_margin": sum(m["true_change"] < -MARGIN for m in made),
        "gap_at_the_present_quality_of_what_stands": _spread(
            [m["gap_at_the_present_quality"] for m in stands]
        ),
        "proposals_with_a_hundredth_of_the_data": few,
        "proposals_without_exploration": blind,
    }


def _counted(inside: list[dict[str, bool]]) -> dict[str, int]:
    return {name: sum(one[name] for one in inside) for name in (inside[0] if inside else ())}


def _spread(values: Sequence[float]) -> dict[str, float]:
    ends = {"p5": 0.05, "median": 0.5, "p95": 0.95, "max": 1.0}
    return {name: round(float(np.quantile(values, at)), 4) for name, at in ends.items()}


def _print(summary: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(summary))
        return
    table = Table(title="The tuner against months whose truth is known", show_header=False)
    for name, value in summary.items():
        table.add_row(name.replace("_", " "), json.dumps(value).strip('"'))
    Console().print(table)


if __name__ == "__main__":
    main()
