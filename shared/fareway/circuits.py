"""Circuit breakers that a deployment's processes share: in the process first, DynamoDB behind.

A request never waits for the table, but for one thing: after a cooldown one process alone may
send the probe. What others have learned is read beside a request, at most every few seconds; a
table that is slow or missing leaves each process with what it knows itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from fareway.aws import Aws
from fareway.breaker import Breakers
from fareway.log import log

_FAILURES = (BotoCoreError, ClientError, TimeoutError, OSError)


@dataclass(slots=True)
class Circuits:
    """Who rests, here and elsewhere.

    Args:
        names: every circuit there can be: aggregators and candidates, 100 at most.
        table: DynamoDB table name; empty: this process alone.
        budget_s: how long the table may take, seconds.
        fresh_s: how long what the table said counts, seconds.
        now: seconds since the epoch, which all processes share; `clock` is this one's own.
    """

    breakers: Breakers
    aws: Aws
    table: str = ""
    names: Sequence[str] = ()
    budget_s: float = 0.5
    fresh_s: float = 2.0
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    _read_at: float = -1e9
    _shared: set[str] = field(default_factory=set)  # those that the table knows as open
    _running: set[asyncio.Task[None]] = field(default_factory=set)

    def refresh(self) -> None:
        """Begins to read what others learned, if that is due; nobody waits for it."""
        if self.table and self.clock() - self._read_at >= self.fresh_s:
            self._read_at = self.clock()
            self._begin(self._read())

    async def allows(self, name: str) -> bool:
        """Whether a call may go to `name` now; a probe is allowed to one process alone."""
        if not self.breakers.allows(name, self.clock()):
            return False
        return not self.table or not self.breakers.is_open(name) or await self._may_probe(name)

    def failed(self, name: str) -> bool:
        """Counts a failure; True when it opens the circuit, for all."""
        opens = self.breakers.failed(name, self.clock())
        if opens and self.table:
            self._begin(self._open(name))
        return opens

    def succeeded(self, name: str) -> None:
        """Closes the circuit, for all."""
        if self.breakers.succeeded(name) and self.table:
            self._begin(self._close(name))

    async def settled(self) -> None:
        """Waits for what is on its way to the table."""
        await asyncio.gather(*self._running)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        async def within_budget() -> None:
            try:
                async with asyncio.timeout(self.budget_s):
                    await work
            except _FAILURES as error:
                log("warning", "circuit table unavailable", error=type(error).__name__)

        task = asyncio.create_task(within_budget())
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _read(self) -> None:
        client = await self.aws.client("dynamodb")
        answer = await client.batch_get_item(
            RequestItems={self.table: {"Keys": [{"circuit": {"S": name}} for name in self.names]}}
        )
        found = {
            item["circuit"]["S"]: float(item["open_until"]["N"])
            for item in answer["Responses"].get(self.table, ())
        }
        for name in self._shared - set(found):
            self.breakers.succeeded(name)  # a probe of another process did
        for name, open_until in found.items():
            left_s = min(open_until - self.now(), self.breakers.cooldown_s)
            self.breakers.opened_elsewhere(name, self.clock() + left_s)
        self._shared = set(found)

    async def _open(self, name: str) -> None:
        client = await self.aws.client("dynamodb")
        open_until = self.now() + self.breakers.cooldown_s
        await client.put_item(
            TableName=self.table,
            Item={
                "circuit": {"S": name},
                "open_until": {"N": f"{open_until:.3f}"},
                "expires_at": {"N": self._gone(open_until)},
            },
        )
        self._shared.add(name)

    def _gone(self, open_until: float) -> str:
        """When the table may forget it: long after anybody cares."""
        return str(int(open_until + 10 * self.breakers.cooldown_s + 60))

    async def _close(self, name: str) -> None:
        client = await self.aws.client("dynamodb")
        await client.delete_item(TableName=self.table, Key={"circuit": {"S": name}})
        self._shared.discard(name)

    async def _may_probe(self, name: str) -> bool:
        """Moves the end of the cooldown on, which only the first can; True also without a table."""
        now, cooldown_s = self.now(), self.breakers.cooldown_s
        try:
            async with asyncio.timeout(self.budget_s):
                client = await self.aws.client("dynamodb")
                await client.update_item(
                    TableName=self.table,
                    Key={"circuit": {"S": name}},
                    UpdateExpression="SET open_until = :next, expires_at = :gone",
                    ConditionExpression="attribute_not_exists(circuit) OR open_until <= :now",
                    ExpressionAttributeValues={
                        ":next": {"N": f"{now + cooldown_s:.3f}"},
                        ":gone": {"N": self._gone(now + cooldown_s)},
                        # clocks differ, and the table learned of it a little later
                        ":now": {"N": f"{now + cooldown_s / 10:.3f}"},
                    },
                )
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return False
            log("warning", "circuit table unavailable", error=type(error).__name__)
        except _FAILURES as error:
            log("warning", "circuit table unavailable", error=type(error).__name__)
        return True
