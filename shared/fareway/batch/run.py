"""All steps of a job in a row, on one machine: what is done is not done again.

In the cloud each step is a function's, over a bucket (`fareway.batch_steps`).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import takewhile
from typing import IO, Any, Literal

from fareway.batch import slices
from fareway.batch.claim import Busy
from fareway.batch.collect import pending
from fareway.batch.job import SLICE, Asked, Job, digest
from fareway.batch.lanes import REALTIME, Offers
from fareway.batch.plan import assemble
from fareway.batch.realtime import RealTime
from fareway.batch.rows import Format, read
from fareway.batch.slices import Scorer
from fareway.batch.submit import RETRY, Submitter
from fareway.errors import BadRequest, ProviderError
from fareway.log import log
from fareway.policy import Policy
from fareway.providers.batch_api import BatchProvider

Step = Literal["splitting", "classifying", "asking"]
#: (step, done, in all); the total is 0 while it is not known.
Tell = Callable[[Step, int, int], None]
#: Rounds in a row in which a provider did not answer; then the job stops, to be gone on from.
HOPELESS = 10


@dataclass(frozen=True, slots=True)
class Options:
    """What a user may choose of a job; None: as it was begun, else the default.

    Args:
        dedupe: equal requests are paid once; else each is.
        expected_tokens: of a completion, for the estimate; else the policy's.
        file_requests: requests of one batch at most; else as many as the provider takes.
    """

    dedupe: bool | None = None
    expected_tokens: int | None = None
    file_requests: int | None = None


def begin(
    job: Job,
    name: str,
    file: IO[bytes],
    format_: Format,
    options: Options,
    policy: Policy,
    classifier_version: str,
) -> Asked:
    """Writes down what is asked for, if nothing is written yet.

    Args:
        file: the input, opened in binary.

    Raises:
        BadRequest: it is no file of prompts, or another file or option was begun with.
    """
    sha256 = digest(file)
    columns, _ = read(file, format_)
    file.seek(0)
    known = job.begin(
        Asked(
            name=name,
            format=format_,
            sha256=sha256,
            columns=columns,
            dedupe=bool(options.dedupe),
            file_requests=options.file_requests,
            expected_tokens=options.expected_tokens or policy.expected_completion_tokens,
            policy_version=policy.version,
            classifier_version=classifier_version,
            created_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        )
    )
    for name_, value in asdict(options).items():
        if value not in (None, getattr(known, name_)):
            raise _another(name_)
    if (known.name, known.sha256) != (name, sha256):
        raise _another("file")
    return known


def _another(what: str) -> BadRequest:
    return BadRequest(
        f"A job was begun here with another {what}. Finish it as it is, or begin another: "
        "with --job, or of an upload under another name."
    )


def prepare(
    job: Job,
    file: IO[bytes],
    policy: Policy,
    offers: Offers,
    providers: Mapping[str, BatchProvider],
    scorer: Scorer,
    tell: Tell,
) -> dict[str, Any]:
    """The input -> the plan: request files and the estimate.

    Raises:
        BadRequest: as `slices.split`.
    """
    if (known := job.document("plan.json")) is not None:
        return dict(known)
    if (told := job.document("rows.json")) is None:
        tell("splitting", 0, 0)
        rows = slices.split(job, file)
    else:
        rows = int(told["rows"])
    left = slices.unclassified(job)
    done = rows - min(rows, len(left) * SLICE)
    tell("classifying", done, rows)
    for key in left:
        done += slices.classify(job, key, policy, offers, scorer)
        tell("classifying", min(done, rows), rows)
    return assemble(job, policy, providers)


@dataclass(slots=True)
class Runner:
    """Gets a planned job's answers.

    Args:
        poll_s: the first wait between two looks at the providers, seconds; it grows to `longest_s`.
        enough: whether what is left of a look is left to the next one.
        silent: looks in a row at which a provider did not answer.
        rejected: files that a provider does not take; they wait for all that is under way.
        asked_s: how long providers asked to be left alone at the last look, seconds.
    """

    job: Job
    submitter: Submitter
    realtime: RealTime | None
    tell: Tell
    poll_s: float = 30.0
    longest_s: float = 300.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[], float] = random.random
    enough: Callable[[], bool] = lambda: False
    silent: int = 0
    rejected: set[str] = field(default_factory=set)
    asked_s: float = 0.0

    async def run(self) -> None:
        """Until every file has its results, or the job is cancelled.

        Raises:
            BadRequest: a model is asked at an aggregator, and none has a key.
            ProviderError: a provider refuses, or has been silent for long; it can be gone on from.
        """
        asking = asyncio.create_task(self._real_time())
        try:
            wait_s: float | None = self.poll_s
            while (wait_s := await self.advance(wait_s or self.poll_s)) is not None:
                self._told()
                if asking.done():
                    asking.result()
                await self.sleep(max(wait_s * (0.75 + self.jitter() / 2), self.asked_s))
            await asking
            self._told()
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def advance(self, wait_s: float) -> float | None:
        """Looks at each file once -> how long to wait for the next look; None: all are over.

        Args:
            wait_s: how long the last wait was, seconds.

        Raises:
            ProviderError: as `run`.
        """
        moved = await self.round(left) if (left := self._left()) else False
        if not self._left():
            return None
        return max(self.poll_s if moved else min(wait_s * 1.5, self.longest_s), self.asked_s)

    def _left(self) -> list[str]:
        """The files to look at: of a cancelled job those that were sent."""
        names = [name for name in pending(self.job) if not name.startswith(REALTIME)]
        return [n for n in names if self.submitter.sent(n)] if self.job.cancelled else names

    async def round(self, names: list[str]) -> bool:
        """Looks at each file, then sends those that wait -> whether anything is new.

        Raises:
            ProviderError: as `run`.
        """
        moved, silent = False, list[ProviderError]()
        waiting, going = list[str](), set[str]()
        for name in self._in_time(names):
            try:
                progress, batch = await self.submitter.poll(name)
            except ProviderError as failure:
                silent.append(failure)
                continue
            moved |= progress == "done"
            if progress == "in_progress":
                going.add(_kind(name))
            elif progress == "waiting" and batch is None:
                waiting.append(name)
        for name in self._in_time([] if self.job.cancelled else waiting):
            if self._waits(name, going, moved):
                continue
            try:
                await self._send(name)
            except Busy:
                continue
            except ProviderError as failure:
                silent.append(failure)
                continue
            going.add(_kind(name))
            moved = True
        self._heed(silent, moved, bool(going))
        return moved

    def _in_time(self, names: Iterable[str]) -> Iterator[str]:
        return takewhile(lambda _: not self.enough(), names)

    def _waits(self, name: str, going: Set[str], moved: bool) -> bool:
        """Whether a file is not to be sent while others are under way.

        There is room for one that was refused once another of its kind is over; at one that was
        rejected the job stops, and what is under way comes first.
        """
        if self.submitter.refused(name) and _kind(name) in going:
            return True
        return (moved or bool(going)) and name in self.rejected

    async def _send(self, name: str) -> None:
        try:
            await self.submitter.submit(name)
        except ProviderError as failure:
            if not _passing(failure):
                self.rejected.add(name)
            raise

    def _heed(self, silent: Sequence[ProviderError], moved: bool, going: bool) -> None:
        """Raises what another round would not mend, once nothing else is under way."""
        self.silent = self.silent + 1 if silent and not moved else 0
        self.asked_s = max((failure.retry_after_s or 0.0 for failure in silent), default=0.0)
        for failure in silent:
            log("warning", "batch step failed", outcome=failure.kind)
            if (not _passing(failure) and not (moved or going)) or self.silent >= HOPELESS:
                raise failure

    async def _real_time(self) -> None:
        for name in pending(self.job):
            if name.startswith(REALTIME) and not self.job.cancelled:
                if self.realtime is None:
                    raise BadRequest("No aggregator has a key for what is asked in real time.")
                await self.realtime.answer(name)
                self._told()

    def _told(self) -> None:
        files = {f["name"]: f["requests"] for f in self.job.document("plan.json")["files"]}
        left = set(pending(self.job))
        done = sum(n for name, n in files.items() if name not in left)
        self.tell("asking", done, sum(files.values()))


def _passing(failure: ProviderError) -> bool:
    """Whether the same call may be answered another time."""
    return failure.retryable or failure.kind == "timeout"


def _kind(name: str) -> str:
    """The provider and model of a file: `openai-gpt-5-0000-retry` -> `openai-gpt-5`."""
    return name.removesuffix(RETRY).rpartition("-")[0]


async def cancel(job: Job, submitter: Submitter) -> int:
    """Sends nothing more and cancels what is under way -> how many batches that were.

    Raises:
        ProviderError: a provider does not answer; nothing more is sent all the same.
    """
    job.keep("cancelled.json", {"at": time.time()})
    names = [name for name in pending(job) if not name.startswith(REALTIME)]
    return sum([await submitter.cancel(name) for name in names])
