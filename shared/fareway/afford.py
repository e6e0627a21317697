"""A decision + what the key has left -> the decision that it can pay for, and its reservation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Protocol

from fareway.budget import Reservation
from fareway.caller import Caller
from fareway.decide import Candidate, Decision, decide, estimate_usd
from fareway.errors import BadRequest, BudgetExceeded
from fareway.policy import TIERS, Policy
from fareway.record import Asked, Routed
from fareway.wire import ChatRequest, Request


class Spending(Protocol):
    async def reserve(
        self, caller: Caller, estimate_usd: Decimal, *, over: bool = False
    ) -> Reservation | None: ...
    async def settle(self, held: Reservation | None, cost_usd: Decimal | None) -> None: ...


async def afford(
    policy: Policy,
    aggregators: Iterable[str],
    budgets: Spending,
    asked: Asked[Request],
    routed: Routed,
) -> tuple[Routed, Reservation | None]:
    """Reserves for the dearest candidate that dispatch may come to.

    Where the budget has no room for that one, those stay that it has room for: a limit of many
    completion tokens must not shut out a cheap model because a premium one stands behind it.

    Returns: the decision, as it is, with fewer candidates, or degraded; and what `settle` takes.

    Raises:
        BudgetExceeded: no candidate fits, and the key is not one to be degraded.
    """
    if not asked.caller.allowance.has_budget:
        return routed, None
    left, refused = routed.decision.candidates, None
    costs = {c: _cost_usd(policy, c, routed) for c in left}
    while left:
        dearest = max(costs[c] for c in left)
        try:
            held = await budgets.reserve(asked.caller, dearest)
        except BudgetExceeded as error:
            refused = error
            left = tuple(c for c in left if costs[c] <= error.left_usd and costs[c] < dearest)
        else:
            return replace(routed, decision=_narrowed(routed.decision, left)), held
    assert refused is not None  # a decision has at least one candidate
    cheap = _degraded(policy, aggregators, asked, routed, refused)
    dearest = max(_cost_usd(policy, c, cheap) for c in cheap.decision.candidates)
    return cheap, await budgets.reserve(asked.caller, dearest, over=True)


def _cost_usd(policy: Policy, candidate: Candidate, routed: Routed) -> Decimal:
    """An estimate; a model without a known price is taken to cost what the baseline does."""
    price = candidate.price or policy.baseline_price()
    table = policy.models[candidate.model] if candidate.tier else None
    return estimate_usd(policy, price, routed.needs, table.max_output if table else None)


def _narrowed(decision: Decision, left: tuple[Candidate, ...]) -> Decision:
    out = dict.fromkeys(c.model for c in decision.candidates if c not in left)
    if not out:
        return decision
    reasons = (*decision.reasons, f"over budget for {', '.join(out)}")
    return replace(decision, candidates=left, reasons=reasons)


def _degraded(
    policy: Policy,
    aggregators: Iterable[str],
    asked: Asked[Request],
    routed: Routed,
    refused: BudgetExceeded,
) -> Routed:
    """The same request at the cheap tier, also where it named a model of its own.

    Raises:
        BudgetExceeded: `refused`, where the key is not to be degraded, or the request is bound to
            more than the cheap tier or needs what no model of it can do.
    """
    allowed = asked.caller.allowance.over_budget == "degrade" and asked.bounds.min_tier == TIERS[0]
    if not allowed or not isinstance(asked.request, ChatRequest):  # no model embeds for another
        raise refused
    try:
        decision = decide(
            policy, aggregators, routed.found.verdict, asked.bounds.degraded(), routed.needs
        )
    except BadRequest:
        raise refused from None
    if "over budget" not in decision.reason:
        decision = replace(decision, reasons=(*decision.reasons, "over budget"))
    return replace(routed, decision=decision)
