"""THE request: cache | classify -> policy -> dispatch -> bill -> record."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from fareway.bill import Bill, bill, estimate_usage
from fareway.cache import Hit, cache_key, prompt_hash
from fareway.cost import CostEvent
from fareway.decide import (
    PREFIX,
    Bounds,
    Candidate,
    Decision,
    Needs,
    decide,
    pass_through,
    pinned_tier,
)
from fareway.dispatch import Trail
from fareway.errors import AllCandidatesFailed, UpstreamRejected
from fareway.keys import Caller
from fareway.log import log
from fareway.policy import Policy
from fareway.providers.aggregator import Completion
from fareway.render import render
from fareway.verdict import Verdict
from fareway.wire import ChatRequest


class Scorer(Protocol):
    version: str

    def score(self, text: str) -> Verdict: ...


class Memory(Protocol):
    def get_local(self, key: str) -> Verdict | None: ...
    async def get(self, key: str) -> Verdict | None: ...
    async def put(self, key: str, verdict: Verdict) -> None: ...


class Dispatch(Protocol):
    async def dispatch(
        self,
        candidates: Sequence[Candidate],
        body: Mapping[str, Any],
        deadline: float,
        trail: Trail,
    ) -> tuple[Candidate, Completion]: ...


class Recorder(Protocol):
    async def record(self, event: CostEvent) -> str: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was let in.

    Units: `begun` and `deadline` seconds on `time.monotonic`.
    """

    chat: ChatRequest
    caller: Caller
    bounds: Bounds
    session_hash: str | None
    begun: float
    deadline: float


@dataclass(frozen=True, slots=True)
class Routed:
    """A decision with what led to it. Units: milliseconds."""

    decision_id: str
    decision: Decision
    verdict: Verdict | None
    cache_hit: Hit
    prompt_hash: str
    needs: Needs
    cache_ms: float = 0.0
    classifier_ms: float = 0.0
    cache_key: str | None = None  # where the verdict is new and worth keeping


@dataclass(frozen=True, slots=True)
class Answer:
    completion: Mapping[str, Any]
    routed: Routed
    event: CostEvent


@dataclass(slots=True)
class Router:
    """The parts that a request passes.

    Args:
        scorer: None where the classifier could not be loaded: requests go on, unclassified.
        aggregators: names of those that can be called, in the policy's order.
        classifier_budget_s: how long a classification may take, seconds.
    """

    policy: Policy
    scorer: Scorer | None
    memory: Memory
    dispatcher: Dispatch
    ledger: Recorder
    aggregators: tuple[str, ...]
    classifier_budget_s: float

    async def route(self, asked: Asked) -> Routed:
        """The decision, without the call.

        Raises:
            ModelNotFound: an unknown `fareway/...` model.
            BadRequest: nothing within the request's bounds fits.
        """
        chat = asked.chat
        needs = Needs.of(chat.body, chat.max_completion_tokens, chat.choices)
        hashed = prompt_hash(asked.caller.tenant, chat.body)
        decision_id = f"dec_{uuid.uuid4().hex}"
        if not chat.model.startswith(PREFIX):
            decision = pass_through(self.policy, self.aggregators, chat.model)
            return Routed(decision_id, decision, None, "none", hashed, needs)
        pin = pinned_tier(chat.model)
        verdict, hit, key, cache_ms, classifier_ms = await self._verdict(chat, hashed)
        decision = decide(self.policy, self.aggregators, verdict, asked.bounds, needs, pin)
        return Routed(
            decision_id, decision, verdict, hit, hashed, needs, cache_ms, classifier_ms, key
        )

    async def complete(self, asked: Asked) -> Answer:
        """The whole way: decision, call, bill, ledger.

        Raises:
            BadRequest, UpstreamRejected, AllCandidatesFailed: in the last two cases the ledger
                has an event too.
        """
        routed = await self.route(asked)
        keeping = None
        if routed.cache_key and routed.verdict:
            keeping = asyncio.create_task(self.memory.put(routed.cache_key, routed.verdict))
        trail = Trail()
        try:
            candidate, completion = await self.dispatcher.dispatch(
                routed.decision.candidates, asked.chat.body, asked.deadline, trail
            )
        except (UpstreamRejected, AllCandidatesFailed) as error:
            error.decision_id = routed.decision_id
            await self.ledger.record(self._event(asked, routed, trail, error.status))
            raise
        finally:
            if keeping:
                await keeping
        usage = completion.usage or estimate_usage(routed.needs.prompt_tokens, completion.body)
        bill_ = bill(
            usage,
            completion.cost_usd,
            completion.served_model,
            candidate.price,
            self.policy.prices,
            self.policy.baseline_price(),
        )
        event = self._event(asked, routed, trail, 200, candidate, completion, bill_)
        await self.ledger.record(event)
        return Answer(completion.body, routed, event)

    async def _verdict(
        self, chat: ChatRequest, hashed: str
    ) -> tuple[Verdict | None, Hit, str | None, float, float]:
        """The verdict, from the cache or the classifier; they run side by side.

        Returns (verdict, hit, key to keep it under, cache ms, classifier ms).
        """
        version = self.scorer.version if self.scorer else "none"
        key = cache_key(hashed, self.policy.version, version)
        begun = time.monotonic()
        if (known := self.memory.get_local(key)) is not None:
            return known, "local", None, _ms_since(begun), 0.0
        scoring = asyncio.create_task(self._score(chat))
        known = await self.memory.get(key)
        cache_ms = _ms_since(begun)
        if known is not None:
            scoring.cancel()
            return known, "table", None, cache_ms, 0.0
        verdict, classifier_ms = await scoring
        return verdict, "none", key if verdict else None, cache_ms, classifier_ms

    async def _score(self, chat: ChatRequest) -> tuple[Verdict | None, float]:
        """The classifier's verdict within its budget; None when it has none to give."""
        if self.scorer is None:
            return None, 0.0
        begun = time.monotonic()
        try:
            scoring = asyncio.to_thread(lambda s: s.score(render(chat.messages)), self.scorer)
            verdict = await asyncio.wait_for(scoring, self.classifier_budget_s)
        except Exception as error:  # whatever fails in a model, the request goes on without it
            log("error", "classifier failed", error=type(error).__name__)
            return None, _ms_since(begun)
        return verdict, _ms_since(begun)

    def _event(
        self,
        asked: Asked,
        routed: Routed,
        trail: Trail,
        status: int,
        candidate: Candidate | None = None,
        completion: Completion | None = None,
        bill_: Bill | None = None,
    ) -> CostEvent:
        verdict, usage = routed.verdict, bill_.usage if bill_ else None
        p = verdict.probabilities if verdict else (None,) * 5
        served_tier = candidate.tier if candidate else routed.decision.tier
        reason = routed.decision.reason
        if served_tier != routed.decision.tier:
            reason += f"; climbed from {routed.decision.tier} to {served_tier}"
        return CostEvent(
            decision_id=routed.decision_id,
            occurred_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            tenant_hash=asked.caller.tenant_hash,
            key_id=asked.caller.key_id,
            session_hash=asked.session_hash,
            prompt_hash=routed.prompt_hash,
            p1=p[0],
            p2=p[1],
            p3=p[2],
            p4=p[3],
            p5=p[4],
            score=verdict.score if verdict else None,
            complexity=routed.decision.complexity,
            sensitivity=verdict.sensitivity if verdict else None,
            tier=served_tier,
            lane=routed.decision.lane,
            reason=reason,
            cache_hit=routed.cache_hit,
            requested_model=asked.chat.model,
            served_model=completion.served_model if completion else None,
            aggregator=candidate.aggregator if candidate else None,
            attempts=len(trail.attempts),
            failovers=trail.failovers,
            stream=asked.chat.stream,
            prompt_tokens=usage.prompt_tokens if usage else None,
            cached_tokens=usage.cached_tokens if usage else None,
            cache_write_tokens=usage.cache_write_tokens if usage else None,
            completion_tokens=usage.completion_tokens if usage else None,
            reasoning_tokens=usage.reasoning_tokens if usage else None,
            cost_usd=bill_.cost_usd if bill_ else None,
            cost_source=bill_.source if bill_ else None,
            baseline_usd=bill_.baseline_usd if bill_ else None,
            classifier_ms=round(routed.classifier_ms, 3),
            cache_ms=round(routed.cache_ms, 3),
            upstream_ms=round(trail.upstream_ms, 3),
            total_ms=round(_ms_since(asked.begun), 3),
            status=status,
            policy_version=self.policy.version,
            classifier_version=verdict.classifier if verdict else "none",
            price_version=self.policy.prices.version,
        )


def _ms_since(begun: float) -> float:
    return (time.monotonic() - begun) * 1000
