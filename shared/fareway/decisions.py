"""Decisions as they can be asked for later: `GET /v1/decisions/{id}`, `fareway explain`, feedback.

One item a decision, and one that leads from the completion's id to it. They hold what `explained`
tells, hashes and keys; a decision of another tenant is not there.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter

from fareway.aws import Aws
from fareway.escalate import Answered
from fareway.log import log

TTL_S = 30 * 24 * 3600
#: A decision's id, or a response's, by its digits. Whatever else is asked for is hashed first:
#: DynamoDB takes no empty key, nor a long one.
_OWN = re.compile(r"(?:dec|resp)_([0-9a-z]{1,40})")


@dataclass(frozen=True, slots=True)
class Remembered:
    """One decision and what came of it.

    Args:
        told: what the caller may read of it.
        answer: None where it was passed through, or nothing answered.
        key: of the root of the prompts that repeat each other; None where it was not routed.
        bands: under which that is found, and the key of the very prompt.
        session: key of the session's state; None where it has none.
        voice: who asked, hashed.
        completion_id: the answer's own.
    """

    decision_id: str
    told: Mapping[str, Any]
    answer: Answered | None = None
    key: str | None = None
    bands: tuple[str, ...] = ()
    session: str | None = None
    voice: str = ""
    completion_id: str | None = None


#: What is stored; fields that another version added are left out.
_DECISION = TypeAdapter(Remembered)


@dataclass(slots=True)
class Decisions:
    """Decisions by their id or their completion's.

    Args:
        table: empty: none are remembered.
        budget_s: how long a read or a write may take, seconds.
        now: seconds since the epoch.
    """

    aws: Aws
    table: str = ""
    budget_s: float = 0.25
    now: Callable[[], float] = time.time

    async def keep(self, tenant_hash: str, one: Remembered) -> bool:
        """Keeps a decision -> whether the table took it."""
        if not self.table:
            return True
        gone = {"N": str(int(self.now()) + TTL_S)}
        value = json.dumps(asdict(one), separators=(",", ":"))
        items: list[dict[str, Any]] = [
            {
                "id": {"S": one.decision_id},
                "tenant": {"S": tenant_hash},
                "decision": {"S": value},
                "expires_at": gone,
            }
        ]
        if one.completion_id:
            name = _name(tenant_hash, one.completion_id)
            items.append({"id": {"S": name}, "is": {"S": one.decision_id}, "expires_at": gone})
        return await self.aws.put_all(self.table, items, self.budget_s, "decision")

    async def get(self, tenant_hash: str | None, id_: str) -> Remembered | None:
        """A tenant's decision; None where there is none that can be read.

        Args:
            tenant_hash: None for an operator, who may read all tenants', by the decision's id.
            id_: the decision's, the response's that shares its digits, or the completion's.

        Raises:
            One of FAILURES: the table does not answer.
        """
        if not self.table:
            return None
        async with asyncio.timeout(self.budget_s):
            own = _OWN.fullmatch(id_)
            item = await self._item(f"dec_{own[1]}") if own else None
            if item is None and tenant_hash is not None:
                named = await self._item(_name(tenant_hash, id_))
                item = await self._item(named["is"]["S"]) if named else None
        if item is None or tenant_hash not in (None, item.get("tenant", {}).get("S")):
            return None
        try:
            if float(item["expires_at"]["N"]) <= self.now():
                return None
            return _DECISION.validate_json(item["decision"]["S"])
        except (KeyError, TypeError, ValueError) as error:
            log("warning", "decision unreadable", error=type(error).__name__)
            return None

    async def _item(self, name: str) -> Mapping[str, Any] | None:
        client = await self.aws.client("dynamodb")
        answer = await client.get_item(
            TableName=self.table, Key={"id": {"S": name}}, ConsistentRead=True
        )
        return answer.get("Item")


def _name(tenant_hash: str, id_: str) -> str:
    """A completion's id is its upstream's own; hashed with the tenant, no two tenants' can meet."""
    named = f"{tenant_hash}|{id_}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(named).hexdigest()[:32]
