"""THE request: cache | classify -> policy -> dispatch -> bill -> record."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fareway.asks import Needs
from fareway.bill import bill, estimate_usage
from fareway.cache import Hit, cache_key, prompt_hash
from fareway.cost import CostEvent
from fareway.decide import (
    PREFIX,
    Candidate,
    decide,
    pass_through,
    pinned_tier,
)
from fareway.dispatch import Trail
from fareway.errors import AllCandidatesFailed, UpstreamRejected
from fareway.log import log
from fareway.policy import Policy
from fareway.providers.aggregator import Completion
from fareway.record import Asked, Routed, cost_event, ms_since
from fareway.render import render
from fareway.verdict import Verdict
from fareway.wire import ChatRequest


class Scorer(Protocol):
    version: str

    def score(self, text: str) -> Verdict: ...


class Teacher(Protocol):
    def version(self, classifier: str) -> str: ...
    async def complexity(self, text: str) -> int | None: ...
    def sign(self, verdict: Verdict, complexity: int | None) -> Verdict: ...


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
        teacher: an LLM that says the complexity instead of the scorer, where the policy has one.
    """

    policy: Policy
    scorer: Scorer | None
    memory: Memory
    dispatcher: Dispatch
    ledger: Recorder
    aggregators: tuple[str, ...]
    classifier_budget_s: float
    teacher: Teacher | None = None

    @property
    def classifier(self) -> str | None:
        """The version of what classifies, as verdicts carry it; None where nothing does."""
        if self.scorer is None:
            return None
        version = self.scorer.version
        return self.teacher.version(version) if self.teacher else version

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
            await self.ledger.record(cost_event(self.policy, asked, routed, trail, error.status))
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
        event = cost_event(self.policy, asked, routed, trail, 200, candidate, completion, bill_)
        await self.ledger.record(event)
        return Answer(completion.body, routed, event)

    async def _verdict(
        self, chat: ChatRequest, hashed: str
    ) -> tuple[Verdict | None, Hit, str | None, float, float]:
        """The verdict, from the cache or the classifier; they run side by side.

        A teacher costs money: it is asked once the cache does not know. A verdict that had to do
        without it is not kept.
        Returns (verdict, hit, key to keep it under, cache ms, classifier ms).
        """
        version = self.classifier
        key = cache_key(hashed, self.policy.version, version or "none")
        begun = time.monotonic()
        if (known := self.memory.get_local(key)) is not None:
            return known, "local", None, ms_since(begun), 0.0
        text = render(chat.messages)
        scoring = asyncio.create_task(self._score(text))
        known = await self.memory.get(key)
        cache_ms = ms_since(begun)
        if known is not None:
            scoring.cancel()
            return known, "table", None, cache_ms, 0.0
        verdict, classifier_ms = await self._taught(text, scoring)
        kept = key if verdict and verdict.classifier == version else None
        return verdict, "none", kept, cache_ms, classifier_ms

    async def _taught(
        self, text: str, scoring: asyncio.Task[tuple[Verdict | None, float]]
    ) -> tuple[Verdict | None, float]:
        """The classifier's verdict; with a teacher, asked meanwhile, the complexity is its."""
        if self.teacher is None or self.scorer is None:
            return await scoring
        begun = time.monotonic()
        (verdict, _), complexity = await asyncio.gather(scoring, self.teacher.complexity(text))
        return verdict and self.teacher.sign(verdict, complexity), ms_since(begun)

    async def _score(self, text: str) -> tuple[Verdict | None, float]:
        """The classifier's verdict within its budget; None when it has none to give."""
        if self.scorer is None:
            return None, 0.0
        begun = time.monotonic()
        scoring = asyncio.get_running_loop().run_in_executor(None, self.scorer.score, text)
        try:
            # `wait_for` would look at the clock alone, and throw away a verdict that is there when
            # it is the loop that was held up.
            done, _ = await asyncio.wait({scoring}, timeout=self.classifier_budget_s)
            if not done:
                raise TimeoutError
            verdict = scoring.result()
        except Exception as error:  # whatever fails in a model, the request goes on without it
            log("error", "classifier failed", error=type(error).__name__)
            return None, ms_since(begun)
        finally:
            scoring.cancel()
        return verdict, ms_since(begun)
