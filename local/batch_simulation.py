"""The batches of two simulated providers: how far each is, what its requests become. No HTTP."""

from __future__ import annotations

import hashlib
import json
import random
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from local.invoice import Invoice, Usage

Fate = Literal["completed", "expired", "failed"]
#: Of one request.
Miss = Literal["server_error", "invalid", "expired", "missing"]


@dataclass(slots=True)
class Job:
    """One batch.

    Args:
        looks: how often it is still said to be going on.
        share_done: of an expired or cancelled batch, how much of it has results.
        error: why it failed as a whole.
    """

    id: str
    requests: list[dict[str, Any]]
    created_at: float
    looks: int
    fate: Fate
    share_done: float
    metadata: dict[str, str] = field(default_factory=dict)
    input_file: str = ""
    error: str = ""
    cancelling: bool = False
    state: str = "in_progress"
    outcomes: list[tuple[dict[str, Any], Miss | None]] = field(default_factory=list)


@dataclass(slots=True)
class Fault:
    """A call that goes wrong, so many times.

    Args:
        call: `METHOD /path`, as a regular expression.
        after: it is done all the same, and only its answer is lost.
        cut: the answer breaks off in its middle.
    """

    call: str
    status: int = 503
    times: int = 1
    retry_after: float | None = None
    after: bool = False
    cut: bool = False


@dataclass(slots=True)
class Simulation:
    """The state of both providers, and what goes wrong.

    Args:
        looks: at a batch before it is over.
        fates: of the next batches, in order; then all are completed.
        misses: what becomes of a request whose prompt matches; (pattern, miss, times).
        no_room: so many batches are refused for want of room.
        invoices: of either provider; a request is billed as its answer is there.
    """

    looks: int = 1
    share_done: float = 0.5
    fates: list[Fate] = field(default_factory=list)
    misses: list[tuple[str, Miss, int]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    no_room: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    chance: random.Random = field(default_factory=lambda: random.Random(7))
    invoices: dict[str, Invoice] = field(
        default_factory=lambda: {"openai": Invoice("openai"), "anthropic": Invoice("anthropic")}
    )

    def made(self, provider: str) -> list[Job]:
        """The batches of a provider, `openai` or `anthropic`, in order."""
        mark = "batch_" if provider == "openai" else "msgbatch_"
        return [job for id_, job in self.jobs.items() if id_.startswith(mark)]

    def begin(self, mark: str, requests: list[dict[str, Any]]) -> Job:
        fate = self.fates.pop(0) if self.fates else "completed"
        id_ = f"{mark}{len(self.jobs):06}"
        job = Job(id_, requests, time.time(), self.looks, fate, self.share_done)
        self.jobs[id_] = job
        return job

    def look(self, job: Job) -> None:
        """A batch goes a step on at each look."""
        if job.state != "in_progress":
            return
        if job.looks > 0 and not job.cancelling:
            job.looks -= 1
            return
        self._settle(job)

    def _settle(self, job: Job) -> None:
        job.state = "cancelled" if job.cancelling else job.fate
        if job.state == "failed":
            return
        done = len(job.requests)
        if job.state in ("expired", "cancelled"):
            done = int(done * job.share_done)
        for number, request in enumerate(job.requests):
            miss = self._miss(request) if number < done else "expired"
            if miss != "missing":
                job.outcomes.append((request, miss))
            if miss is None:
                self._bill(job, request)
        self.chance.shuffle(job.outcomes)

    def _bill(self, job: Job, request: dict[str, Any]) -> None:
        asked, said = usage_of(prompt_of(request))
        invoice = self.invoices["anthropic" if job.id.startswith("msgbatch_") else "openai"]
        model = (request.get("body") or request["params"])["model"]
        invoice.add(request["custom_id"], model, Usage(asked, 0, said, 0), batch=True)

    def _miss(self, request: dict[str, Any]) -> Miss | None:
        prompt = prompt_of(request)
        for number, (pattern, miss, times) in enumerate(self.misses):
            if times > 0 and re.search(pattern, prompt):
                self.misses[number] = (pattern, miss, times - 1)
                return miss
        return None


def prompt_of(request: dict[str, Any]) -> str:
    """The last turn's text of a request of either shape."""
    body = request.get("body") or request.get("params") or {}
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else json.dumps(content)


def answer_to(prompt: str) -> str:
    """The answer to a prompt: its hash."""
    return f"answer {hashlib.sha256(prompt.encode()).hexdigest()[:16]}"


def usage_of(prompt: str) -> tuple[int, int]:
    """Prompt and completion tokens of an answer."""
    return len(prompt) // 4 + 1, 20 + len(prompt) % 50


def page(
    jobs: list[Job], limit: int, after: str, shown: Callable[[Job], dict[str, Any]]
) -> dict[str, Any]:
    """The newest first, as both providers list."""
    newest = jobs[::-1]
    start = next((i + 1 for i, job in enumerate(newest) if job.id == after), 0)
    chosen = newest[start : start + limit]
    return {
        "object": "list",
        "data": [shown(job) for job in chosen],
        "first_id": chosen[0].id if chosen else None,
        "last_id": chosen[-1].id if chosen else None,
        "has_more": start + limit < len(newest),
    }


def jsonl(entries: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)
