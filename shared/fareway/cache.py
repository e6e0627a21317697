"""Prompt context -> the verdict given before. An LRU in the process, DynamoDB behind it.

What is kept is the verdict, never a prompt or an answer; the decision is made of it afresh, so
that a request's own bounds always hold. A slow or missing table is a miss, within its budget.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from botocore.exceptions import BotoCoreError, ClientError

from fareway.aws import Aws
from fareway.log import log
from fareway.verdict import Verdict

Hit = Literal["none", "local", "table"]
#: What of a request the classifier's verdict could depend on.
CONTEXT = ("messages", "input", "tools", "response_format", "modalities")


def prompt_hash(tenant: str, body: Mapping[str, Any]) -> str:
    """The whole routed context of one tenant -> 32 hex digits; equal prompts, equal hashes.

    The tenant is part of it: two tenants' equal prompts do not show that they are equal.
    """
    context = json.dumps(
        [tenant, {name: body[name] for name in CONTEXT if name in body}],
        sort_keys=True,
        separators=(",", ":"),
    )
    return hashlib.sha256(context.encode()).hexdigest()[:32]


def cache_key(prompt: str, policy_version: str, classifier_version: str) -> str:
    """A new policy or classifier makes every earlier entry unreachable."""
    versions = f"{prompt}|{policy_version}|{classifier_version}"
    return hashlib.sha256(versions.encode()).hexdigest()


@dataclass(slots=True)
class DecisionCache:
    """Verdicts by key.

    Args:
        table: DynamoDB table name; empty: the process's LRU alone.
        budget_s: how long a read or a write may take, seconds.
        ttl_s: how long an entry counts, seconds. DynamoDB deletes late, so it is checked here.
        size: entries in the process.
        now: seconds since the epoch.
    """

    aws: Aws
    table: str
    budget_s: float
    ttl_s: int = 7 * 24 * 3600
    size: int = 4096
    now: Callable[[], float] = time.time
    _local: OrderedDict[str, tuple[Verdict, float]] = field(default_factory=OrderedDict)

    @property
    def remote(self) -> bool:
        """Whether there is more than the process's LRU to ask."""
        return bool(self.table)

    def get_local(self, key: str) -> Verdict | None:
        """From the process's LRU."""
        found = self._local.get(key)
        if found is None:
            return None
        if found[1] <= self.now():
            del self._local[key]
            return None
        self._local.move_to_end(key)
        return found[0]

    async def get(self, key: str) -> Verdict | None:
        """From the table; None when it does not answer within the budget."""
        if not self.table:
            return None
        try:
            async with asyncio.timeout(self.budget_s):
                client = await self.aws.client("dynamodb")
                answer = await client.get_item(TableName=self.table, Key={"key": {"S": key}})
            item = answer.get("Item")
            if item is None or float(item["expires_at"]["N"]) <= self.now():
                return None
            verdict = _verdict(json.loads(item["verdict"]["S"]))
        except (BotoCoreError, ClientError, TimeoutError, OSError) as error:
            log("warning", "cache read failed", error=type(error).__name__)
            return None
        except (KeyError, TypeError, ValueError) as error:
            log("warning", "cache entry unreadable", error=type(error).__name__)
            return None
        self._keep(key, verdict, float(item["expires_at"]["N"]))
        return verdict

    async def put(self, key: str, verdict: Verdict) -> None:
        """Keeps a verdict, here and in the table; a table that does not take it is no fault."""
        expires_at = int(self.now()) + self.ttl_s
        self._keep(key, verdict, expires_at)
        if not self.table:
            return
        value = {
            "p": verdict.probabilities,
            "sensitivity": verdict.sensitivity,
            "classifier": verdict.classifier,
            "complexity": verdict.complexity,
        }
        try:
            async with asyncio.timeout(self.budget_s):
                client = await self.aws.client("dynamodb")
                await client.put_item(
                    TableName=self.table,
                    Item={
                        "key": {"S": key},
                        "verdict": {"S": json.dumps(value)},
                        "expires_at": {"N": str(expires_at)},
                    },
                )
        except (BotoCoreError, ClientError, TimeoutError, OSError) as error:
            log("warning", "cache write failed", error=type(error).__name__)

    def _keep(self, key: str, verdict: Verdict, expires_at: float) -> None:
        self._local[key] = (verdict, expires_at)
        self._local.move_to_end(key)
        while len(self._local) > self.size:
            self._local.popitem(last=False)


def _verdict(value: Mapping[str, Any]) -> Verdict:
    p1, p2, p3, p4, p5 = map(float, value["p"])
    return Verdict(
        (p1, p2, p3, p4, p5),
        float(value["sensitivity"]),
        str(value["classifier"]),
        value.get("complexity"),
    )
