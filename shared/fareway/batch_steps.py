"""A state of the batch machine -> the library's step over the bucket.

    batch/in/NAME.csv               what is uploaded; NAME may have folders
    batch/jobs/NAME.csv/SHA256/     what the job keeps (`fareway.batch.job`)
    batch/out/NAME.csv              its answers, NAME.errors.csv and NAME.summary.json

The same content under the same name is the same job: uploaded again it is gone on with, and paid
once. Keys and counts go from state to state, never rows. Each step may be asked for twice, at the
same time too, or be cut off in its middle: whoever comes next does what is left.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing, closing
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from fareway import ledger
from fareway.batch import run, slices
from fareway.batch.claim import Busy
from fareway.batch.collect import collect, pending
from fareway.batch.job import Job, digest
from fareway.batch.lanes import REALTIME
from fareway.batch.plan import assemble
from fareway.batch.realtime import Pace, RealTime
from fareway.batch.store import Bucket
from fareway.batch.submit import Submitter
from fareway.batch.upload import IN, named, options
from fareway.caller import Caller
from fareway.classify import Classifier
from fareway.errors import BadRequest, NoAggregator
from fareway.log import log
from fareway.policy import load_policy
from fareway.policy_store import policy_in_force
from fareway.providers.http import Http
from fareway.settings import Settings
from fareway.wiring_batch import Batching, build_batch

if TYPE_CHECKING:
    from mypy_boto3_firehose import FirehoseClient
    from mypy_boto3_s3 import S3Client

JOBS, OUT = "batch/jobs/", "batch/out/"
#: A claim outlives whoever made it: Lambda ends a function after 15 minutes.
LEASE_S = 900.0
#: Seconds of a function's time that are kept for the file at hand; then the rest is another call's.
RESERVE_S = 300.0
#: Seconds kept for writing down what was asked in real time.
WRITING_S = 30.0
#: The first wait between two looks at the providers, and the longest, seconds.
POLL_S, LONGEST_S = 30.0, 300.0
#: Events that are put into the ledger between two looks at the clock.
EVENTS = 4_000
CALLER = Caller("batch", "batch")


class Steps:
    """The steps of all jobs of a bucket.

    Units: `left_s` a function -> seconds that the call may still take.
    """

    def __init__(self, settings: Settings, s3: S3Client, firehose: FirehoseClient) -> None:
        self.settings, self.s3, self.firehose = settings, s3, firehose
        self.policy = load_policy(policy_in_force(settings))
        self.now: Callable[[], float] = time.time

    @cached_property
    def classifier(self) -> Classifier:
        return Classifier.load(self.settings.classifier_dir, threads=1)

    def split(self, key: str) -> dict[str, str]:
        """An upload -> the folder of its job, and where its slices of rows are.

        Object metadata `dedupe` (true or false), `expect-tokens` and `file-requests` are the
        command line's options of these names.

        Raises:
            BadRequest: it is no file of prompts, or was begun with other options.
            NoAggregator: no upstream has a key.
        """
        offers = build_batch(self.settings, self.policy, Http()).offers
        if not offers.providers and not offers.aggregators:
            raise NoAggregator("No upstream has a key: put them into the stack's secret.")
        name, format_ = named(key)
        with closing(Bucket(self.s3, self.settings.batch_bucket, "").open(key)) as file:
            folder = f"{JOBS}{key.removeprefix(IN)}/{digest(file)[:32]}/"
            job = self.job(folder)
            told = self.s3.head_object(Bucket=self.settings.batch_bucket, Key=key)["Metadata"]
            run.begin(job, name, file, format_, options(told), self.policy, self.classifier.version)
            if job.document("rows.json") is None:
                slices.split(job, file)
        return {"folder": folder, "rows": f"{folder}rows/"}

    def classify(self, key: str) -> dict[str, int]:
        """The key of a slice, `.../rows/000000.jsonl` -> how many of its rows were decided now."""
        folder, _, name = key.rpartition("rows/")
        job, slice_ = self.job(folder), f"rows/{name}"
        if job.store.keys(slices.decided_key(slice_)):
            return {"rows": 0}
        offers = build_batch(self.settings, self.policy, Http()).offers
        scorer = self.classifier.score_many
        return {"rows": slices.classify(job, slice_, self.policy, offers, scorer)}

    def assemble(self, folder: str) -> dict[str, int]:
        """A job whose slices are all decided -> how many request files it has."""
        job = self.job(folder)
        plan = job.document("plan.json")
        if plan is None:
            providers = build_batch(self.settings, self.policy, Http()).providers
            plan = assemble(job, self.policy, providers)
        return {"files": len(plan["files"])}

    def submit(
        self, folder: str, pause: Mapping[str, Any], left_s: Callable[[], float]
    ) -> dict[str, Any]:
        """Sends what waits, fetches what is over -> when to look again.

        Args:
            pause: what this step said the last time; empty the first time.

        Raises:
            ProviderError: as `Runner.run`.
        """

        async def look(parts: Batching) -> dict[str, Any]:
            job = self.job(folder)
            submitter = Submitter(job, parts.providers, LEASE_S, now=self.now)
            runner = run.Runner(job, submitter, None, lambda *_: None, POLL_S, LONGEST_S)
            runner.enough = lambda: left_s() < RESERVE_S
            runner.silent = int(pause.get("silent", 0))
            runner.rejected = set(pause.get("rejected", ()))
            wait_s = await runner.advance(float(pause.get("wait_s", POLL_S)))
            kept = {"silent": runner.silent, "rejected": sorted(runner.rejected)}
            return _pause(wait_s) | kept

        return self._with_parts(look)

    def answer(self, folder: str, left_s: Callable[[], float]) -> dict[str, Any]:
        """Asks in real time, file after file, as long as there is time -> whether any is left.

        Raises:
            NoAggregator: none has a key.
        """

        async def ask(parts: Batching) -> dict[str, Any]:
            job = self.job(folder)
            pace = Pace(self.settings.batch_rpm)
            realtime = RealTime(job, self.policy, parts.dispatcher, pace, lease_s=LEASE_S)
            realtime.now = self.now
            waits = _realtime(job)
            if waits and not parts.offers.aggregators:
                raise NoAggregator("No aggregator has a key for what is asked in real time.")
            for name in waits:
                if left_s() < RESERVE_S / 2:
                    break
                try:
                    async with asyncio.timeout(left_s() - WRITING_S):
                        await realtime.answer(name)
                except TimeoutError:
                    break  # what was answered is kept
                except Busy:
                    continue
            left = _realtime(job)
            return _pause((1.0 if len(left) < len(waits) else POLL_S) if left else None)

        return self._with_parts(ask)

    def collect(self, folder: str) -> dict[str, str]:
        """A job that has its results -> the key of its summary, beside its answers in `batch/out/`.

        Once all is there it is not written anew: what was charged does not change with prices.

        Raises:
            BadRequest: some results are missing.
        """
        job = self.job(folder)
        asked = job.asked()
        if asked is None:
            raise BadRequest("Nothing was begun here.")
        summary = f"{asked.name}.summary.json"
        known = job.document(f"out/{summary}")
        if known is None or known["files_without_results"]:
            known = collect(job, self.policy, CALLER, partial=job.cancelled)
        log("info", "batch collected", rows=known["rows"], statuses=known["statuses"])
        self._publish(job, folder, but=summary)
        self._put(OUT + summary, known)
        return {"summary": OUT + summary}

    def record(
        self, folder: str, recorded: int, left_s: Callable[[], float]
    ) -> dict[str, int | bool]:
        """Puts the events into the ledger's stream, from one on -> how many are there.

        Raises:
            RuntimeError, ClientError: the stream does not take them.
        """
        if not folder or not (store := self.job(folder).store).keys("events.jsonl"):
            return {"done": True, "recorded": 0}
        file = store.open("events.jsonl")
        with closing(file):
            lines = islice(file, recorded, None)
            while chunk := list(islice(lines, EVENTS)):
                if left_s() < RESERVE_S / 2:
                    return {"done": False, "recorded": recorded}
                events = ledger.events_in_log(line.decode() for line in chunk)
                ledger.replay(self.firehose, self.settings.ledger_stream, events)
                recorded += len(chunk)
        return {"done": True, "recorded": recorded}

    def fail(self, execution: Mapping[str, Any]) -> dict[str, str]:
        """Why an execution failed -> the summary, with what was answered all the same.

        Args:
            execution: the machine's state: `key`, `error`, and `job` where it was begun.
        """
        name, _ = named(execution["key"])
        error = execution["error"]
        reason = _reason(error)
        summary: dict[str, Any] = {"name": name}
        folder = execution.get("job", {}).get("folder", "")
        if folder and self.job(folder).document("plan.json") is not None:
            job = self.job(folder)
            try:
                summary = collect(job, self.policy, CALLER, partial=True)
                self._publish(job, folder, but=f"{name}.summary.json")
            except Exception as failure:  # the reason is told whatever else goes wrong
                log("error", "batch not collected", outcome=type(failure).__name__)
        log("error", "batch failed", outcome=error["Error"])
        self._put(f"{OUT}{name}.summary.json", summary | {"failed": reason})
        return {"error": error["Error"], "reason": reason}

    def job(self, folder: str) -> Job:
        return Job(Bucket(self.s3, self.settings.batch_bucket, folder))

    def _publish(self, job: Job, folder: str, *, but: str) -> None:
        """Copies what was written to where people look for it, within S3."""
        bucket = self.settings.batch_bucket
        for key in job.store.keys("out/"):
            target = OUT + key.removeprefix("out/")
            if target != OUT + but:
                self.s3.copy({"Bucket": bucket, "Key": folder + key}, bucket, target)

    def _put(self, key: str, document: Mapping[str, Any]) -> None:
        body = json.dumps(document, indent=1).encode()
        self.s3.put_object(Bucket=self.settings.batch_bucket, Key=key, Body=body)

    def _with_parts(self, work: Callable[[Batching], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        async def main() -> dict[str, Any]:
            async with aclosing(Http()) as http:
                return await work(build_batch(self.settings, self.policy, http))

        return asyncio.run(main())


def _realtime(job: Job) -> list[str]:
    """Files that are still to be asked in real time; none of a job that was cancelled."""
    if job.cancelled:
        return []
    return [name for name in pending(job) if name.startswith(REALTIME)]


def _pause(wait_s: float | None) -> dict[str, Any]:
    """As a Wait state takes it: whole seconds."""
    return {"done": wait_s is None, "wait_s": 0 if wait_s is None else round(wait_s)}


def _reason(error: Mapping[str, str]) -> str:
    """What a person is told: Lambda says what was raised as JSON, others in words."""
    cause = error.get("Cause", "")
    try:
        told = json.loads(cause)
        cause = str(told["errorMessage"])
    except (ValueError, TypeError, KeyError):
        pass
    return f"{error['Error']}: {cause[:1000]}"
