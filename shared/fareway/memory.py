"""What is remembered of prompts and sessions: an LRU in the process, DynamoDB behind it.

Of a prompt: the verdict, and the tier that feedback raised it to. Never a prompt or an answer; the
decision is made afresh each time, so that a request's own bounds always hold. All that a request
wants to know comes in one batched read: the same prompt, its derivatives, its session. A table
that is slow, throttled or missing leaves the request with what the process knows: nothing is lost
but memory.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from fareway.aws import FAILURES, Aws
from fareway.escalate import Session
from fareway.fingerprint import Fingerprint
from fareway.log import log
from fareway.policy import TIERS, Tier
from fareway.sessions import read_session
from fareway.verdict import Verdict

#: How a verdict was found: in the process, in the table, as a derivative's; `none`: it was made.
Hit = Literal["none", "local", "table", "derivative"]


@dataclass(frozen=True, slots=True)
class Entry:
    """What is remembered of a prompt.

    Args:
        verdict: None where only the correction is known.
        raised: the tier that feedback raised the prompt to; it counts until `raised_until`.
        expires_at: seconds since the epoch, as `raised_until` is.
        root: key of the first of all that repeat each other, which votes on any of them are for.
        bands: under which its derivatives find it.
    """

    verdict: Verdict | None
    expires_at: float
    raised: Tier | None = None
    raised_until: float = 0.0
    root: str = ""
    bands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Recalled:
    """What one read brought.

    Args:
        exact: of the same prompt.
        derivative: of one that this prompt repeats with small changes.
        failed: a table did not answer; there may be more than this.
    """

    exact: Entry | None = None
    derivative: Entry | None = None
    session: Session | None = None
    failed: bool = False


@dataclass(slots=True)
class Memory:
    """Entries by key, sessions by theirs.

    Args:
        table: of entries; empty: the process's LRU alone.
        sessions: of sessions; empty: none are remembered.
        budget_s: how long a read or a write may take, seconds.
        secret: key of the hashes of words that tell a derivative.
        ttl_s: how long an entry counts, seconds. DynamoDB deletes late, so it is checked here.
        fresh_s: how long the process trusts what it knows, where there is a table, seconds: a
            correction that another process made is known after that.
        size: entries in the process, and as many bands.
        now: seconds since the epoch.
    """

    aws: Aws
    table: str = ""
    sessions: str = ""
    budget_s: float = 0.06
    secret: bytes = b""
    ttl_s: int = 7 * 24 * 3600
    fresh_s: float = 60.0
    size: int = 4096
    now: Callable[[], float] = time.time
    _entries: OrderedDict[str, tuple[Entry, float]] = field(default_factory=OrderedDict)
    _bands: OrderedDict[str, tuple[str, Entry]] = field(default_factory=OrderedDict)

    @property
    def remote(self) -> bool:
        """Whether there is more than the process's LRU to ask."""
        return bool(self.table)

    def get_local(self, key: str) -> Entry | None:
        """Of the same prompt, from the process's LRU, while that is fresh."""
        found = self._entries.get(key)
        if found is None:
            return None
        entry, known_at = found
        stale = bool(self.table) and self.now() - known_at >= self.fresh_s
        if stale or entry.expires_at <= self.now():
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return entry

    async def recall(
        self, key: str | None, prompt: Fingerprint | None, session: str | None
    ) -> Recalled:
        """What is known, in one read. Never raises.

        Args:
            key: of the same prompt; None where that is known already.
            prompt: None where no derivative is looked for.
            session: key of its state; None where it has none.
        """
        wanted = dict.fromkeys([*([key] if key else []), *(prompt.reads if prompt else ())])
        requests: dict[str, Any] = {}
        if self.table and wanted:
            requests[self.table] = {"Keys": [{"key": {"S": k}} for k in wanted]}
        if self.sessions and session:
            keys = [{"session": {"S": session}}]
            requests[self.sessions] = {"Keys": keys, "ConsistentRead": True}
        answer: Mapping[str, Any] = {}
        failed = False
        if requests:
            try:
                async with asyncio.timeout(self.budget_s):
                    client = await self.aws.client("dynamodb")
                    answer = await client.batch_get_item(RequestItems=requests)
                failed = bool(answer.get("UnprocessedKeys"))
                if failed:
                    log("warning", "memory read failed", error="UnprocessedKeys")
            except FAILURES as error:
                failed = True
                log("warning", "memory read failed", error=type(error).__name__)
        items = answer.get("Responses", {})
        exact = self._take(key, prompt, items.get(self.table, ()))
        states = items.get(self.sessions, ())
        return Recalled(
            exact,
            self._derivative(prompt) if prompt else None,
            read_session(states[0], self.now()) if states else None,
            failed,
        )

    def _take(
        self, key: str | None, prompt: Fingerprint | None, items: Sequence[Mapping[str, Any]]
    ) -> Entry | None:
        """Items into the LRU -> the entry of `key`."""
        exact = None
        for item in items:
            try:
                entry = _entry(item)
                name, signature = item["key"]["S"], item.get("signature")
                if entry.expires_at <= self.now():
                    continue
            except (KeyError, TypeError, ValueError) as error:
                log("warning", "memory entry unreadable", error=type(error).__name__)
                continue
            if name == key:
                exact = entry
                _keep(self._entries, name, (entry, self.now()), self.size)
            elif signature is not None:
                _keep(self._bands, name, (signature["S"], entry), self.size)
        return exact

    def _derivative(self, prompt: Fingerprint) -> Entry | None:
        """The first entry whose prompt this one repeats; each that is found is looked at once."""
        found = dict(self._bands[band] for band in prompt.reads if band in self._bands)
        for signature, entry in found.items():
            if entry.expires_at > self.now() and prompt.repeats(signature):
                return entry
        return None

    async def keep(self, key: str, prompt: Fingerprint | None, entry: Entry) -> bool:
        """Keeps what is new, here and in the table -> whether the table took it.

        Args:
            prompt: None where no derivative is to find it: it is one itself.
        """
        self.keep_local(key, prompt, entry)
        if not self.table:
            return True
        bands, signature = (prompt.writes, prompt.signature) if prompt else ((), "")
        signed = {"signature": {"S": signature}}
        items = [_item(key, entry), *(_item(band, entry) | signed for band in bands)]
        return await self.aws.put_all(self.table, items, self.budget_s, "memory")

    def keep_local(self, key: str, prompt: Fingerprint | None, entry: Entry) -> None:
        """Keeps what is new in the process alone."""
        _keep(self._entries, key, (entry, self.now()), self.size)
        if prompt:
            for band in prompt.writes:
                _keep(self._bands, band, (prompt.signature, entry), self.size)

    def forget(self, keys: Sequence[str]) -> None:
        """Lets the process ask the table again."""
        for key in keys:
            self._entries.pop(key, None)
            self._bands.pop(key, None)


def _keep(lru: OrderedDict[str, Any], key: str, value: object, size: int) -> None:
    lru[key] = value
    lru.move_to_end(key)
    while len(lru) > size:
        lru.popitem(last=False)


def _item(key: str, entry: Entry) -> dict[str, Any]:
    verdict = entry.verdict
    assert verdict is not None
    value = {
        "p": verdict.probabilities,
        "sensitivity": verdict.sensitivity,
        "classifier": verdict.classifier,
        "complexity": verdict.complexity,
    }
    item: dict[str, Any] = {
        "key": {"S": key},
        "verdict": {"S": json.dumps(value)},
        "expires_at": {"N": str(int(entry.expires_at))},
        "root": {"S": entry.root},
        "bands": {"S": " ".join(entry.bands)},
    }
    if entry.raised:
        item |= {"raised": {"S": entry.raised}, "raised_until": {"N": str(int(entry.raised_until))}}
    return item


def _entry(item: Mapping[str, Any]) -> Entry:
    raised = item["raised"]["S"] if "raised" in item else None
    if raised is not None and raised not in TIERS:
        raise ValueError(raised)
    return Entry(
        _verdict(json.loads(item["verdict"]["S"])) if "verdict" in item else None,
        float(item["expires_at"]["N"]),
        raised,
        float(item["raised_until"]["N"]) if raised else 0.0,
        item["root"]["S"] if "root" in item else item["key"]["S"],
        tuple(item["bands"]["S"].split()) if "bands" in item else (),
    )


def _verdict(value: Mapping[str, Any]) -> Verdict:
    p1, p2, p3, p4, p5 = map(float, value["p"])
    return Verdict(
        (p1, p2, p3, p4, p5),
        float(value["sensitivity"]),
        str(value["classifier"]),
        value.get("complexity"),
    )
