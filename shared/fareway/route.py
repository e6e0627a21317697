"""THE request: verdict -> decision -> reservation -> call -> bill -> record."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol, TypeVar

from fareway import eager
from fareway.adapt import adapt
from fareway.afford import Spending, afford
from fareway.asks import Needs
from fareway.bill import bill, estimate_usage
from fareway.budget import Reservation
from fareway.cache import prompt_hash
from fareway.cost import CostEvent
from fareway.decide import PREFIX, Candidate, pass_through
from fareway.dispatch import Call, Trail
from fareway.embeddings import EmbeddingsRequest
from fareway.errors import AllCandidatesFailed, ModelNotFound, ProviderError, UpstreamRejected
from fareway.judge import Judge
from fareway.policy import Policy
from fareway.providers.aggregator import Aggregator, Completion
from fareway.providers.stream import begin
from fareway.record import Asked, Routed, cost_event, ms_since
from fareway.relay import CALLER_LEFT, Relay, Served, Upstream
from fareway.remember import Outcome, Remembering
from fareway.wire import ChatRequest, Request

T = TypeVar("T")


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
    """What a request comes back with.

    Args:
        adapted: what was changed of the request for the model that answered.
        left_usd: of the key's budget, while this request was held of it; None without one.
    """

    completion: Mapping[str, Any]
    routed: Routed
    event: CostEvent
    adapted: tuple[str, ...]
    left_usd: Decimal | None


@dataclass(slots=True)
class Journey:
    """A request on its way: what was asked, decided and reserved, and what dispatch did.

    Args:
        keeping: writes a new verdict into the cache meanwhile.
    """

    asked: Asked[Request]
    routed: Routed
    held: Reservation | None
    trail: Trail = field(default_factory=Trail)
    keeping: asyncio.Task[bool] | None = None

    @property
    def left_usd(self) -> Decimal | None:
        return self.held.left_usd if self.held else None


@dataclass(slots=True)
class Router:
    """The parts that a request passes.

    Args:
        aggregators: names of those that can be called, in the policy's order.
    """

    policy: Policy
    judge: Judge
    remembering: Remembering
    dispatcher: Dispatch
    ledger: Recorder
    budgets: Spending
    aggregators: tuple[str, ...]
    _recording: set[asyncio.Task[Any]] = field(default_factory=set)

    async def complete(self, asked: Asked[ChatRequest]) -> Answer:
        """The whole way.

        Raises:
            BadRequest, BudgetExceeded, UpstreamRejected, AllCandidatesFailed: in the last two
                cases the ledger has an event too.
        """
        journey = await self._afforded(asked, await self.judge.route(asked))

        async def call(at: Aggregator, candidate: Candidate, timeout_s: float) -> Completion:
            body = self._adapted(journey, candidate)
            return await at.complete(candidate.id, body, timeout_s, trace=asked.trace)

        return await self._answer(journey, call)

    async def embed(self, asked: Asked[EmbeddingsRequest]) -> Answer:
        """Embeddings are not routed: every model's are its own. Failover between aggregators.

        Raises:
            As `complete`.
        """
        request = asked.request
        if request.model.startswith(PREFIX):
            raise ModelNotFound(
                f"'{request.model}' makes no embeddings. Name an embedding model, such as "
                "text-embedding-3-small: embeddings of different models cannot be mixed.",
                param="model",
            )
        decision = pass_through(self.policy, self.aggregators, request.model)
        hashed = prompt_hash(asked.caller.tenant, request.body)
        needs = Needs(frozenset(), request.prompt_tokens, 0)
        routed = Routed(f"dec_{uuid.uuid4().hex}", decision, hashed, needs)

        async def call(at: Aggregator, candidate: Candidate, timeout_s: float) -> Completion:
            return await at.complete(
                candidate.id, request.body, timeout_s, "/embeddings", asked.trace
            )

        return await self._answer(await self._afforded(asked, routed), call)

    async def stream(self, asked: Asked[ChatRequest]) -> Relay:
        """The same for a stream: it is there once its first content is.

        Raises:
            As `complete`. What fails later goes out in the stream.
        """
        rules = self.policy.attempts
        journey = await self._afforded(asked, await self.judge.route(asked))
        trail = journey.trail

        async def call(at: Aggregator, candidate: Candidate, timeout_s: float) -> Upstream:
            return await begin(
                at,
                candidate.id,
                self._adapted(journey, candidate),
                timeout_s,
                asked.trace,
                pause_s=rules.inter_chunk_ms / 1000,
                deadline=asked.deadline,
            )

        candidate, upstream = await self._called(journey, call, rules.first_token_ms)
        trail.first_token_ms = ms_since(asked.begun)
        begun = time.monotonic()

        async def settle(status: int) -> None:
            trail.streamed_ms = ms_since(begun)
            await self._settle(journey, status, candidate, upstream)

        def broke(failure: ProviderError) -> None:
            self.dispatcher.failed(candidate, failure, trail)

        left_usd = journey.left_usd
        return Relay(journey.routed, candidate, upstream, trail, left_usd, broke, settle)

    async def _afforded(self, asked: Asked[Request], routed: Routed) -> Journey:
        """What the key can pay for; a caller that leaves meanwhile leaves nothing reserved."""
        reserving = eager.begin(afford(self.policy, self.aggregators, self.budgets, asked, routed))
        try:
            return Journey(asked, *await asyncio.shield(reserving))
        except asyncio.CancelledError:
            self._begin(self._release(reserving))
            raise

    async def _release(self, reserving: asyncio.Task[tuple[Routed, Reservation | None]]) -> None:
        (found,) = await asyncio.gather(reserving, return_exceptions=True)
        if not isinstance(found, BaseException):
            await self.budgets.settle(found[1], Decimal(0))

    def _adapted(self, journey: Journey, candidate: Candidate) -> Mapping[str, Any]:
        """The request as the candidate takes it; as it came where the caller named the model."""
        model = self.policy.models[candidate.model] if candidate.tier else None
        body, changes = adapt(journey.asked.request.body, model)
        journey.trail.adapted[candidate.name] = changes
        return body

    async def _answer(self, journey: Journey, call: Call[Completion]) -> Answer:
        timeout_ms = self.policy.attempts.timeout_ms
        candidate, completion = await self._called(journey, call, timeout_ms)
        event = await self._to_its_end(self._settle(journey, 200, candidate, completion))
        adapted = journey.trail.adapted.get(candidate.name, ())
        return Answer(completion.body, journey.routed, event, adapted, journey.left_usd)

    async def _called(
        self, journey: Journey, call: Call[T], timeout_ms: int
    ) -> tuple[Candidate, T]:
        """What dispatch brings; the verdict is kept meanwhile. A failure is recorded."""
        routed, asked = journey.routed, journey.asked
        if routed.found.fresh:
            journey.keeping = self._begin(self.judge.verdicts.keep(routed.found))
        try:
            return await self.dispatcher.dispatch(
                routed.decision.candidates, call, timeout_ms, asked.deadline, journey.trail
            )
        except (UpstreamRejected, AllCandidatesFailed) as error:
            error.decision_id = routed.decision_id
            error.headers["x-fareway-attempts"] = str(len(journey.trail.attempts))
            nothing = self._nothing(journey, error.status)
            await self._to_its_end(self._record(journey, nothing, Decimal(0)))
            raise
        except asyncio.CancelledError:  # the caller left
            nothing = self._nothing(journey, CALLER_LEFT)
            await self._to_its_end(self._record(journey, nothing, Decimal(0)))
            raise
        except Exception:  # a bug; `app` tells of it
            await self.budgets.settle(journey.held, Decimal(0))
            raise

    async def _settle(
        self, journey: Journey, status: int, candidate: Candidate, served: Served
    ) -> CostEvent:
        """Bills what was served and records it. Embeddings have no baseline: nobody chose."""
        request, policy = journey.asked.request, self.policy
        usage = served.usage or estimate_usage(
            self.judge.verdicts.scoring.count, "\n".join(request.words()), "".join(served.text)
        )
        baseline = policy.baseline_price() if isinstance(request, ChatRequest) else None
        model, price = served.served_model, candidate.price
        billed = bill(usage, served.cost_usd, model, price, policy.prices, baseline)
        event = cost_event(
            policy, journey.asked, journey.routed, journey.trail, status, candidate, model, billed
        )
        said = Outcome(event, candidate, served.said, served.id)
        await self._record(journey, said, event.cost_usd)
        return event

    async def _to_its_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Work that goes on where its caller leaves meanwhile: what was served is recorded."""
        return await asyncio.shield(self._begin(work))

    def _begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = eager.begin(work)
        self._recording.add(task)
        task.add_done_callback(self._recording.discard)
        return task

    async def close(self) -> None:
        """Waits for what is still being recorded."""
        await asyncio.gather(*self._recording, return_exceptions=True)

    def _nothing(self, journey: Journey, status: int) -> Outcome:
        """Of a request that nothing answered."""
        event = cost_event(self.policy, journey.asked, journey.routed, journey.trail, status)
        return Outcome(event)

    async def _record(self, journey: Journey, outcome: Outcome, cost_usd: Decimal | None) -> None:
        """Into the ledger and memory, off the budget, and noted for the request's log line.

        Args:
            cost_usd: None where it is not known: then the estimate stays in the budget.
        """
        asked, routed, facts = journey.asked, journey.routed, journey.asked.facts
        facts.event, facts.breaker_opens = outcome.event, journey.trail.breaker_opens
        facts.ledger, forgot, _ = await asyncio.gather(
            eager.begin(self.ledger.record(outcome.event)),
            eager.begin(self.remembering.after(asked, routed, outcome)),
            eager.begin(self.budgets.settle(journey.held, cost_usd)),
        )
        kept = await journey.keeping if journey.keeping else True
        facts.forgot = forgot + (not kept) + routed.found.forgetful
