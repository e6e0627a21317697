"""A request file -> answers in real time, paced: for models that have no batch endpoint.

A file is short, and its answers are written down together: a machine that stops costs few of them.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from fareway.adapt import adapt
from fareway.batch.claim import claim, release
from fareway.batch.job import Job, put_line
from fareway.decide import Candidate
from fareway.dispatch import Call, Trail
from fareway.errors import AllCandidatesFailed, NoAggregator, ProviderError, UpstreamRejected
from fareway.policy import Policy
from fareway.providers.aggregator import Aggregator, Completion
from fareway.providers.batch_api import Outcome

#: Of one request, over all its candidates, seconds: nobody waits for it.
DEADLINE_S = 300.0
TRIES = 5
LONGEST_WAIT_S = 60.0
#: What says nothing of a request, and would be said of every other.
_REFUSED = {"status_401", "status_402"}


class Dispatch(Protocol):
    @property
    def aggregators(self) -> Mapping[str, Aggregator]: ...
    async def dispatch(
        self,
        candidates: list[Candidate],
        call: Call[Completion],
        timeout_ms: int,
        deadline: float,
        trail: Trail,
    ) -> tuple[Candidate, Completion]: ...


@dataclass(slots=True)
class Pace:
    """Lets so many pass a minute, evenly. Units: `clock` and `sleep` seconds."""

    per_minute: int
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _next: float = 0.0

    async def wait(self) -> None:
        now = self.clock()
        turn = max(self._next, now)
        self._next = turn + 60.0 / self.per_minute
        if turn > now:
            await self.sleep(turn - now)


@dataclass(slots=True)
class RealTime:
    """Asks the aggregators, several requests at a time.

    Args:
        lease_s: how long a claim on a file keeps others away, seconds; 0 where a job has one
            process.

    Units: `now` seconds since the epoch.
    """

    job: Job
    policy: Policy
    dispatcher: Dispatch
    pace: Pace
    concurrency: int = 8
    lease_s: float = 0.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[], float] = random.random
    now: Callable[[], float] = time.time

    async def answer(self, name: str) -> None:
        """Asks all requests of a file and writes down what came of them.

        Interrupted, it keeps the answers that are there for the next time.

        Raises:
            Busy: another process is at it.
            NoAggregator: none that the plan names for a request has a key now.
            ProviderError: none of them takes our key, or has credit for us.
        """
        for line in self.job.lines(f"requests/{name}.jsonl"):
            self._candidates(json.loads(line))
        claimed = claim(self.job, f"answered/{name}", self.now(), self.lease_s)
        part = f"answered/{name}.json"
        answered: dict[str, Any] = self.job.document(part) or {}
        requests = (json.loads(line) for line in self.job.lines(f"requests/{name}.jsonl"))
        left = (request for request in requests if request["custom_id"] not in answered)

        async def work() -> None:
            for request in left:
                answered[request["custom_id"]] = await self._outcome(request)

        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(self.concurrency):
                    workers.create_task(work())
        except BaseException as error:
            self.job.keep(part, answered)
            release(self.job, claimed)
            if isinstance(error, ExceptionGroup):
                raise error.exceptions[0] from None
            raise
        ended = datetime.fromtimestamp(self.now(), UTC).isoformat(timespec="milliseconds")
        self.job.keep(f"batches/{name}.json", {"state": "ended", "ended_at": ended})
        with self.job.store.write(f"results/{name}.jsonl") as target:
            for outcome in answered.values():
                put_line(target, outcome)

    def _candidates(self, request: Mapping[str, Any]) -> list[Candidate]:
        """Those that were planned and have a key: it may have been planned for others."""
        candidates = [
            Candidate(aggregator, model, id_, tier, self.policy.prices.find(id_))
            for aggregator, model, id_, tier in request["candidates"]
            if aggregator in self.dispatcher.aggregators
        ]
        if not candidates:
            names = " or ".join(dict.fromkeys(planned[0] for planned in request["candidates"]))
            raise NoAggregator(f"The plan asks {names} in real time, and no key of theirs is set.")
        return candidates

    async def _outcome(self, request: Mapping[str, Any]) -> dict[str, Any]:
        candidates = self._candidates(request)
        custom_id, trail = request["custom_id"], Trail()
        for number in range(1, TRIES + 1):
            await self.pace.wait()
            try:
                candidate, completion = await self._asked(candidates, request["body"], trail)
            except UpstreamRejected as error:
                failed = Outcome(custom_id, "errored", error=error.message)
                return asdict(failed) | {"attempts": len(trail.attempts)}
            except AllCandidatesFailed as error:
                if (kinds := {a.outcome for a in trail.attempts}) and kinds <= _REFUSED:
                    raise ProviderError(min(kinds)) from error
                if number == TRIES:
                    failed = Outcome(custom_id, "errored", error=error.message)
                    return asdict(failed) | {"attempts": len(trail.attempts)}
                wait_s = min(2.0**number, LONGEST_WAIT_S) * self.jitter()
                await self.sleep(max(wait_s, error.retry_after_s or 0.0))
            else:
                return asdict(_answered(custom_id, completion)) | {
                    "aggregator": candidate.aggregator,
                    "tier": candidate.tier,
                    "attempts": len(trail.attempts),
                }
        raise AssertionError("unreachable: `TRIES` is at least 1")

    async def _asked(
        self, candidates: list[Candidate], body: Mapping[str, Any], trail: Trail
    ) -> tuple[Candidate, Completion]:
        async def call(at: Aggregator, candidate: Candidate, timeout_s: float) -> Completion:
            model = self.policy.models.get(candidate.model) if candidate.tier else None
            sent, _ = adapt({"model": candidate.id, **body}, model)
            return await at.complete(candidate.id, sent, timeout_s)

        deadline = time.monotonic() + DEADLINE_S
        timeout_ms = self.policy.attempts.timeout_ms
        return await self.dispatcher.dispatch(candidates, call, timeout_ms, deadline, trail)


def _answered(custom_id: str, completion: Completion) -> Outcome:
    choice = (completion.body.get("choices") or [{}])[0]
    message = choice.get("message") or {}
    return Outcome(
        custom_id=custom_id,
        status="succeeded",
        answer=message.get("content") or message.get("refusal") or "",
        model=completion.served_model,
        usage=completion.body.get("usage") or {},
        finish_reason=str(choice.get("finish_reason") or ""),
    )
