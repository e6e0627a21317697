"""Bearer key -> who is asking. The table holds SHA-256 of keys, never a key."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from fareway.aws import Aws
from fareway.errors import KeysUnavailable, Unauthorised
from fareway.log import log

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PREFIX = "fw-"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking: the key's public id and the tenant that it belongs to."""

    key_id: str
    tenant: str

    @property
    def tenant_hash(self) -> str:
        """The tenant in the ledger: 16 hex digits."""
        return hashlib.sha256(f"tenant:{self.tenant}".encode()).hexdigest()[:16]


class Keys(Protocol):
    """Answers who holds a key."""

    async def caller(self, authorization: str | None) -> Caller:
        """The holder of an `Authorization: Bearer ...` header.

        Raises:
            Unauthorised: no key, or one that is unknown or revoked.
            KeysUnavailable: the table does not answer and the key was not seen lately.
        """
        ...


def key_hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _bearer(authorization: str | None) -> str:
    scheme, _, key = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise Unauthorised(
            "No API key was given. Send it as 'Authorization: Bearer fw-...'.",
            code="missing_api_key",
        )
    return key.strip()


_INCORRECT = "The API key is unknown or revoked. Create one with 'fareway keys create'."


@dataclass(frozen=True, slots=True)
class OneKey:
    """A single key from the environment, for `fareway serve` without a key table."""

    key: str

    async def caller(self, authorization: str | None) -> Caller:
        given = _bearer(authorization)
        if not self.key or not hmac.compare_digest(key_hash(given), key_hash(self.key)):
            raise Unauthorised(_INCORRECT)
        return Caller("local", "local")


@dataclass(slots=True)
class KeyTable:
    """Keys in DynamoDB, remembered for a minute in the process.

    Args:
        fresh_s: how long an answer counts without asking again, seconds; a revoked key works
            at most that much longer.
        stale_s: how long an answer still counts while the table is down, seconds.
    """

    aws: Aws
    table: str
    budget_s: float = 2.0
    fresh_s: float = 60.0
    stale_s: float = 3600.0
    now: Callable[[], float] = time.monotonic
    _seen: dict[str, tuple[Caller, float]] = field(default_factory=dict)

    async def caller(self, authorization: str | None) -> Caller:
        hashed = key_hash(_bearer(authorization))
        known, since = self._seen.get(hashed, (None, 0.0))
        age_s = self.now() - since
        if known is not None and age_s < self.fresh_s:
            return known
        try:
            async with asyncio.timeout(self.budget_s):
                client = await self.aws.client("dynamodb")
                answer = await client.get_item(
                    TableName=self.table, Key={"key_hash": {"S": hashed}}
                )
        except (BotoCoreError, ClientError, TimeoutError, OSError) as error:
            log("error", "key table unavailable", error=type(error).__name__)
            if known is not None and age_s < self.stale_s:
                return known
            raise KeysUnavailable(
                "API keys cannot be checked at the moment. Try again shortly.", retry_after_s=2
            ) from error
        item = answer.get("Item")
        if item is None or "revoked_at" in item:
            self._seen.pop(hashed, None)
            raise Unauthorised(_INCORRECT)
        caller = Caller(item["key_id"]["S"], item["tenant"]["S"])
        if len(self._seen) >= 10_000:
            self._seen.clear()
        self._seen[hashed] = (caller, self.now())
        return caller


# What the command line does with the table; never on the request path.


def create_key(client: DynamoDBClient, table: str, name: str, tenant: str) -> tuple[str, str]:
    """Makes a key -> (its id, the key itself, which is shown this once and stored nowhere)."""
    key = PREFIX + secrets.token_urlsafe(32)
    key_id = secrets.token_hex(4)
    client.put_item(
        TableName=table,
        Item={
            "key_hash": {"S": key_hash(key)},
            "key_id": {"S": key_id},
            "name": {"S": name},
            "tenant": {"S": tenant},
            "created_at": {"S": _now()},
        },
        ConditionExpression="attribute_not_exists(key_hash)",
    )
    return key_id, key


def list_keys(client: DynamoDBClient, table: str) -> list[dict[str, str]]:
    """Every key's record without its hash, oldest first."""
    pages = client.get_paginator("scan").paginate(TableName=table)
    records = [
        {name: str(value["S"]) for name, value in item.items() if name != "key_hash"}
        for page in pages
        for item in page["Items"]
    ]
    return sorted(records, key=lambda record: record["created_at"])


def revoke_key(client: DynamoDBClient, table: str, key_id: str) -> bool:
    """Marks the key as revoked; False when there is no key of that id."""
    pages = client.get_paginator("scan").paginate(
        TableName=table,
        FilterExpression="key_id = :id",
        ExpressionAttributeValues={":id": {"S": key_id}},
        ProjectionExpression="key_hash",
    )
    found: list[Any] = [item for page in pages for item in page["Items"]]
    for item in found:
        client.update_item(
            TableName=table,
            Key={"key_hash": item["key_hash"]},
            UpdateExpression="SET revoked_at = if_not_exists(revoked_at, :now)",
            ExpressionAttributeValues={":now": {"S": _now()}},
        )
    return bool(found)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
