"""How fast a batch job's rows are classified, and how much memory a job takes.

    uv run python -m benchmarks.batch --json [--rows 1000000]

`rows_per_s`: the shipped classifier on prompts of about 60 tokens, two side by side, from the
slices of rows to what is decided of each, written down; the median of three runs.
`score_rows_per_s` is the classifier alone on such prompts. `peak_rss_mb`: the most resident memory
of a process that does a whole job of so many rows, from CSV to answers, errors, summary and events,
on a folder. In that job a stub scores, and a stub in the process answers for the providers: what is
measured is what the job itself holds. The last line of `--json` is

    {"rows_per_s", "score_rows_per_s", "peak_rss_mb": {"10000": x, "1000000": y}, "job_s": {...}}
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field
from io import BytesIO, TextIOWrapper
from pathlib import Path
from statistics import median
from typing import IO, Any

from fareway.batch import run, slices
from fareway.batch.collect import collect
from fareway.batch.job import Job
from fareway.batch.lanes import Offers
from fareway.batch.store import Folder
from fareway.batch.submit import Submitter
from fareway.caller import Caller
from fareway.classify import Classifier
from fareway.policy import load_policy
from fareway.providers import anthropic_batch, openai_batch
from fareway.providers.batch_api import Batch, Limits, Opened, Outcome
from fareway.settings import Settings
from fareway.verdict import Verdict

#: Each is one token of the classifier's.
WORDS = """
    order refund delivery invoice password account parcel shipping status change address email card
    payment cancel subscription plan month please explain compare why what how write prove
""".split()  # noqa: SIM905
TOKENS = 60
SCORED = 3_000
ALL = Offers(("openai", "anthropic"), ())


def prompt(chance: random.Random) -> str:
    return " ".join(chance.choices(WORDS, k=TOKENS))


def write_file(file: IO[bytes], rows: int) -> None:
    """A CSV file of prompts, written row by row."""
    chance = random.Random(1)
    text = TextIOWrapper(file, "utf-8", newline="")
    writer = csv.writer(text)
    writer.writerow(["id", "prompt", "note"])
    for number in range(rows):
        writer.writerow([number, f"{number} {prompt(chance)}", "carried"])
    text.flush()
    text.detach()


def silent(*_: object) -> None:
    pass


@dataclass
class Stub:
    """Answers at once for a provider, in the order of the requests."""

    name: str
    limits: Limits
    sent: dict[str, Opened] = field(default_factory=dict)

    def request(self, custom_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return {"custom_id": custom_id, "body": dict(body)}

    async def submit(self, opened: Opened, name: str) -> Batch:
        self.sent[name] = opened
        return Batch(name, "in_progress")

    async def find(
        self, name: str, since: float, total: int, others: Collection[str]
    ) -> Batch | None:
        return None

    async def get(self, id_: str) -> Batch:
        return Batch(id_, "ended", ended_at="2026-11-26T12:00:00+00:00")

    async def cancel(self, id_: str) -> None:
        pass

    async def results(self, batch: Batch) -> AsyncIterator[Outcome]:
        usage = {"prompt_tokens": 70, "completion_tokens": 120}
        with self.sent[batch.id]() as file:
            for line in file:
                request = json.loads(line)
                model = request["body"]["model"]
                yield Outcome(request["custom_id"], "succeeded", "word " * 24, model, usage)


def whole_job(rows: int) -> None:
    """A whole job in this process; prints its peak memory, MB, and its seconds."""
    policy = load_policy(Settings.from_env().policy_file)
    limits = {"openai": openai_batch.LIMITS, "anthropic": anthropic_batch.LIMITS}
    providers = {name: Stub(name, limit) for name, limit in limits.items()}
    verdicts = [
        Verdict((0.0, 0.0, 1.0, 0.0, 0.0), 0.01, "stub"),
        Verdict((0.0, 0.0, 0.0, 0.0, 1.0), 0.01, "stub"),
    ]

    async def no_wait(_: float) -> None:
        pass

    with tempfile.TemporaryDirectory() as folder:
        job = Job(Folder(Path(folder) / "job"))
        source = Path(folder) / "in.csv"
        with source.open("wb") as file:
            write_file(file, rows)
        begun = time.perf_counter()
        with source.open("rb") as file:
            run.begin(job, "in", file, "csv", run.Options(dedupe=True), policy, "stub")
            run.prepare(
                job,
                file,
                policy,
                ALL,
                providers,
                lambda texts: [verdicts[len(text) % 2] for text in texts],
                silent,
            )
        runner = run.Runner(job, Submitter(job, providers), None, silent, sleep=no_wait)
        asyncio.run(runner.run())
        summary = collect(job, policy, Caller("batch", "local"))
        took_s = time.perf_counter() - begun
    assert summary["statuses"] == {"succeeded": rows}, summary["statuses"]
    print(json.dumps({"peak_mb": round(peak_rss_mb(), 1), "took_s": round(took_s, 1)}))


def peak_rss_mb() -> float:
    """The most resident memory that this program had, MB.

    Linux tells it of the program itself; `ru_maxrss` would count who started it too.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    lines = status.read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def memory(rows: int) -> dict[str, float]:
    """The same in a process of its own: a process's peak never falls."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.batch", "--whole-job", str(rows)],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def throughput(workers: int) -> tuple[float, float]:
    """Rows a second: classified, decided and written down; and scored alone."""
    settings = Settings.from_env()
    policy, classifier = load_policy(settings.policy_file), Classifier.load(settings.classifier_dir)
    chance = random.Random(2)
    texts = [prompt(chance) for _ in range(SCORED)]
    content = BytesIO()
    write_file(content, SCORED)
    whole, alone = [], []
    for _ in range(3):
        begun = time.perf_counter()
        classifier.score_many(texts, workers=workers)
        alone.append(SCORED / (time.perf_counter() - begun))
        with tempfile.TemporaryDirectory() as folder:
            job = Job(Folder(Path(folder)))
            content.seek(0)
            run.begin(job, "in", content, "csv", run.Options(), policy, classifier.version)
            slices.split(job, content)
            begun = time.perf_counter()
            for key in slices.unclassified(job):
                slices.classify(
                    job,
                    key,
                    policy,
                    ALL,
                    lambda texts: classifier.score_many(texts, workers=workers),
                )
            whole.append(SCORED / (time.perf_counter() - begun))
    return median(whole), median(alone)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="the numbers alone, as a last line")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the larger job")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--whole-job", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.whole_job:
        whole_job(args.whole_job)
        return
    whole, alone = throughput(args.workers)
    found = {rows: memory(rows) for rows in (10_000, args.rows)}
    if not args.json:
        print(f"{whole:.0f} rows/s classified and decided ({alone:.0f} scored alone),")
        print(f"load of the machine {os.getloadavg()[0]:.1f}; the jobs' scores and answers: stubs")
    print(
        json.dumps(
            {
                "rows_per_s": round(whole, 1),
                "score_rows_per_s": round(alone, 1),
                "peak_rss_mb": {str(rows): one["peak_mb"] for rows, one in found.items()},
                "job_s": {str(rows): one["took_s"] for rows, one in found.items()},
                "stubs": "peak_rss_mb and job_s: the scorer and the providers",
            }
        )
    )


if __name__ == "__main__":
    main()
