"""Candidates in order -> the first that answers, under one deadline.

A failure of the moment is tried again after a jittered wait that honours Retry-After; then the
next model, then the next aggregator. What is the caller's own fault goes back to the caller.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fareway.circuits import Circuits
from fareway.decide import Candidate
from fareway.errors import ProviderError
from fareway.failures import Failures
from fareway.log import log
from fareway.policy_tables import Attempts
from fareway.providers.aggregator import Aggregator

T = TypeVar("T")
#: One attempt (at, candidate, seconds that it may take): a whole completion, or a stream that has
#: begun.
Call = Callable[[Aggregator, Candidate, float], Awaitable[T]]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call to one candidate, and how it ended: `ok`, `cancelled`, or the failure's kind."""

    candidate: str
    outcome: str
    ms: float


@dataclass(slots=True)
class Trail:
    """What dispatch did; it is told also when nothing answered.

    Args:
        passed_over: candidates that were tried in vain or rested, before the one that answered.
        first_token_ms: of a stream: from the request to its first content.
        streamed_ms: of a stream: from there to its end.
        breaker_opens: circuits that its failures opened.
        adapted: what was changed of the request, by the name of the candidate that it was for.
    """

    attempts: list[Attempt] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)
    first_token_ms: float | None = None
    streamed_ms: float = 0.0
    breaker_opens: int = 0
    adapted: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def upstream_ms(self) -> float:
        return sum(a.ms for a in self.attempts) + self.streamed_ms


@dataclass(slots=True)
class Dispatcher:
    """Calls the candidates. Clock, sleep and jitter are given, so that tests need no waiting.

    Units: `clock` seconds on a steady clock.
    """

    aggregators: Mapping[str, Aggregator]
    rules: Attempts
    circuits: Circuits
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[], float] = random.random

    async def dispatch(
        self,
        candidates: Sequence[Candidate],
        call: Call[T],
        timeout_ms: int,
        deadline: float,
        trail: Trail,
    ) -> tuple[Candidate, T]:
        """The first answer.

        A model that finds the request wrong may only not know a field of it: where Fareway chose
        the model, one other is asked. If that finds it wrong too, the first one's word stands.

        Args:
            candidates: in order of preference.
            call: what is tried at each.
            timeout_ms: of one attempt, where another candidate is left.
            deadline: on `clock`, seconds; nothing is begun after it.
            trail: filled as attempts are made.

        Raises:
            UpstreamRejected: an upstream finds the request itself wrong, or none knows the model
                that it names.
            AllCandidatesFailed: 429 if all were rate limited, 504 at the deadline, else 502.
        """
        self.circuits.refresh()
        failures = Failures()
        # The second round is for those whose breaker is open: a try beats a certain failure.
        rounds = [(c, True) for c in candidates] + [(c, False) for c in candidates]
        for position, (candidate, heed_breaker) in enumerate(rounds):
            if trail.attempts and not heed_breaker:
                continue
            if failures.rule_out(candidate) or (
                heed_breaker and not await self._allowed(candidate)
            ):
                trail.passed_over.append(candidate.name)
                continue
            others = [c for c in candidates[position + 1 :] if not failures.rule_out(c)]
            cap_s = timeout_ms / 1000 if others else None

            def tries(one: Candidate, cap_s: float | None = cap_s) -> Coroutine[Any, Any, T]:
                return self._tries(one, call, cap_s, deadline, trail)

            try:
                return await self._hedged(candidate, others[:1], tries, trail)
            except ProviderError as failure:
                trail.passed_over.append(candidate.name)
                if failures.add(candidate, failure) or self.clock() >= deadline:
                    break
        raise failures.told(late=self.clock() >= deadline)

    async def _hedged(
        self,
        first: Candidate,
        others: Sequence[Candidate],
        tries: Callable[[Candidate], Coroutine[Any, Any, T]],
        trail: Trail,
    ) -> tuple[Candidate, T]:
        """The first of two to answer; the second is asked once the first is late, if hedging is on.

        Raises:
            ProviderError: neither answered; the last failure.
        """
        if not (self.rules.hedge_ms and others):
            return first, await tries(first)
        racing = {asyncio.create_task(tries(first)): first}
        try:
            done, _ = await asyncio.wait(racing, timeout=self.rules.hedge_ms / 1000)
            if not done and await self._allowed(others[0]):
                racing[asyncio.create_task(tries(others[0]))] = others[0]
            while True:
                done, _ = await asyncio.wait(racing, return_when=asyncio.FIRST_COMPLETED)
                task = done.pop()
                candidate = racing.pop(task)
                if not racing or task.exception() is None:
                    return candidate, task.result()
                trail.passed_over.append(candidate.name)
        finally:
            for task in racing:
                task.cancel()
            for lost in await asyncio.gather(*racing, return_exceptions=True):
                if hasattr(lost, "close"):  # a stream that began a moment too late
                    await lost.close()

    async def _allowed(self, candidate: Candidate) -> bool:
        return await self.circuits.allows(candidate.aggregator) and await self.circuits.allows(
            candidate.name
        )

    async def _tries(
        self,
        candidate: Candidate,
        call: Call[T],
        cap_s: float | None,
        deadline: float,
        trail: Trail,
    ) -> T:
        """One candidate, tried again while its failures are of the moment."""
        for number in range(1, self.rules.tries + 1):
            try:
                return await self._attempt(candidate, call, cap_s, deadline, trail)
            except ProviderError as failure:
                wait_s = self._backoff_s(number, failure)
                again = failure.retryable and number < self.rules.tries
                if not again or wait_s is None or self.clock() + wait_s >= deadline:
                    raise
                await self.sleep(wait_s)
        raise AssertionError("unreachable: `tries` is at least 1")

    def _backoff_s(self, number: int, failure: ProviderError) -> float | None:
        """Seconds to wait before the next try; None: not worth waiting for here.

        Exponential backoff with full jitter.
        Source: aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter.
        """
        wait_s: float = self.rules.backoff_ms / 1000 * 2 ** (number - 1) * self.jitter()
        asked_s = failure.retry_after_s or 0.0
        if asked_s > self.rules.retry_after_max_ms / 1000:
            return None
        return max(wait_s, asked_s)

    async def _attempt(
        self,
        candidate: Candidate,
        call: Call[T],
        cap_s: float | None,
        deadline: float,
        trail: Trail,
    ) -> T:
        begun = self.clock()
        left_s = deadline - begun
        if left_s <= 0:
            raise ProviderError("deadline")
        # While another candidate is left, leave it time to answer.
        timeout_s = left_s if cap_s is None else min(cap_s, left_s * 0.6)
        outcome = "cancelled"  # unless it is told otherwise: the caller left, or another was faster
        try:
            async with asyncio.timeout(timeout_s):
                answer = await call(self.aggregators[candidate.aggregator], candidate, timeout_s)
        except TimeoutError as error:
            outcome = "timeout"
            failure = ProviderError(outcome)
            self.failed(candidate, failure, trail)
            raise failure from error
        except ProviderError as failure:
            outcome = failure.kind
            self.failed(candidate, failure, trail)
            raise
        else:
            outcome = "ok"
            self.circuits.succeeded(candidate.name)
            self.circuits.succeeded(candidate.aggregator)
            return answer
        finally:
            ms = (self.clock() - begun) * 1000
            trail.attempts.append(Attempt(candidate.name, outcome, ms))
            if outcome not in ("ok", "cancelled"):
                log("warning", "attempt failed", candidate=candidate.name, outcome=outcome)

    def failed(self, candidate: Candidate, failure: ProviderError, trail: Trail) -> None:
        """Counts a failure against the candidate, or its whole aggregator."""
        unknown = (
            failure.upstream_status == 404 and candidate.tier is None
        )  # a name of the caller's
        if failure.rejected is not None or unknown:
            return  # the caller's fault says nothing of the candidate's health
        name = candidate.aggregator if failure.whole_aggregator else candidate.name
        if self.circuits.failed(name):
            trail.breaker_opens += 1
            log("warning", "breaker opened", candidate=name, outcome=failure.kind)
