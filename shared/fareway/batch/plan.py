"""Decided rows -> request files within the providers' limits, and what they will cost."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from fareway.adapt import adapt
from fareway.batch.job import Job, custom_id
from fareway.batch.lanes import REALTIME, Guess
from fareway.batch.rows import Row
from fareway.batch.slices import decided
from fareway.policy import Policy
from fareway.providers.batch_api import BatchProvider, Limits

#: Requests of a file that is asked in real time: what is asked again after a crash at most.
PACED = Limits(100, 200_000_000)


@dataclass(slots=True)
class Money:
    """Sums, USD; a row without a known price is in none of them and counted."""

    cost_usd: Decimal = Decimal(0)
    realtime_usd: Decimal = Decimal(0)
    baseline_usd: Decimal = Decimal(0)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    unpriced: int = 0

    def add(self, one: Guess) -> None:
        if one.cost_usd is None or one.realtime_usd is None:
            self.unpriced += 1
            return
        self.cost_usd += one.cost_usd
        self.realtime_usd += one.realtime_usd
        self.baseline_usd += one.baseline_usd
        self.prompt_tokens += one.prompt_tokens
        self.completion_tokens += one.completion_tokens

    def told(self) -> dict[str, Any]:
        return {
            "cost_usd": f"{self.cost_usd:f}",
            "same_models_in_real_time_usd": f"{self.realtime_usd:f}",
            "all_premium_in_real_time_usd": f"{self.baseline_usd:f}",
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "unpriced_rows": self.unpriced,
        }


def guess_of(expected: Sequence[Any]) -> Guess:
    """What `classify` wrote of a row's expected cost."""
    prompt, completion, cost, realtime, baseline = expected
    return Guess(
        prompt,
        completion,
        None if cost is None else Decimal(cost),
        None if realtime is None else Decimal(realtime),
        Decimal(baseline),
    )


@dataclass(slots=True)
class _Plan:
    files: list[dict[str, Any]] = field(default_factory=list)
    rows: int = 0
    faults: int = 0
    duplicates: int = 0
    tiers: Counter[str] = field(default_factory=Counter)
    realtime: Counter[str] = field(default_factory=Counter)
    money: Money = field(default_factory=Money)


def assemble(job: Job, policy: Policy, providers: Mapping[str, BatchProvider]) -> dict[str, Any]:
    """The decided slices -> request files within the providers' limits, and `plan.json`."""
    asked = job.asked()
    assert asked is not None
    plan = _Plan()
    with ExitStack() as stack:
        first_of = stack.enter_context(seen())
        files: dict[str, _Files] = {}
        for row, told in decided(job):
            plan.rows += 1
            if "fault" in told:
                plan.faults += 1
                continue
            plan.tiers[told["tier"] or "direct"] += 1
            if asked.dedupe and first_of(row) != row.line:
                plan.duplicates += 1
                continue
            plan.money.add(guess_of(told["expected"]))
            provider = told["provider"]
            if provider == REALTIME:
                plan.realtime[told["model"]] += 1
            model = quote(told["model"], safe="")  # `openai/gpt-5` is no folder
            name = REALTIME if provider == REALTIME else f"{provider}-{model}"
            if name not in files:
                limits = PACED if provider == REALTIME else providers[provider].limits
                most = min(limits.requests, asked.file_requests or limits.requests)
                limits = Limits(most, limits.bytes)
                files[name] = _Files(job, name, told, limits, plan.files)
                stack.callback(files[name].close)
            files[name].put(_request(asked.name, row, told, policy, providers))
    document = {
        "rows": plan.rows,
        "invalid_rows": plan.faults,
        "duplicate_rows": plan.duplicates,
        "tiers": dict(plan.tiers),
        "in_real_time": dict(plan.realtime),
        "expected_tokens": asked.expected_tokens,
        "estimate": plan.money.told(),
        "files": sorted(plan.files, key=lambda file: file["name"]),
    }
    job.keep("plan.json", document)
    return document


def _request(
    name: str,
    row: Row,
    told: dict[str, Any],
    policy: Policy,
    providers: Mapping[str, BatchProvider],
) -> dict[str, Any]:
    """The line of a request file."""
    body: dict[str, Any] = {"messages": row.messages}
    if row.max_tokens:
        body["max_completion_tokens"] = row.max_tokens
    id_ = custom_id(name, row)
    if told["provider"] == REALTIME:
        return {"custom_id": id_, "body": body, "candidates": told["candidates"]}
    adapted, _ = adapt({"model": told["id"], **body}, policy.models.get(told["model"]))
    return providers[told["provider"]].request(id_, adapted)


class _Files:
    """Request files of one provider and model, one after another as each is full."""

    def __init__(
        self,
        job: Job,
        name: str,
        told: dict[str, Any],
        limits: Limits,
        done: list[dict[str, Any]],
    ) -> None:
        self._job, self._name, self._limits, self._done = job, name, limits, done
        self._about = {"provider": told["provider"], "model": told["model"]}
        if told["provider"] == REALTIME:
            self._about["model"] = "several"
        self._number, self._file = 0, ExitStack()
        self._target: IO[bytes] | None = None
        self._requests = self._bytes = 0

    def put(self, request: dict[str, Any]) -> None:
        line = json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        full = self._requests + 1 > self._limits.requests
        if full or self._bytes + len(line) > self._limits.bytes - 64:
            self.close()
        if self._target is None:
            key = f"requests/{self._name}-{self._number:04}.jsonl"
            self._target = self._file.enter_context(self._job.store.write(key))
        self._target.write(line)
        self._requests += 1
        self._bytes += len(line)

    def close(self) -> None:
        if self._target is None:
            return
        self._file.close()
        self._done.append(
            {
                "name": f"{self._name}-{self._number:04}",
                **self._about,
                "requests": self._requests,
                "bytes": self._bytes,
            }
        )
        self._number, self._target, self._requests, self._bytes = self._number + 1, None, 0, 0


@contextmanager
def seen() -> Iterator[Callable[[Row], int]]:
    """A function: a row -> the line of the first row that asks the same. On disk, not in memory."""
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(sqlite3.connect(Path(folder) / "seen.sqlite")) as table,
    ):
        table.execute("PRAGMA journal_mode = OFF")
        table.execute("PRAGMA synchronous = OFF")
        table.execute("CREATE TABLE seen (hash BLOB PRIMARY KEY, line INTEGER) WITHOUT ROWID")

        def first_of(row: Row) -> int:
            hashed = bytes.fromhex(row.content_hash[:32])
            table.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (hashed, row.line))
            found = table.execute("SELECT line FROM seen WHERE hash = ?", (hashed,))
            return int(found.fetchone()[0])

        yield first_of
