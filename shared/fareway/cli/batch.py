"""`fareway batch plan|run|status|collect|cancel FILE`.

A job lives in a folder beside its file, FILE without its ending and `.batch`. All that was done
is there, and each command goes on from it: so does a run that was interrupted.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, closing, contextmanager, nullcontext
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import boto3
import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.progress import Progress, TaskID
from rich.table import Table

from fareway import ledger
from fareway.batch import collect as collecting
from fareway.batch import run as running
from fareway.batch.job import Job
from fareway.batch.lanes import REALTIME, Offers
from fareway.batch.realtime import Pace, RealTime
from fareway.batch.rows import Format
from fareway.batch.store import Folder
from fareway.batch.submit import Submitter
from fareway.caller import Caller
from fareway.classify import Classifier
from fareway.cli.console import err, out, progress_bar, stop
from fareway.cli.score import CORES, Workers
from fareway.errors import ConfigError, FarewayError, ProviderError
from fareway.policy import Policy, load_policy
from fareway.providers.batch_api import reason
from fareway.providers.http import Http
from fareway.settings import Settings
from fareway.wiring import Batching, build_batch

app = typer.Typer(no_args_is_help=True)
File = Annotated[
    Path,
    typer.Argument(
        exists=True,
        dir_okay=False,
        help="A .csv with the columns prompt or messages, and id, system, max_tokens, model; or "
        "a .jsonl of such objects.",
    ),
]
JobFolder = Annotated[
    Path | None,
    typer.Option("--job", file_okay=False, help="Where the job is kept; else beside the file."),
]
Dedupe = Annotated[bool, typer.Option("--dedupe", help="Equal requests are paid once.")]
Expect = Annotated[
    int | None,
    typer.Option(min=1, help="Tokens of a completion, for the estimate; else the policy's."),
]
PolicyFile = Annotated[Path | None, typer.Option("--policy", help="Another policy.toml.")]


@app.command()
def plan(
    file: File,
    job_folder: JobFolder = None,
    dedupe: Dedupe = False,
    expect_tokens: Expect = None,
    workers: Workers = CORES,
    policy_file: PolicyFile = None,
) -> None:
    """Where each row would go and what it would cost; nothing is sent.

    Without any upstream's key the plan is made as if there were all of them.
    """
    options = running.Options(dedupe, expect_tokens)
    with _desk(file, job_folder, policy_file) as desk:
        _show_plan(desk.plan(options, workers))


@app.command()
def run(
    file: File,
    job_folder: JobFolder = None,
    dedupe: Dedupe = False,
    expect_tokens: Expect = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Does not ask before it pays.")] = False,
    rpm: Annotated[
        int, typer.Option(min=1, help="Requests a minute of what is asked in real time.")
    ] = 600,
    poll_s: Annotated[
        float, typer.Option("--poll", min=0, help="Seconds to the next look; it grows tenfold.")
    ] = 30.0,
    workers: Workers = CORES,
    policy_file: PolicyFile = None,
) -> None:
    """Plans, asks, sends, waits and collects. Interrupted, the same command goes on."""
    options = running.Options(dedupe, expect_tokens)
    with _desk(file, job_folder, policy_file) as desk:
        planned = desk.plan(options, workers)
        if desk.job.cancelled:
            stop("the job was cancelled; collect what is there, or name another folder with --job")
        if collecting.pending(desk.job):
            _show_plan(planned)
            desk.check_keys(planned)
            begun = bool(desk.job.store.keys("submissions/") or desk.job.store.keys("results/"))
            if not (yes or begun or typer.confirm("Send it?", err=True)):
                raise typer.Exit(1)
            desk.ask(rpm, poll_s)
        _show_summary(desk, desk.collect(partial=False))


@app.command()
def status(file: File, job_folder: JobFolder = None, policy_file: PolicyFile = None) -> None:
    """How far each request file of the job is, as its provider says."""
    with _desk(file, job_folder, policy_file, alone=False) as desk:
        planned = desk.planned()
        table = Table("file", "requests", "state", "done")
        for name, requests in desk.files(planned):
            state, done = desk.state(name)
            table.add_row(name, f"{requests:,}", state, f"{done:,}" if done is not None else "")
        out.print(table)


@app.command()
def collect(
    file: File,
    job_folder: JobFolder = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Also where results are still to come.")
    ] = False,
    policy_file: PolicyFile = None,
) -> None:
    """Fetches the results that are there and writes the answers."""
    with _desk(file, job_folder, policy_file) as desk:
        desk.planned()
        desk.fetch()
        _show_summary(desk, desk.collect(partial=partial or desk.job.cancelled))


@app.command()
def cancel(file: File, job_folder: JobFolder = None, policy_file: PolicyFile = None) -> None:
    """Sends nothing more and cancels what is under way; what was answered is paid."""
    with _desk(file, job_folder, policy_file, alone=False) as desk:
        desk.planned()
        stopped = desk.cancel()
    err.print(f"{stopped} batches are being cancelled; collect what they answered", highlight=False)


class _Desk:
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
        retries = [k for k in self.job.store.keys("requests/") if k.endswith("-retry.jsonl")]
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
        lines = (line.decode() for line in self.job.lines("out/events.jsonl"))
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
def _desk(
    file: Path, folder: Path | None, policy_file: Path | None, *, alone: bool = True
) -> Iterator[_Desk]:
    """The job's desk; what goes wrong at it is told.

    Args:
        alone: no other process may work at the job meanwhile.
    """
    try:
        settings = Settings.from_env()
        policy = load_policy(policy_file or settings.policy_file)
        place = folder or file.with_suffix(".batch")
        with _locked(place) if alone else nullcontext():
            yield _Desk(file, place, settings, policy)
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


def _show_plan(planned: Mapping[str, Any]) -> None:
    money = planned["estimate"]
    table = Table("provider", "model", "files", "requests")
    kinds = dict.fromkeys((f["provider"], f["model"]) for f in planned["files"])
    for provider, model in kinds:
        files = [f for f in planned["files"] if (f["provider"], f["model"]) == (provider, model)]
        requests = sum(f["requests"] for f in files)
        table.add_row(provider, model, f"{len(files):,}", f"{requests:,}")
    out.print(table)
    for model, rows in planned["in_real_time"].items():
        out.print(f"{model} has no batch endpoint: {rows:,} rows in real time, at full price")
    counts = [f"{planned['rows']:,} rows", f"{planned['invalid_rows']:,} of them faulty"]
    counts += [f"{n:,} repeated and not paid again"] if (n := planned["duplicate_rows"]) else []
    out.print(", ".join(counts), highlight=False)
    out.print(
        f"estimate, at up to {planned['expected_tokens']} completion tokens a row: "
        f"[bold]{_usd(money['cost_usd'])}[/]; the same models in real time "
        f"{_usd(money['same_models_in_real_time_usd'])}, all-premium in real time "
        f"{_usd(money['all_premium_in_real_time_usd'])}",
        highlight=False,
    )


def _show_summary(desk: _Desk, summary: Mapping[str, Any]) -> None:
    money = summary["cost"]
    counts = ", ".join(f"{n:,} {status}" for status, n in summary["statuses"].items())
    out.print(f"{summary['rows']:,} rows: {counts}", highlight=False)
    out.print(
        f"cost [bold]{_usd(money['cost_usd'])}[/] (estimated {_usd(money['estimate_usd'])}); the "
        f"same models in real time {_usd(money['same_models_in_real_time_usd'])}, all-premium in "
        f"real time {_usd(money['all_premium_in_real_time_usd'])}",
        highlight=False,
    )
    for note in summary["notes"]:
        out.print(note, highlight=False)
    for key in desk.job.store.keys("out/"):
        out.print(str(desk.folder / key), highlight=False, soft_wrap=True)


def _usd(text: str) -> str:
    """An amount for people: cents, or more digits where it is less than a dollar."""
    amount = Decimal(text)
    return f"{amount:.2f} USD" if amount >= 1 else f"{amount:.6f} USD"
