"""An input file -> slices of rows -> what is decided of each row.

`split` runs once a job; `classify` once a slice, wherever a worker is free.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import IO, Any, Protocol

from fareway.batch.job import SLICE, Job, put_line
from fareway.batch.lanes import Guess, Lane, Offers, decision_of, guess, lane_of
from fareway.batch.rows import Row, read
from fareway.decide import Decision
from fareway.errors import FarewayError
from fareway.policy import Policy
from fareway.render import render
from fareway.verdict import Verdict


class Scorer(Protocol):
    """Texts -> verdicts in their order: the classifier, from short to long."""

    def __call__(self, texts: Sequence[str]) -> list[Verdict]: ...


def split(job: Job, file: IO[bytes]) -> int:
    """The input -> slices of rows -> how many rows there are.

    Raises:
        BadRequest: the file cannot be read as one of prompts.
    """
    asked = job.asked()
    assert asked is not None
    _, rows = read(file, asked.format)
    total = 0
    while part := list(islice(rows, SLICE)):
        with job.store.write(f"rows/{total // SLICE:06}.jsonl") as target:
            for row in part:
                target.write(row.json().encode() + b"\n")
        total += len(part)
    job.keep("rows.json", {"rows": total})
    return total


def classify(job: Job, key: str, policy: Policy, offers: Offers, scorer: Scorer) -> int:
    """One slice of rows -> where each goes -> how many rows it has.

    Args:
        key: of the slice, `rows/000000.jsonl`.
    """
    asked = job.asked()
    assert asked is not None
    rows = [Row.of(line) for line in job.lines(key)]
    sound = [row for row in rows if not row.fault]
    verdicts = dict(
        zip(
            (row.line for row in sound),
            scorer([render(row.messages) for row in sound]),
            strict=True,
        )
    )
    with job.store.write(decided_key(key)) as target:
        for row in rows:
            if row.fault:
                put_line(target, {"line": row.line, "fault": row.fault})
                continue
            verdict = verdicts[row.line]
            try:
                decision = decision_of(policy, offers, row, verdict)
                lane = lane_of(policy, offers, row, decision)
            except FarewayError as error:
                put_line(target, {"line": row.line, "fault": error.message})
                continue
            expected = guess(policy, lane, row, asked.expected_tokens)
            put_line(target, _told(row, verdict, decision, lane, expected))
    return len(rows)


def decided_key(key: str) -> str:
    """`rows/000000.jsonl` -> `decided/000000.jsonl`."""
    return "decided/" + key.removeprefix("rows/")


def _told(
    row: Row, verdict: Verdict, decision: Decision, lane: Lane, expected: Guess
) -> dict[str, Any]:
    return {
        "line": row.line,
        "p": verdict.probabilities,
        "sensitivity": verdict.sensitivity,
        "classifier": verdict.classifier,
        "complexity": decision.complexity,
        "score": verdict.score,
        "tier": lane.tier,
        "lane": decision.lane,
        "reason": _reason(decision, lane),
        "provider": lane.provider,
        "model": lane.model,
        "id": lane.id,
        "candidates": [[c.aggregator, c.model, c.id, c.tier] for c in lane.candidates],
        "expected": [
            expected.prompt_tokens,
            expected.completion_tokens,
            *(
                None if usd is None else f"{usd:f}"
                for usd in (expected.cost_usd, expected.realtime_usd)
            ),
            f"{expected.baseline_usd:f}",
        ],
    }


def _reason(decision: Decision, lane: Lane) -> str:
    if lane.tier == decision.tier:
        return decision.reason
    return f"{decision.reason}; climbed from {decision.tier} to {lane.tier}"


def decided(job: Job) -> Iterator[tuple[Row, dict[str, Any]]]:
    """Each row with what was decided of it, in the file's order."""
    for key in job.slices():
        pairs = zip(job.lines(key), job.lines(decided_key(key)), strict=True)
        yield from ((Row.of(row), json.loads(told)) for row, told in pairs)


def unclassified(job: Job) -> list[str]:
    """The slices that are still to be classified."""
    done = set(job.store.keys("decided/"))
    return [key for key in job.slices() if decided_key(key) not in done]
