"""THE request: cache | classify -> policy -> dispatch -> bill -> record."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from fareway.adapt import adapt
from fareway.asks import Needs
from fareway.bill import bill, estimate_usage, four_characters
from fareway.cache import Hit, cache_key, prompt_hash
from fareway.cost import CostEvent
from fareway.decide import (
    PREFIX,
    Candidate,
    decide,
    pass_through,
    pinned_tier,
)
from fareway.dispatch import Call, Trail
from fareway.embeddings import EmbeddingsRequest
from fareway.errors import AllCandidatesFailed, ModelNotFound, ProviderError, UpstreamRejected
from fareway.log import log
from fareway.policy import Policy
from fareway.providers.aggregator import Aggregator, Completion
from fareway.providers.stream import begin
from fareway.record import Asked, Routed, cost_event, ms_since
from fareway.relay import CALLER_LEFT, Relay, Served, Upstream
from fareway.render import render
from fareway.verdict import Verdict
from fareway.wire import ChatRequest, Request

T = TypeVar("T")


class Scorer(Protocol):
    version: str

    def count(self, text: str) -> int: ...
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
        call: Call[T],
        timeout_ms: int,
        deadline: float,
        trail: Trail,
    ) -> tuple[Candidate, T]: ...
    def failed(self, candidate: Candidate, failure: ProviderError, trail: Trail) -> None: ...


class Recorder(Protocol):
    async def record(self, event: CostEvent) -> str: ...


@dataclass(frozen=True, slots=True)
class Answer:
    completion: Mapping[str, Any]
    routed: Routed
    event: CostEvent
    adapted: tuple[str, ...] = ()


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

    async def route(self, asked: Asked[ChatRequest]) -> Routed:
        """The decision, without the call.

        Raises:
            ModelNotFound: an unknown `fareway/...` model.
            BadRequest: nothing within the request's bounds fits.
        """
        chat = asked.request
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

    async def complete(self, asked: Asked[ChatRequest]) -> Answer:
        """The whole way: decision, call, bill, ledger.

        Raises:
            BadRequest, UpstreamRejected, AllCandidatesFailed: in the last two cases the ledger
                has an event too.
        """
        routed, trail, rules = await self.route(asked), Trail(), self.policy.attempts

        async def call(at: Aggregator, candidate: Candidate, timeout_s: float) -> Completion:
            body = self._adapted(asked, candidate, trail)
            return await at.complete(candidate.id, body, timeout_s, trace=asked.trace)

        candidate, completion = await self._called(asked, routed, trail, call, rules.timeout_ms)
        event = await self._settle(asked, routed, trail, 200, candidate, completion)
        return Answer(completion.body, routed, event, trail.adapted)

    async def embed(self, asked: Asked[EmbeddingsRequest]) -> Answer:
        """Embeddings are not routed: every model's are its own. Failover between aggregators.

        Raises:
            As `complete`.
        """
        request, trail = asked.request, Trail()
        if request.model.startswith(PREFIX):
            raise ModelNotFound(
                f"'{request.model}' makes no embeddings. Name an embedding model, such as "
                "text-embedding-3-small: embeddings of different models cannot be mixed.",
                param="model",
            )
        routed = Routed(
            f"dec_{uuid.uuid4().hex}",
            pass_through(self.policy, self.aggregators, request.model),
            None,
            "none",
            prompt_hash(asked.caller.tenant, request.body),
            Needs(frozenset(), request.prompt_tokens, 0),
        )

        async def call(at: Aggregator, candidate: Candidate, timeout_s: float) -> Completion:
            return await at.complete(
                candidate.id, request.body, timeout_s, "/embeddings", asked.trace
            )

        rules = self.policy.attempts
        candidate, completion = await self._called(asked, routed, trail, call, rules.timeout_ms)
        event = await self._settle(asked, routed, trail, 200, candidate, completion)
        return Answer(completion.body, routed, event)

    async def stream(self, asked: Asked[ChatRequest]) -> Relay:
        """The same for a stream: it is there once its first content is.

        Raises:
            As `complete`. What fails later goes out in the stream.
        """
        routed, trail, rules = await self.route(asked), Trail(), self.policy.attempts

        async def call(at: Aggregator, candidate: Candidate, timeout_s: float) -> Upstream:
            body = self._adapted(asked, candidate, trail)
            return await begin(
                at,
                candidate.id,
                body,
                timeout_s,
                asked.trace,
                pause_s=rules.inter_chunk_ms / 1000,
                deadline=asked.deadline,
            )

        candidate, upstream = await self._called(asked, routed, trail, call, rules.first_token_ms)
        trail.first_token_ms = ms_since(asked.begun)
        begun = time.monotonic()

        async def settle(status: int) -> None:
            trail.streamed_ms = ms_since(begun)
            await self._settle(asked, routed, trail, status, candidate, upstream)

        def broke(candidate: Candidate, failure: ProviderError) -> None:
            self.dispatcher.failed(candidate, failure, trail)

        return Relay(routed, candidate, upstream, trail, broke, settle)

    def _adapted(
        self, asked: Asked[ChatRequest], candidate: Candidate, trail: Trail
    ) -> Mapping[str, Any]:
        """The request as the candidate takes it; as it came where the caller named the model."""
        model = self.policy.models[candidate.model] if candidate.tier else None
        body, trail.adapted = adapt(asked.request.body, model)
        return body

    async def _called(
        self, asked: Asked[Request], routed: Routed, trail: Trail, call: Call[T], timeout_ms: int
    ) -> tuple[Candidate, T]:
        """What dispatch brings; the verdict is kept meanwhile. A failure is recorded."""
        keeping = None
        if routed.cache_key and routed.verdict:
            keeping = asyncio.create_task(self.memory.put(routed.cache_key, routed.verdict))
        try:
            return await self.dispatcher.dispatch(
                routed.decision.candidates, call, timeout_ms, asked.deadline, trail
            )
        except (UpstreamRejected, AllCandidatesFailed) as error:
            error.decision_id = routed.decision_id
            event = cost_event(self.policy, asked, routed, trail, error.status)
            await self._record(asked, trail, event)
            raise
        except asyncio.CancelledError:  # the caller left
            event = cost_event(self.policy, asked, routed, trail, CALLER_LEFT)
            await asyncio.shield(asyncio.create_task(self._record(asked, trail, event)))
            raise
        finally:
            if keeping:
                await keeping

    async def _settle(
        self,
        asked: Asked[Request],
        routed: Routed,
        trail: Trail,
        status: int,
        candidate: Candidate,
        served: Served,
    ) -> CostEvent:
        """Bills what was served and records it. Embeddings have no baseline: nobody chose."""
        is_chat = isinstance(asked.request, ChatRequest)
        usage = served.usage or estimate_usage(
            self.scorer.count if self.scorer else four_characters,
            "\n".join(asked.request.words()),
            "".join(served.text),
        )
        bill_ = bill(
            usage,
            served.cost_usd,
            served.served_model,
            candidate.price,
            self.policy.prices,
            self.policy.baseline_price() if is_chat else None,
        )
        event = cost_event(
            self.policy, asked, routed, trail, status, candidate, served.served_model, bill_
        )
        await self._record(asked, trail, event)
        return event

    async def _record(self, asked: Asked[Request], trail: Trail, event: CostEvent) -> None:
        """Into the ledger, and noted for the request's log line."""
        asked.facts.event, asked.facts.breaker_opens = event, trail.breaker_opens
        asked.facts.ledger = await self.ledger.record(event)

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
