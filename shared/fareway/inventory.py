"""What the settings name in AWS -> whether it is there, is the right thing, and is well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from fareway.athena import Athena, QueryFailed
from fareway.errors import ConfigError
from fareway.ledger import FALLBACK_PREFIX
from fareway.policy_store import PolicyStore
from fareway.remedy import aws_remedy
from fareway.settings import Settings

State = Literal["ok", "warning", "failed", "skipped"]
#: A table's setting, the environment's name for it, its key, and whether its items pass away.
TABLES = (
    ("keys_table", "FAREWAY_KEYS_TABLE", "key_hash", False),
    ("spend_table", "FAREWAY_SPEND_TABLE", "counter", True),
    ("cache_table", "FAREWAY_CACHE_TABLE", "key", True),
    ("sessions_table", "FAREWAY_SESSIONS_TABLE", "session", True),
    ("decisions_table", "FAREWAY_DECISIONS_TABLE", "id", True),
    ("circuits_table", "FAREWAY_CIRCUITS_TABLE", "circuit", True),
)
_CONFIG = Config(connect_timeout=3, read_timeout=15, retries={"max_attempts": 2})
#: What a call to AWS fails with.
AWS_FAILURES = (BotoCoreError, ClientError)


@dataclass(frozen=True, slots=True)
class Finding:
    """One check.

    Args:
        told: what was found.
        fix: what to do; empty where all is well.
        cost_usd: what a live call cost, USD; None where none was made or its price isn't known.
    """

    check: str
    state: State
    told: str
    fix: str = ""
    cost_usd: Decimal | None = None


def take_stock(settings: Settings) -> Iterator[Finding]:
    """A check of each thing that the settings name, with the caller's credentials. Never raises."""
    if settings.policy_store:
        needs = "s3:GetObject, s3:ListBucket"
        yield _checked("policy store", "FAREWAY_POLICY_STORE", needs, _store(settings))
    for setting, variable, key, passes in TABLES:
        name = getattr(settings, setting)
        check = setting.replace("_", " ")
        look = _table(check, name, key, passes)
        yield _named(check, variable, "dynamodb:DescribeTable", name, look)
    if settings.keys_table:
        yield _checked("a key", "FAREWAY_KEYS_TABLE", "dynamodb:Scan", _a_key(settings.keys_table))
    yield _named(
        "ledger stream",
        "FAREWAY_LEDGER_STREAM",
        "firehose:DescribeDeliveryStream",
        settings.ledger_stream,
        _stream(settings.ledger_stream),
    )
    yield _named(
        "ledger bucket",
        "FAREWAY_LEDGER_BUCKET",
        "s3:ListBucket",
        settings.ledger_bucket,
        _bucket(settings.ledger_bucket),
    )
    both = settings.athena_workgroup and settings.ledger_database
    yield _named(
        "athena",
        "FAREWAY_ATHENA_WORKGROUP and FAREWAY_LEDGER_DATABASE",
        "athena:StartQueryExecution, athena:GetQuery*, glue:GetTable, s3:GetObject, s3:PutObject",
        both,
        _athena(settings),
    )


def _table(check: str, name: str, key: str, passes: bool) -> Callable[[], Finding]:
    def look() -> Finding:
        client = client_of("dynamodb")
        table = client.describe_table(TableName=name)["Table"]
        if table["TableStatus"] != "ACTIVE":
            return Finding(check, "failed", f"{name} is {table['TableStatus']}", "wait for it")
        keyed = [entry["AttributeName"] for entry in table["KeySchema"]]
        if keyed != [key]:
            told = f"{name} is keyed by {', '.join(keyed)}, not {key}"
            return Finding(
                check, "failed", told, "it is another table: look at the stack's outputs"
            )
        if passes:
            told = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
            if told.get("AttributeName") != "expires_at":
                fix = "turn TTL on by expires_at, or what is old is paid for forever"
                return Finding(check, "warning", f"{name} forgets nothing", fix)
        return Finding(check, "ok", f"{name}, some {table.get('ItemCount', 0)} items")

    return look


def _a_key(table: str) -> Callable[[], Finding]:
    def look() -> Finding:
        pages = (
            client_of("dynamodb")
            .get_paginator("scan")
            .paginate(TableName=table, FilterExpression="attribute_not_exists(revoked_at)")
        )
        if any(page["Items"] for page in pages):
            return Finding("a key", "ok", "there is one that opens the endpoint")
        fix = "fareway keys create --name NAME --tenant TENANT"
        return Finding("a key", "warning", "no key opens the endpoint", fix)

    return look


def _stream(name: str) -> Callable[[], Finding]:
    def look() -> Finding:
        described = client_of("firehose").describe_delivery_stream(DeliveryStreamName=name)
        status = described["DeliveryStreamDescription"]["DeliveryStreamStatus"]
        if status != "ACTIVE":
            fix = "events go to S3 meanwhile; deploy again if it does not become ACTIVE"
            return Finding("ledger stream", "failed", f"{name} is {status}", fix)
        return Finding("ledger stream", "ok", name)

    return look


def _bucket(name: str) -> Callable[[], Finding]:
    def look() -> Finding:
        waiting = client_of("s3").list_objects_v2(Bucket=name, Prefix=FALLBACK_PREFIX, MaxKeys=1)
        if waiting.get("KeyCount"):
            told = f"{name} holds events that the stream did not take"
            return Finding("ledger bucket", "warning", told, "fareway replay-events")
        return Finding("ledger bucket", "ok", name)

    return look


def _athena(settings: Settings) -> Callable[[], Finding]:
    def look() -> Finding:
        athena = Athena(client_of("athena"), settings.athena_workgroup, settings.ledger_database)
        today = datetime.now(UTC).date().isoformat()
        sql = f"SELECT count(*) AS requests FROM cost_events WHERE dt = '{today}'"  # nosec B608
        rows = athena.run(sql)
        return Finding("athena", "ok", f"{rows[0]['requests']} events in today's partition")

    return look


def _store(settings: Settings) -> Callable[[], Finding]:
    def look() -> Finding:
        store = PolicyStore.at(client_of("s3"), settings.policy_store)
        applied = store.applied()
        if not applied:
            return Finding("policy store", "ok", "none applied: the shipped policy is in force")
        if store.text(f"{applied[-1]}.toml") is None:
            fix = "'fareway policy apply' it again, or 'fareway policy rollback'"
            return Finding("policy store", "failed", f"{applied[-1]} is applied but gone", fix)
        return Finding("policy store", "ok", f"{applied[-1]} is in force, of {len(applied)}")

    return look


def _named(
    check: str, variable: str, needs: str, name: str, look: Callable[[], Finding]
) -> Finding:
    """A check of what a setting names, if it names something."""
    if not name:
        return Finding(check, "skipped", f"{variable} is not set")
    return _checked(check, variable, needs, look)


def _checked(check: str, variable: str, needs: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except AWS_FAILURES as error:
        return Finding(check, "failed", str(error), aws_remedy(error, variable, needs))
    except QueryFailed as error:
        fix = f"the query is in Athena's history; the usual cause: {needs} is not allowed"
        return Finding(check, "failed", error.message, fix)
    except ConfigError as error:
        return Finding(check, "failed", error.message, f"mend {variable}")
    except (KeyError, ValueError, TypeError, LookupError) as error:
        told = f"an answer that makes no sense: {type(error).__name__}"
        return Finding(check, "failed", told, f"look at {variable}")


def client_of(service: str) -> Any:
    """A client that gives up soon."""
    return boto3.client(service, config=_CONFIG)  # type: ignore[call-overload]
