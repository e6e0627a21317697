"""Bearer key -> who is asking. The table holds SHA-256 of keys, never a key."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import BotoCoreError, ClientError

from fareway.aws import Aws
from fareway.caller import EVERYTHING, Allowance, Caller
from fareway.errors import KeysUnavailable, Unauthorised
from fareway.log import log

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PREFIX = "fw-"


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
        return Caller("local", "local", Allowance(admin=True))


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
            raise _unavailable() from error
        item = answer.get("Item")
        if item is None or "revoked_at" in item:
            self._seen.pop(hashed, None)
            raise Unauthorised(_INCORRECT)
        try:
            caller = Caller(item["key_id"]["S"], item["tenant"]["S"], _allowance(item))
        except (LookupError, TypeError, ValueError) as error:
            # Whatever it was meant to forbid: a key whose limits cannot be read opens nothing.
            log("error", "key record unreadable", key_id=item.get("key_id", {}).get("S"))
            raise _unavailable() from error
        if len(self._seen) >= 10_000:
            self._seen.clear()
        self._seen[hashed] = (caller, self.now())
        return caller


def _unavailable() -> KeysUnavailable:
    return KeysUnavailable(
        "API keys cannot be checked at the moment. Try again shortly.", retry_after_s=2
    )


def _allowance(item: Mapping[str, Any]) -> Allowance:
    stored = item.get("allowance")
    return Allowance.model_validate(TypeDeserializer().deserialize(stored) if stored else {})


def _stored(allowance: Allowance) -> Any:
    return TypeSerializer().serialize(allowance.model_dump(exclude_defaults=True))


# What the command line does with the table; never on the request path.


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What is known of a key without its hash. Units: dates ISO 8601, UTC."""

    key_id: str
    name: str
    tenant: str
    created_at: str
    revoked_at: str | None
    allowance: Allowance


def create_key(
    client: DynamoDBClient,
    table: str,
    name: str,
    tenant: str,
    allowance: Allowance = EVERYTHING,
) -> tuple[str, str]:
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
            "allowance": _stored(allowance),
        },
        ConditionExpression="attribute_not_exists(key_hash)",
    )
    return key_id, key


def list_keys(client: DynamoDBClient, table: str) -> list[KeyRecord]:
    """Every key's record, oldest first."""
    pages = client.get_paginator("scan").paginate(TableName=table)
    records = [_record(item) for page in pages for item in page["Items"]]
    return sorted(records, key=lambda record: record.created_at)


def find_key(client: DynamoDBClient, table: str, key_id: str) -> KeyRecord | None:
    """The record of one key; None when there is none of that id."""
    return next((_record(item) for item in _found(client, table, key_id)), None)


def update_key(client: DynamoDBClient, table: str, key_id: str, allowance: Allowance) -> bool:
    """Puts an allowance in the place of the key's; False when there is no key of that id."""
    return _set(client, table, key_id, "allowance = :value", _stored(allowance))


def revoke_key(client: DynamoDBClient, table: str, key_id: str) -> bool:
    """Marks the key as revoked; False when there is no key of that id."""
    first = "revoked_at = if_not_exists(revoked_at, :value)"
    return _set(client, table, key_id, first, {"S": _now()})


def _record(item: Mapping[str, Any]) -> KeyRecord:
    text = {name: str(value["S"]) for name, value in item.items() if "S" in value}
    return KeyRecord(
        text["key_id"],
        text["name"],
        text["tenant"],
        text["created_at"],
        text.get("revoked_at"),
        _allowance(item),
    )


def _found(client: DynamoDBClient, table: str, key_id: str) -> list[Any]:
    pages = client.get_paginator("scan").paginate(
        TableName=table,
        FilterExpression="key_id = :id",
        ExpressionAttributeValues={":id": {"S": key_id}},
    )
    return [item for page in pages for item in page["Items"]]


def _set(client: DynamoDBClient, table: str, key_id: str, assignment: str, value: Any) -> bool:
    found = _found(client, table, key_id)
    for item in found:
        client.update_item(
            TableName=table,
            Key={"key_hash": item["key_hash"]},
            UpdateExpression=f"SET {assignment}",
            ExpressionAttributeValues={":value": value},
        )
    return bool(found)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
