"""Sessions' states in DynamoDB: read as they are now, written only over the state they are made of.

Each session has an item of its own, which goes a day after its last turn. What is stored is a
floor, counts, hashes and the ids of decisions.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from pydantic import TypeAdapter

from fareway.aws import FAILURES, Aws, condition_failed
from fareway.escalate import Session
from fareway.log import log

#: How long a state is kept after its last turn, seconds.
TTL_S = 24 * 3600
#: Tries where others write the same session meanwhile.
TRIES = 4
#: What is stored; fields that another version added are left out.
_STATE = TypeAdapter(Session)


@dataclass(slots=True)
class Sessions:
    """States by key.

    Args:
        table: empty: nothing is remembered of a session.
        budget_s: how long a change may take, seconds.
        now: seconds since the epoch.
    """

    aws: Aws
    table: str = ""
    budget_s: float = 0.25
    now: Callable[[], float] = time.time

    async def change(
        self, key: str, change: Callable[[Session], Session], known: Session | None = None
    ) -> Session | None:
        """Changes a state; if another request was faster, its state is changed instead.

        Args:
            known: the state as it was read; None: it is read first.

        Returns:
            The state as it was written; None where the table did not take it.
        """
        if not self.table:
            return None
        try:
            async with asyncio.timeout(self.budget_s):
                for _ in range(TRIES):
                    state = change(known or await self._load(key) or Session())
                    if await self._written(key, state):
                        return state
                    known = None
            log("warning", "session write failed", error="contended")
        except FAILURES as error:
            log("warning", "session write failed", error=type(error).__name__)
        return None

    async def _load(self, key: str) -> Session | None:
        client = await self.aws.client("dynamodb")
        answer = await client.get_item(
            TableName=self.table, Key={"session": {"S": key}}, ConsistentRead=True
        )
        return read_session(answer["Item"], self.now()) if "Item" in answer else None

    async def _written(self, key: str, session: Session) -> bool:
        """Whether the state is still the one that this one was made of, and is written over."""
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(version)"}
        if session.version:
            condition = {
                "ConditionExpression": "version = :seen",
                "ExpressionAttributeValues": {":seen": {"N": str(session.version)}},
            }
        client = await self.aws.client("dynamodb")
        try:
            await client.put_item(
                TableName=self.table,
                Item={
                    "session": {"S": key},
                    "state": {"S": json.dumps(asdict(session), separators=(",", ":"))},
                    "version": {"N": str(session.version + 1)},
                    "expires_at": {"N": str(int(self.now()) + TTL_S)},
                },
                **condition,
            )
        except FAILURES as error:
            if condition_failed(error):
                return False
            raise
        return True


def read_session(item: Mapping[str, Any], now: float) -> Session | None:
    """A stored state; an empty one to write over where it is too old or damaged.

    Args:
        now: seconds since the epoch. DynamoDB deletes late.
    """
    try:
        version = int(item["version"]["N"])
    except (KeyError, TypeError, ValueError) as error:
        log("warning", "session unreadable", error=type(error).__name__)
        return None
    try:
        if float(item["expires_at"]["N"]) <= now:
            return Session(version=version)
        return replace(_STATE.validate_json(item["state"]["S"]), version=version)
    except (KeyError, TypeError, ValueError) as error:
        log("warning", "session unreadable", error=type(error).__name__)
        return Session(version=version)
