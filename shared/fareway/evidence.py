"""Rows of the ledger -> what they tell of cuts: the requests that cuts alone move.

A row counts where exploration might have sent it elsewhere, which its `propensity` says: the
standard lane, no pin, no bounds, no session's floor. What is known of an answer is its user's
rating, the latest one; where there is none, what the user did next: a complaint in the session's
next turn is a failure, all else counts as satisfied. A failure of which nobody speaks is not seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fareway.decide import tier_candidates
from fareway.policy import TIERS, Policy
from fareway.prices import NANO, Price, Usage

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
#: A row by the ledger's columns, as JSON or as Athena's text, with its latest `rating`, up or down.
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Evidence:
    """N requests that cuts alone move, as columns.

    Args:
        score: [N] expected complexity, 1.0 to 5.0.
        tier: [N] of the tier that answered, its place in TIERS.
        propensity: [N] chance, over 0 to 1, that it was this tier.
        satisfied: [N] 1.0, or 0.0 where the answer failed.
        nano_usd: [N, 3] what the same tokens cost at each tier's first model, nano-USD.
        session: [N] number of the session; requests of one session are not independent.
        explored: [N] whether another tier answered than the cuts' own.
        days: from the first row to the last, days.
        left_out: why -> how many rows.
    """

    score: Floats
    tier: Ints
    propensity: Floats
    satisfied: Floats
    nano_usd: Ints
    session: Ints
    explored: NDArray[np.bool_]
    days: float = 0.0
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.score)


def evidence(rows: Iterable[Row], policy: Policy) -> Evidence:
    """Reads rows, in any order; one that came twice counts once.

    Args:
        policy: whose first models say what a tier costs. Scores of another classifier than the
            newest row's mean something else, and are left out.
    """
    events = sorted({str(r["decision_id"]): r for r in rows}.values(), key=_moment)
    failed = failures(events)
    newest = next((e["classifier_version"] for e in reversed(events) if _scored(e)), None)
    left_out: Counter[str] = Counter()
    kept: list[Row] = []
    for event in events:
        if why := _left_out(event, str(newest)):
            left_out[why] += 1
        else:
            kept.append(event)
    sessions: dict[object, int] = {}
    prices = [first_price(policy, place) for place in range(len(TIERS))]
    return Evidence(
        score=np.array([float(e["score"]) for e in kept], dtype=np.float64),
        tier=np.array([TIERS.index(e["tier"]) for e in kept], dtype=np.int64),
        propensity=np.array([float(e["propensity"]) for e in kept], dtype=np.float64),
        satisfied=np.array([e["decision_id"] not in failed for e in kept], dtype=np.float64),
        nano_usd=_costs(kept, prices),
        session=np.array(
            [sessions.setdefault(_session(e), len(sessions)) for e in kept], dtype=np.int64
        ),
        explored=np.array([_is(e["explored"]) for e in kept], dtype=np.bool_),
        days=_days(events),
        left_out=dict(left_out),
    )


def failures(events: Sequence[Row]) -> set[str]:
    """Decision ids of the answers that failed; `events` in the order in which they came.

    A session's floor that is higher a turn later was raised by a complaint or by a thumb down. A
    rating of the answer itself says more than the next turn's words.
    """
    failed = {e["decision_id"] for e in events if e.get("rating") == "down"}
    praised = {e["decision_id"] for e in events if e.get("rating") == "up"}
    before: dict[object, Row] = {}
    for event in events:
        if not event.get("session_hash"):
            continue
        last = before.get(_session(event))
        if last and (event.get("follow_up") == "complaint" or _floor(event) > _floor(last)):
            failed.add(last["decision_id"])
        before[_session(event)] = event
    return failed - praised


def first_price(policy: Policy, place: int) -> Price:
    """The price of a tier's first model, where it is tried first."""
    candidates = tier_candidates(policy, tuple(policy.aggregators), TIERS[place], False)
    price = candidates[0].price
    assert price is not None  # load_policy refuses an unpriced model
    return price


def _left_out(event: Row, classifier: str) -> str | None:
    """Why a row says nothing of cuts."""
    if event.get("lane") != "standard" or not _scored(event):
        return "not in the standard lane"
    if event.get("requested_model") != "fareway/auto":
        return "pinned to a tier"
    if int(event["status"]) != 200 or event.get("tier") not in TIERS:
        return "not answered"
    if event.get("propensity") in (None, ""):
        return "not open to exploration"
    if event["classifier_version"] != classifier:
        return "scored by an earlier classifier"
    if event.get("prompt_tokens") in (None, "") or event.get("completion_tokens") in (None, ""):
        return "tokens not known"
    return None


def _costs(events: Sequence[Row], prices: Sequence[Price]) -> Ints:
    costs = np.zeros((len(events), len(prices)), dtype=np.int64)
    for row, event in enumerate(events):
        used = Usage(int(event["prompt_tokens"]), int(event["completion_tokens"]))
        costs[row] = [int(price.cost_usd(used) / NANO) for price in prices]
    return costs


def _scored(event: Row) -> bool:
    return event.get("score") not in (None, "")


def _session(event: Row) -> object:
    """A request without a session is one of its own."""
    name = event.get("session_hash")
    return (event["tenant_hash"], name) if name else event["decision_id"]


def _floor(event: Row) -> int:
    floor = event.get("session_floor")
    return TIERS.index(floor) if floor in TIERS else -1


def _moment(event: Row) -> str:
    return str(event["occurred_at"])


def _is(value: object) -> bool:
    return value is True or value == "true"


def _days(events: Sequence[Row]) -> float:
    if not events:
        return 0.0
    first, last = (datetime.fromisoformat(_moment(events[i])) for i in (0, -1))
    return (last - first).total_seconds() / 86_400
