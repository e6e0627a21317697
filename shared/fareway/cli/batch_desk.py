"""A batch job in its folder, and what the commands do with it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, closing, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from rich.progress import Progress, TaskID

from fareway import ledger
from fareway.batch import collect as collecting
from fareway.batch import run as running
from fareway.batch.job import Job
from fareway.batch.lanes import REALTIME, Offers
from fareway.batch.realtime import Pace, RealTime
from fareway.batch.rows import Format
from fareway.batch.store import Folder
from fareway.batch.submit import RETRY, Submitter
from fareway.caller import Caller
from fareway.classify import Classifier
from fareway.cli.console import err, progress_bar, stop
from fareway.errors import ConfigError, FarewayError, ProviderError
from fareway.policy import Policy, load_policy
from fareway.providers.batch_api import reason
from fareway.providers.http import Http
from fareway.settings import Settings
from fareway.wiring_batch import Batching, build_batch


class Desk:
    """A job in its folder, and what the commands do with it."""

    def __init__(self, file: Path, folder: Path, settings: Settings, policy: Policy) -> None:
        self.file, self.folder, self.settings, self.policy = file, folder, settings, policy
        self.job = Job(Folder(folder))

    def plan(self, options: running.Options, workers: int) -> dict[str, Any]:
        classifier = cache(lambda: Classifier.load(self.settings.classifier_dir))
        known = self.job.asked()
        parts = build_batch(self.settings, self.policy, Http())
        offers = parts.offers
        if not offers.providers and not offers.aggregators:
            err.print("no upstream has a key: the plan is made as if all had", highlight=False)
            offers = Offers(tuple(parts.providers), tuple(self.policy.aggregators))
        with self.file.open("rb") as source, progress_bar() as progress:
            name, format_ = self.file.stem, _format(self.file)
            version = known.classifier_version if known else classifier().version
            running.begin(self.job, name, source, format_, options, self.policy, version)
            return running.prepare(
                self.job,
                source,
                self.policy,
                offers,
                parts.providers,
                lambda texts: classifier().score_many(texts, workers=workers),
                _Bar(progress),
            )

    def planned(self) -> dict[str, Any]:
        planned = self.job.document("plan.json")
        if planned is None:
            stop(f"{self.folder} has no planned job; begin with `fareway batch plan` or `run`")
        return dict(planned)

    def check_keys(self, planned: Mapping[str, Any]) -> None:
        offers = build_batch(self.settings, self.policy, Http()).offers
        needed = {f["provider"] for f in planned["files"]}
        missing = [p for p in sorted(needed - {REALTIME}) if p not in offers.providers]
        lines = [f"{provider.upper()}_API_KEY" for provider in missing]
        if REALTIME in needed and not offers.aggregators:
            lines.append(" or ".join(f"{a.upper()}_API_KEY" for a in self.policy.aggregators))
        if lines:
            stop(
                f"the plan needs keys that are not set: {'; '.join(lines)}; set them, or plan anew "
                "for those that are, with another --job"
            )

    def files(self, planned: Mapping[str, Any]) -> list[tuple[str, int]]:
        """Names of the request files and how many requests each has, second tries too."""
        files = [(f["name"], int(f["requests"])) for f in planned["files"]]
        retries = [k for k in self.job.store.keys("requests/") if k.endswith(f"{RETRY}.jsonl")]
        files += [(Path(k).stem, sum(1 for _ in self.job.lines(k))) for k in retries]
        return sorted(files)

    def ask(self, rpm: int, poll_s: float) -> None:
        async def asking(parts: Batching) -> None:
            with progress_bar() as progress:
                realtime = None
                if parts.offers.aggregators:
                    realtime = RealTime(self.job, self.policy, parts.dispatcher, Pace(rpm))
                submitter = Submitter(self.job, parts.providers)
                runner = running.Runner(self.job, submitter, realtime, _Bar(progress))
                runner.poll_s, runner.longest_s = poll_s, 10 * poll_s
                await runner.run()

        self._with_parts(asking)

    def fetch(self) -> None:
        """Fetches what is over; what goes on is left."""

        async def fetching(parts: Batching) -> None:
            submitter = Submitter(self.job, parts.providers)
            for name in collecting.pending(self.job):
                if not name.startswith(REALTIME):
                    await submitter.poll(name)

        self._with_parts(fetching)

    def state(self, name: str) -> tuple[str, int | None]:
        if name not in collecting.pending(self.job):
            return "done", None
        if name.startswith(REALTIME):
            return "waiting", None
        told: list[tuple[str, int | None]] = []

        async def look(parts: Batching) -> None:
            batch = await Submitter(self.job, parts.providers).look(name)
            told.append(("waiting", None) if batch is None else (batch.state, batch.done))

        self._with_parts(look)
        return told[0]

    def cancel(self) -> int:
        stopped: list[int] = []

        async def cancelling(parts: Batching) -> None:
            submitter = Submitter(self.job, parts.providers)
            stopped.append(await running.cancel(self.job, submitter))

        self._with_parts(cancelling)
        return stopped[0]

    def collect(self, *, partial: bool) -> dict[str, Any]:
        caller = Caller("batch", "local")
        summary = collecting.collect(self.job, self.policy, caller, partial=partial)
        self._record()
        return summary

    def _record(self) -> None:
        """Into the ledger's stream, if there is one. An event that arrives twice counts once."""
        if not self.settings.ledger_stream:
            return
        lines = (line.decode() for line in self.job.lines("events.jsonl"))
        try:
            sent = ledger.replay(
                boto3.client("firehose"), self.settings.ledger_stream, ledger.events_in_log(lines)
            )
        except RuntimeError as error:
            stop(f"{error}; the answers are in {self.folder / 'out'}, collect again for the rest")
        err.print(f"{sent} cost events are in the ledger", highlight=False)

    def _with_parts(self, work: Callable[[Batching], Awaitable[None]]) -> None:
        async def main() -> None:
            async with aclosing(Http()) as http:
                await work(build_batch(self.settings, self.policy, http))

        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            stop("interrupted; the same command goes on from here")
        except ProviderError as failure:
            stop(f"a provider does not take it: {reason(failure)}; the same command goes on")


@contextmanager
def desk_of(
    file: Path, folder: Path | None, policy_file: Path | None, *, alone: bool = True
) -> Iterator[Desk]:
    """The job's desk; what goes wrong at it is told.

    Args:
        alone: no other process may work at the job meanwhile.
    """
    try:
        settings = Settings.from_env()
        policy = load_policy(policy_file or settings.policy_file)
        place = folder or file.with_suffix(".batch")
        with _locked(place) if alone else nullcontext():
            yield Desk(file, place, settings, policy)
    except ConfigError as error:
        stop("\n  ".join(["the configuration has faults:", *error.faults]))
    except FarewayError as error:
        stop(error.message)
    except (OSError, BotoCoreError, ClientError) as error:
        stop(str(error))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keeps other processes from the job; the lock goes with the process that holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(folder / ".lock", timeout=0, isolation_level=None)) as lock:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            stop(f"another process works at {folder}")
        yield


class _Bar:
    """Steps of a job, each with a bar of its own."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, step: running.Step, done: int, total: int) -> None:
        if step not in self._tasks:
            self._tasks[step] = self._progress.add_task(step, total=total or None)
        self._progress.update(self._tasks[step], completed=done, total=total or None)


def _format(file: Path) -> Format:
    return "csv" if file.suffix.lower() == ".csv" else "jsonl"
