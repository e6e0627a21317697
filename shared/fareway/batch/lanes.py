"""A row and its verdict -> where it is answered: a batch endpoint, or an aggregator in real time.

The policy decides as it does for a request. Within the decided tier the first model with a batch
endpoint is taken; a tier that has none is asked in real time; and where no aggregator has a key
either, the row climbs to the next tier that has a batch endpoint.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from fareway.asks import Bounds, Needs
from fareway.batch.rows import Row
from fareway.decide import PREFIX, Candidate, Decision, decide, pass_through, pinned_tier
from fareway.errors import NoAggregator
from fareway.policy import Policy, Tier
from fareway.prices import Price, Usage
from fareway.verdict import Verdict

REALTIME = "realtime"
#: What a batch endpoint of Anthropic's can be told here of a message.
_PLAIN = ("text", "image_url")


@dataclass(frozen=True, slots=True)
class Offers:
    """Who can be asked: those with a key.

    Args:
        providers: of batch endpoints: `openai`, `anthropic`.
        aggregators: in the policy's order.
    """

    providers: Collection[str]
    aggregators: Sequence[str]


@dataclass(frozen=True, slots=True)
class Lane:
    """Where a row goes.

    Args:
        provider: `openai`, `anthropic`, or `realtime`.
        model: the policy's name of it, or the one that the row named.
        id: its name at the provider; of a batch endpoint alone.
        tier: None where the row named a model of its own.
        candidates: of `realtime`: (aggregator, model, id, tier) in order.
    """

    provider: str
    model: str
    id: str
    tier: Tier | None
    price: Price | None
    candidates: tuple[Candidate, ...] = ()

    @property
    def batch(self) -> bool:
        return self.provider != REALTIME


def decision_of(policy: Policy, offers: Offers, row: Row, verdict: Verdict) -> Decision:
    """Where a row would go if it were a request.

    Raises:
        BadRequest: no model can do what it needs.
    """
    if not row.model.startswith(PREFIX):
        return pass_through(policy, offers.aggregators or policy.aggregators, row.model)
    needs = Needs.of({"messages": row.messages}, row.max_tokens, 1)
    aggregators = tuple(policy.aggregators) if offers.providers else tuple(offers.aggregators)
    return decide(policy, aggregators, verdict, Bounds(), needs, pinned_tier(row.model))


def lane_of(policy: Policy, offers: Offers, row: Row, decision: Decision) -> Lane:
    """The lane of a decided row.

    Raises:
        NoAggregator: it can be answered nowhere for want of a key.
    """
    batches = filter(None, (_batch_lane(policy, offers, row, c) for c in decision.candidates))
    batch = next(batches, None)
    if batch is not None and batch.tier == decision.tier:
        return batch
    callable_ = tuple(c for c in decision.candidates if c.aggregator in offers.aggregators)
    if callable_:
        first = callable_[0]
        return Lane(REALTIME, first.model, first.id, first.tier, first.price, callable_[:4])
    if batch is not None:
        return batch
    raise NoAggregator(
        f"Nothing that has a key answers {decision.candidates[0].model}: set an aggregator's key, "
        "or that of a provider with a batch endpoint."
    )


def _batch_lane(policy: Policy, offers: Offers, row: Row, candidate: Candidate) -> Lane | None:
    table = policy.models.get(candidate.model)
    batch = table.batch if table else None
    if batch is None or batch.provider not in offers.providers:
        return None
    if batch.provider == "anthropic" and not plain(row.messages):
        return None
    price = policy.prices.find(batch.model) or candidate.price
    return Lane(batch.provider, candidate.model, batch.model, candidate.tier, price)


def plain(messages: Sequence[dict[str, Any]]) -> bool:
    """Whether the messages are of texts and pictures alone, which both providers take."""
    return all(
        m["role"] not in ("tool", "function")
        and not m.get("tool_calls")
        and not m.get("function_call")
        and (
            isinstance(m.get("content"), str)
            or all(p.get("type") in _PLAIN for p in m.get("content") or [{}])
        )
        for m in messages
    )


@dataclass(frozen=True, slots=True)
class Guess:
    """What a row is expected to cost, USD: in its lane, at once, and at the baseline at once."""

    prompt_tokens: int
    completion_tokens: int
    cost_usd: Decimal | None
    realtime_usd: Decimal | None
    baseline_usd: Decimal


def guess(policy: Policy, lane: Lane, row: Row, expected_tokens: int) -> Guess:
    """Of a row's length, and of as many completion tokens as are expected, or as it allows."""
    needs = Needs.of({"messages": row.messages}, row.max_tokens, 1)
    usage = Usage(needs.prompt_tokens, min(row.max_tokens or expected_tokens, expected_tokens))
    batched = Usage(usage.prompt_tokens, usage.completion_tokens, batch=lane.batch)
    return Guess(
        usage.prompt_tokens,
        usage.completion_tokens,
        None if lane.price is None else lane.price.cost_usd(batched),
        None if lane.price is None else lane.price.cost_usd(usage),
        policy.baseline_price().cost_usd(usage),
    )
