"""Rows and results -> answers in the file's order, what failed, the sums, and the cost events.

Results come in no order, so they are sorted on disk. Everything written is the same each time: an
event that reaches the ledger twice is counted once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from fareway.batch.charge import Paid, event_of, paid_for
from fareway.batch.job import Asked, Job, name_of, put_line
from fareway.batch.lanes import REALTIME
from fareway.batch.output import Errors, answers_file
from fareway.batch.plan import seen
from fareway.batch.results import by_line
from fareway.batch.slices import decided
from fareway.batch.submit import RETRY
from fareway.caller import Caller
from fareway.errors import BadRequest
from fareway.ledger import LOG_MESSAGE
from fareway.policy import Policy


@dataclass(slots=True)
class Summary:
    """What came of a job; a row is counted under one status."""

    statuses: Counter[str] = field(default_factory=Counter)
    tiers: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    in_real_time: int = 0
    unpriced: int = 0
    estimated: int = 0
    cost_usd: Decimal = Decimal(0)
    realtime_usd: Decimal = Decimal(0)
    baseline_usd: Decimal = Decimal(0)
    prompt_tokens: int = 0
    completion_tokens: int = 0


def collect(job: Job, policy: Policy, caller: Caller, *, partial: bool = False) -> dict[str, Any]:
    """Writes `out/` and the events -> the summary.

    Args:
        caller: whose costs they are.
        partial: also where some results are still to come.

    Raises:
        BadRequest: they are not all here.
    """
    asked, plan = job.asked(), job.document("plan.json")
    if asked is None or plan is None:
        raise BadRequest("Nothing was planned here yet.")
    missing = pending(job)
    if missing and not partial:
        raise BadRequest(f"{len(missing)} of {len(plan['files'])} files have no results yet.")
    summary = Summary()
    with ExitStack() as stack:
        outcome_of = stack.enter_context(by_line(job))
        first_of = stack.enter_context(seen())
        name = asked.name
        answers = answers_file(
            stack.enter_context(job.store.write(f"out/{name}.{asked.format}")), asked
        )
        errors = Errors(stack.enter_context(job.store.write(f"out/{name}.errors.csv")))
        events = stack.enter_context(job.store.write("events.jsonl"))
        for row, told in decided(job):
            if "fault" in told:
                summary.statuses["invalid"] += 1
                answers.put(row, {"status": "invalid"})
                errors.put(row, "invalid", told["fault"])
                continue
            line = first_of(row) if asked.dedupe else row.line
            outcome = outcome_of(line, row)
            paid = None if outcome is None else paid_for(policy, told, row, outcome)
            status = "pending" if outcome is None else str(outcome["status"])
            duplicate = line != row.line
            answers.put(row, _answer(told, outcome, paid, status, duplicate))
            if status not in ("succeeded", "pending"):
                assert outcome is not None
                errors.put(row, status, outcome["error"])
            _count(summary, told, outcome, paid, status, duplicate)
            if outcome is not None and not duplicate:
                event = event_of(policy, caller, asked, row, told, outcome, paid)
                put_line(events, {"message": LOG_MESSAGE, "event": event.record()})
    document = _told(summary, asked, plan, missing)
    job.keep(f"out/{name}.summary.json", document)
    return document


def pending(job: Job) -> list[str]:
    """Names of the request files that have no results yet, second tries too."""
    there = {name_of(key) for key in job.store.keys("results/")}
    plan = job.document("plan.json") or {"files": []}
    retries = [
        name for key in job.store.keys("requests/") if (name := name_of(key)).endswith(RETRY)
    ]
    return [n for n in [*(file["name"] for file in plan["files"]), *retries] if n not in there]


def _answer(
    told: Mapping[str, Any],
    outcome: Mapping[str, Any] | None,
    paid: Paid | None,
    status: str,
    duplicate: bool,
) -> dict[str, Any]:
    """The output's own columns of a row."""
    usage = paid.bill.usage if paid else None
    cost = paid.bill.cost_usd if paid else None
    return {
        "answer": outcome["answer"] if outcome else "",
        "model": (outcome["model"] if outcome else "") or told["model"],
        "tier": (outcome or {}).get("tier") or told["tier"],
        "cost_usd": None if cost is None else f"{Decimal(0) if duplicate else cost:f}",
        "prompt_tokens": usage.prompt_tokens if usage else None,
        "completion_tokens": usage.completion_tokens if usage else None,
        "status": status,
    }


def _count(
    summary: Summary,
    told: Mapping[str, Any],
    outcome: Mapping[str, Any] | None,
    paid: Paid | None,
    status: str,
    duplicate: bool,
) -> None:
    summary.statuses[status] += 1
    summary.duplicates += duplicate
    if paid is None or outcome is None or duplicate:
        return
    summary.tiers[outcome.get("tier") or told["tier"] or "direct"] += 1
    summary.models[outcome["model"] or told["model"]] += 1
    summary.in_real_time += told["provider"] == REALTIME
    summary.prompt_tokens += paid.bill.usage.prompt_tokens
    summary.completion_tokens += paid.bill.usage.completion_tokens
    summary.estimated += paid.bill.source == "estimated"
    if paid.bill.cost_usd is None or paid.realtime_usd is None:
        summary.unpriced += 1
        return
    summary.cost_usd += paid.bill.cost_usd
    summary.realtime_usd += paid.realtime_usd
    summary.baseline_usd += paid.baseline_usd


def _told(
    summary: Summary, asked: Asked, plan: Mapping[str, Any], missing: list[str]
) -> dict[str, Any]:
    at_once = (
        f"{summary.in_real_time} rows were asked in real time at full price: no batch endpoint "
        "that has a key takes them."
    )
    return {
        "name": asked.name,
        "rows": sum(summary.statuses.values()),
        "statuses": dict(summary.statuses),
        "tiers": dict(summary.tiers),
        "models": dict(summary.models),
        "duplicates_not_paid": summary.duplicates,
        "in_real_time": summary.in_real_time,
        "cost": {
            "cost_usd": f"{summary.cost_usd:f}",
            "estimate_usd": plan["estimate"]["cost_usd"],
            "same_models_in_real_time_usd": f"{summary.realtime_usd:f}",
            "all_premium_in_real_time_usd": f"{summary.baseline_usd:f}",
            "prompt_tokens": summary.prompt_tokens,
            "completion_tokens": summary.completion_tokens,
            "unpriced_rows": summary.unpriced,
            "estimated_rows": summary.estimated,
        },
        "files_without_results": missing,
        "notes": [at_once] if summary.in_real_time else [],
        "policy_version": asked.policy_version,
        "classifier_version": asked.classifier_version,
    }
