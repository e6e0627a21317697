"""Rows of a user's own traffic -> the same rows with their complexity, said by the teacher.

What is written can be gone on from: a row that is there is not asked again, one that failed is.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from fareway.bill import bill, estimate_usage, four_bytes
from fareway.breaker import Breakers
from fareway.errors import BadRequest, ProviderError, TeacherDown
from fareway.policy import Policy
from fareway.render import render
from fareway.rows import Row
from fareway.teacher import NAME, QUESTION, Said, Teacher

TIMEOUT_S = 60.0  # of one call: nobody waits for it as for a request
TRIES = 4
LONGEST_WAIT_S = 60.0
#: Failures in a row after which the rest is not tried: every row would cost its tries in vain.
HOPELESS = 20


@dataclass(slots=True)
class Tally:
    """What was done, for how much.

    Args:
        before: rows that an earlier run labelled.
        failures: rows without a complexity, by what went wrong.
        cost_usd: USD; None once a call has no known price.
        estimated: some of the tokens or prices are ours and not the endpoint's own.
    """

    before: int = 0
    labelled: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: Decimal | None = Decimal(0)
    estimated: bool = False


@dataclass(slots=True)
class Labeller:
    """Asks the teacher row by row, several at a time. Units: `sleep` seconds."""

    teacher: Teacher
    policy: Policy
    tally: Tally
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[], float] = random.random
    _hope: Breakers = field(default_factory=lambda: Breakers(HOPELESS, 0))

    async def label(
        self, rows: Iterable[Row], concurrency: int, keep: Callable[[dict[str, Any]], None]
    ) -> None:
        """Gives `keep` each row's result as soon as it is there, in no fixed order.

        Raises:
            TeacherDown: it does not answer at all; what was kept is good.
        """
        left = iter(rows)

        async def work() -> None:
            for row in left:
                keep(await self._result(row))

        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(concurrency):
                    workers.create_task(work())
        except ExceptionGroup as group:
            raise group.exceptions[0] from group

    async def _result(self, row: Row) -> dict[str, Any]:
        known = {k: v for k, v in row.entry.items() if k not in ("complexity", "error")}
        known = {"id": row_id(row), **{k: v for k, v in known.items() if k != "id"}}
        if row.messages is None:
            self.tally.failures["bad line"] += 1
            return {**known, "error": row.fault}
        text = render(row.messages)
        try:
            said = await self._ask(text)
        except ProviderError as failure:
            rejected = failure.rejected is not None
            return {
                **known,
                "error": self._failed(failure.kind, rejected, failure.whole_aggregator),
            }
        self._count(text, said)
        if said.complexity is None:
            return {**known, "error": self._failed("bad_answer", of_prompt=True)}
        self._hope.succeeded(NAME)
        self.tally.labelled += 1
        return {**known, "complexity": said.complexity}

    async def _ask(self, text: str) -> Said:
        """One row, tried again while its failures are of the moment."""
        for number in range(1, TRIES + 1):
            try:
                return await self.teacher.ask(text, TIMEOUT_S)
            except ProviderError as failure:
                of_the_moment = failure.retryable or failure.kind == "timeout"
                wait_s = max(2**number * self.jitter(), failure.retry_after_s or 0.0)
                if not of_the_moment or number == TRIES or wait_s > LONGEST_WAIT_S:
                    raise
                await self.sleep(wait_s)
        raise AssertionError("unreachable: `TRIES` is at least 1")

    def _failed(self, kind: str, of_prompt: bool, of_endpoint: bool = False) -> str:
        """Counts a failure and gives its kind back.

        Args:
            of_prompt: another prompt may well do, once one has.
            of_endpoint: no prompt will.

        Raises:
            TeacherDown: the rest would fail alike.
        """
        self.tally.failures[kind] += 1
        if of_prompt and self.tally.before + self.tally.labelled:
            return kind
        if self._hope.failed(NAME, 0) or of_endpoint:
            raise TeacherDown(
                f"{self.teacher.model} at {self.teacher.aggregator.base_url} gives no complexity "
                f"({kind}), so the rest was not asked. Run the same command again to go on."
            )
        return kind

    def _count(self, text: str, said: Said) -> None:
        """Adds a call's tokens and cost."""
        tally, completion = self.tally, said.completion
        usage = completion.usage or estimate_usage(
            four_bytes, QUESTION + text, "".join(completion.text)
        )
        cost = bill(
            usage,
            completion.cost_usd,
            completion.served_model,
            self.policy.prices.find(self.teacher.model),
            self.policy.prices,
            self.policy.baseline_price(),
        )
        tally.prompt_tokens += usage.prompt_tokens
        tally.completion_tokens += usage.completion_tokens
        tally.estimated |= usage.estimated or cost.source != "provider"
        if tally.cost_usd is not None:
            tally.cost_usd = None if cost.cost_usd is None else tally.cost_usd + cost.cost_usd


def row_id(row: Row) -> Any:
    """Its own `id`, else its line's number."""
    own = row.entry.get("id")
    return row.number if own is None else own


def pending(rows: Iterable[Row], done: set[bytes]) -> Iterator[Row]:
    """The rows that are not among those done."""
    return (row for row in rows if _identity({**row.entry, "id": row_id(row)}) not in done)


def resume(out: Path) -> set[bytes]:
    """The rows that an earlier run labelled; its failures are taken out, to be tried again.

    Raises:
        BadRequest: the file is no output of `fareway label`, and is left as it is.
        OSError: it cannot be read or written.
    """
    if not out.exists():
        return set()
    done, kept, dropped = set(), [], False
    lines = out.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        entry = _entry(line)
        if entry is not None and "complexity" in entry and line.endswith(b"\n"):
            done.add(_identity(entry))
            kept.append(line)
        elif (entry is not None and "error" in entry) or _torn(line, entry):
            dropped = True
        else:
            raise BadRequest(f"{out}, line {number}: not a row of `fareway label`")
    if dropped:
        part = out.with_name(out.name + ".part")
        part.write_bytes(b"".join(kept))
        os.replace(part, out)
    return done


def _torn(line: bytes, entry: Mapping[str, Any] | None) -> bool:
    """Whether it is a row of ours whose writing was cut off."""
    cut = line.startswith(b'{"id": ') and not line.endswith(b"\n")
    return cut and (entry is None or "complexity" in entry)


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None


def _identity(entry: Mapping[str, Any]) -> bytes:
    """What makes two rows the same: id and prompt."""
    prompt = json.dumps([entry.get(name) for name in ("id", "text", "messages")], sort_keys=True)
    return hashlib.sha256(prompt.encode()).digest()
