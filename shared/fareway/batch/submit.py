"""A request file -> a batch at its provider -> its results, never sent twice.

Who wants to send a file claims it first, in one conditional write. Whoever finds an old claim and
no batch looks at the provider for what the one before may have made, and sends it only if there is
nothing. A file whose batch turned out to be none, as the provider had no room, gets another turn.

    submissions/NAME/000/claim-000.json     one who sends it, in the first turn
    submissions/NAME/000/batch.json         what came of it
    submissions/NAME/000/void.json          why it does not count; the next turn is 001
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count
from typing import Literal

from fareway.batch.claim import claim, release
from fareway.batch.job import Job, put_line
from fareway.errors import ProviderError
from fareway.log import log
from fareway.providers.batch_api import Batch, BatchProvider, Outcome, Status, Uncertain

Progress = Literal["waiting", "in_progress", "done"]
RETRY = "-retry"
#: Times that a provider may have no room for a file; then its requests have failed.
REFUSALS = 50
#: Times that a batch is made anew after nobody could say whether it was made.
TRIES = 4


@dataclass(slots=True)
class Submitter:
    """Sends a job's request files and fetches their results.

    Args:
        lease_s: how long a claim keeps others away, seconds; 0 where a job has one process.
        settle_s: how long the provider's list of batches may lag behind, seconds.

    Units: `now` seconds since the epoch.
    """

    job: Job
    providers: Mapping[str, BatchProvider]
    lease_s: float = 0.0
    settle_s: float = 5.0
    now: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[], float] = random.random

    async def submit(self, name: str) -> str:
        """A request file -> the id of its batch, made now or before.

        Raises:
            Busy: another process is at it.
            ProviderError: the provider does not take it.
        """
        turn = self._turn(name)
        if (known := self.job.document(f"{turn}/batch.json")) is not None:
            return str(known["id"])
        claimed = claim(self.job, turn, self.now(), self.lease_s)
        try:
            (batch, found), provider = await self._made(name, turn), self._provider(name)
        except ProviderError:
            release(self.job, claimed)
            raise
        told = {"id": batch.id, "provider": provider.name, "found": found}
        self.job.store.create(f"{turn}/batch.json", json.dumps(told).encode())
        return batch.id

    async def _made(self, name: str, turn: str) -> tuple[Batch, bool]:
        """The batch of a turn, and whether it was made before and found, so may not be ours."""
        first, since = self._since(name)
        provider, label = self._provider(name), self._label(turn)
        opened = partial(self.job.store.open, f"requests/{name}.jsonl")
        if not first:  # the one before may have made it this moment
            await self.sleep(self.settle_s)
        for number in range(TRIES):
            if not (first and number == 0):
                batch = await provider.find(label, since, self._requests(name), self._others())
                if batch is not None:
                    return batch, True
            try:
                return await provider.submit(opened, label), False
            except Uncertain as error:
                log("warning", "a batch may have been made", file=name, outcome=str(error))
                await self.sleep(self.settle_s * 2**number * (1 + self.jitter()))
        raise ProviderError("uncertain", retryable=True)

    async def poll(self, name: str) -> tuple[Progress, Batch | None]:
        """What became of a file; once its batch is over, its results are fetched.

        Raises:
            ProviderError: the provider does not say.
        """
        if self.done(name):
            return "done", None
        turn = self._turn(name)
        known = self.job.document(f"{turn}/batch.json")
        if known is None:
            return "waiting", None
        provider = self._provider(name)
        batch = await provider.get(known["id"])
        if batch.state == "in_progress":
            return "in_progress", batch
        if batch.refused and int(turn[-3:]) < REFUSALS:
            self._void(turn, batch, batch.error)
            return "waiting", batch
        if not await self._fetch(name, provider, batch, bool(known.get("found"))):
            self._void(turn, batch, "its results are of other requests")
            return "waiting", batch
        return "done", batch

    async def look(self, name: str) -> Batch | None:
        """A file's batch, as its provider tells of it; None where it was not sent."""
        known = self.job.document(f"{self._turn(name)}/batch.json")
        return None if known is None else await self._provider(name).get(known["id"])

    async def cancel(self, name: str) -> bool:
        """Cancels a file's batch, if it is going on -> whether it was."""
        batch = None if self.done(name) else await self.look(name)
        if batch is None or batch.state != "in_progress":
            return False
        await self._provider(name).cancel(batch.id)
        return True

    def done(self, name: str) -> bool:
        """Whether its results are here."""
        return f"results/{name}.jsonl" in self.job.store.keys(f"results/{name}.jsonl")

    def sent(self, name: str) -> bool:
        """Whether it has a batch that counts."""
        return self.job.document(f"{self._turn(name)}/batch.json") is not None

    def refused(self, name: str) -> bool:
        """Whether the provider had no room for it the last time."""
        return not self._turn(name).endswith("/000")

    async def _fetch(self, name: str, provider: BatchProvider, batch: Batch, found: bool) -> bool:
        """Writes the results down, and the requests that get a second try -> whether they are ours.

        A request of which the provider says nothing gets a second try too. A batch that was made
        here is ours whatever it answers: another in its place would be paid as well.
        """
        left = {json.loads(line)["custom_id"] for line in self.job.lines(f"requests/{name}.jsonl")}
        ours, others, again = 0, 0, set[str]()
        try:
            with self.job.store.write(f"results/{name}.jsonl") as target:
                async for outcome in provider.results(batch):
                    if outcome.custom_id not in left:
                        others += 1
                        continue
                    ours += 1
                    left.discard(outcome.custom_id)
                    put_line(target, asdict(outcome))
                    if outcome.retryable:
                        again.add(outcome.custom_id)
                if found and others and not ours:
                    raise _Foreign
                for custom_id in sorted(left):
                    put_line(target, asdict(_nothing(custom_id, batch)))
                self.job.keep(f"batches/{name}.json", asdict(batch))
                if not name.endswith(RETRY) and not self.job.cancelled:
                    self._retry(name, again | left)
        except _Foreign:
            return False
        return True

    def _retry(self, name: str, again: set[str]) -> None:
        """A request file of those that get a second try."""
        if not again:
            return
        with self.job.store.write(f"requests/{name}{RETRY}.jsonl") as target:
            for line in self.job.lines(f"requests/{name}.jsonl"):
                if json.loads(line)["custom_id"] in again:
                    target.write(line)

    def _since(self, name: str) -> tuple[bool, float]:
        """A file just claimed -> whether it never was before, and since when it has been."""
        earlier = self.job.store.keys(f"submissions/{name}/")
        all_ = [float(self.job.document(key)["at"]) for key in earlier if "/claim-" in key]
        return len(all_) == 1, min(all_)

    def _turn(self, name: str) -> str:
        """The turn that counts: the first that is not void."""
        turns = (f"submissions/{name}/{number:03}" for number in count())
        return next(turn for turn in turns if self.job.document(f"{turn}/void.json") is None)

    def _void(self, turn: str, batch: Batch, reason: str) -> None:
        log("warning", "a batch does not count", batch=batch.id, reason=reason)
        told = {"id": batch.id, "reason": reason, "at": self.now()}
        self.job.keep(f"{turn}/void.json", told)

    def _others(self) -> set[str]:
        """Ids of the batches that are known to be of other turns or files."""
        keys = self.job.store.keys("submissions/")
        return {
            self.job.document(key)["id"]
            for key in keys
            if key.endswith(("/batch.json", "/void.json"))
        }

    def _provider(self, name: str) -> BatchProvider:
        provider = self.providers.get(name.partition("-")[0])
        if provider is None:
            raise ProviderError(f"{name.partition('-')[0]} has no key", status=401)
        return provider

    def _requests(self, name: str) -> int:
        return sum(1 for _ in self.job.lines(f"requests/{name}.jsonl"))

    def _label(self, turn: str) -> str:
        """What the batch is called at the provider: of this job and this turn alone."""
        asked = self.job.asked()
        assert asked is not None
        told = f"{asked.name}\0{asked.sha256}\0{asked.created_at}"
        return f"{hashlib.sha256(told.encode()).hexdigest()[:16]}/{turn}"


class _Foreign(Exception):
    """A batch has results, and none of them is of our requests."""


def _nothing(custom_id: str, batch: Batch) -> Outcome:
    """Of a request that the provider says nothing of."""
    status: Status = "errored"
    if batch.state in ("expired", "cancelled"):
        status = batch.state
    error = batch.error or ("no result" if status == "errored" else status)
    return Outcome(custom_id, status, error=error, retryable=True)
