"""Labelled prompts and what the classifier says of them -> what each head learns, and if it may.

A head is judged by what the policy decides with it, on prompts that its correction has not seen.

Shapes: N prompts, C the encoder's width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fareway.errors import BadRequest
from fareway.policy import Policy
from fareway.rows import Row
from fareway.train import Compared, Correction, Floats, auc, expected, fit, held_out

LEAST_ROWS = 30  # different prompts


@dataclass(frozen=True, slots=True)
class Labels:
    """What a row says of its prompt. Complexity 1 to 5; sensitive None where it says nothing."""

    complexity: int
    sensitive: bool | None


@dataclass(frozen=True, slots=True)
class Seen:
    """N prompts as the classifier sees them.

    Args:
        texts: as `render` makes them.
        states: (N, C) the encoder's vectors.
        complexity: (N, 5) probabilities of 1 to 5.
        sensitivity: (N, 2) probabilities of not sensitive and sensitive.
    """

    texts: list[str]
    states: Floats
    complexity: Floats
    sensitivity: Floats


@dataclass(frozen=True, slots=True)
class Learned:
    """What a head learned.

    Args:
        report: (figure, before, after) on the held-out prompts, for people.
        compared: before against after; says whether the correction may be taken.
        correction: fitted on all prompts.
    """

    report: list[tuple[str, str, str]]
    compared: Compared
    correction: Correction


def read_labels(row: Row) -> Labels | None:
    """A row's labels; None where it has no complexity (`fareway label` could not tell it).

    Raises:
        BadRequest: the row or a label is not what it should be, with the line's number.
    """
    complexity, sensitive = row.entry.get("complexity"), row.entry.get("sensitive")
    if row.messages is None:
        raise BadRequest(row.fault)
    if complexity is None:
        return None
    if type(complexity) is not int or not 1 <= complexity <= 5:
        raise BadRequest(f"line {row.number}: its complexity is no integer from 1 to 5")
    if not isinstance(sensitive, bool | None):
        raise BadRequest(f"line {row.number}: its sensitive is neither true nor false")
    return Labels(complexity, sensitive)


def learn(policy: Policy, seen: Seen, labels: Sequence[Labels]) -> dict[str, Learned]:
    """What each head learns, by the graph's output; sensitivity only where both kinds are labelled.

    Raises:
        BadRequest: fewer than `LEAST_ROWS` different prompts.
    """
    different = len(set(seen.texts))
    if different < LEAST_ROWS:
        raise BadRequest(f"{different} different prompts are labelled; {LEAST_ROWS} are needed")
    learned = {"complexity": _complexity(policy, seen, np.array([of.complexity for of in labels]))}
    known = [number for number, label in enumerate(labels) if label.sensitive is not None]
    kinds = {labels[number].sensitive for number in known}
    if len({seen.texts[number] for number in known}) >= LEAST_ROWS and len(kinds) == 2:
        part = Seen(
            [seen.texts[number] for number in known],
            seen.states[known],
            seen.complexity[known],
            seen.sensitivity[known],
        )
        sensitive = np.array([bool(labels[number].sensitive) for number in known])
        learned["sensitivity"] = _sensitivity(policy, part, sensitive)
    return learned


def _complexity(policy: Policy, seen: Seen, labels: Any) -> Learned:
    """Shapes: (N,) labels of 1 to 5."""
    after = held_out(seen.texts, seen.states, seen.complexity, labels - 1)
    scores = [expected(p) for p in (seen.complexity, after)]
    said = [np.array([policy.complexity(score) for score in of]) for of in scores]
    tiers = [[policy.tier(complexity) for complexity in of] for of in (*said, labels)]
    right = [(of == labels).astype(float) for of in said]
    above = labels > max(policy.tiers["cheap"].complexity)
    report = [
        _figure("complexity right", *(of.mean() for of in right)),
        _figure("tier right", *(np.mean(np.array(of) == tiers[2]) for of in tiers[:2])),
        _figure("AUC, above cheap", *(auc(of, above) for of in scores)),
    ]
    correction = fit(seen.states, seen.complexity, labels - 1)
    return Learned(report, Compared(*right), correction)


def _sensitivity(policy: Policy, seen: Seen, sensitive: Any) -> Learned:
    """Shapes: (N,) labels of False and True."""
    labels = sensitive.astype(np.int64)
    after = held_out(seen.texts, seen.states, seen.sensitivity, labels)
    scores = [p[:, 1] for p in (seen.sensitivity, after)]
    flagged = [of >= policy.sensitivity.threshold for of in scores]
    right = [(of == sensitive).astype(float) for of in flagged]
    missed = [str(np.sum(sensitive & ~of)) for of in flagged]
    alarms = [str(np.sum(~sensitive & of)) for of in flagged]
    report = [
        _figure("sensitivity right", *(of.mean() for of in right)),
        _figure("AUC, sensitive", *(auc(of, sensitive) for of in scores)),
        (f"missed of {sensitive.sum()} sensitive", missed[0], missed[1]),
        (f"false alarms of {(~sensitive).sum()}", alarms[0], alarms[1]),
    ]
    return Learned(report, Compared(*right), fit(seen.states, seen.sensitivity, labels))


def _figure(name: str, before: float | None, after: float | None) -> tuple[str, str, str]:
    said = ["-" if value is None else f"{value:.3f}" for value in (before, after)]
    return name, said[0], said[1]
