"""`fareway keys create|list|update|revoke`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import boto3
import typer
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError
from rich.table import Table

from fareway import keys as store
from fareway.budget import spent_usd
from fareway.caller import Allowance
from fareway.cli.console import err, out, required, stop
from fareway.policy import TIERS
from fareway.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

app = typer.Typer(no_args_is_help=True)
TableName = Annotated[str, typer.Option("--table", help="The key table; else FAREWAY_KEYS_TABLE.")]
KeyId = Annotated[str, typer.Argument(help="The id that 'list' shows.")]

#: Field of Allowance -> its option.
OPTIONS = {
    "daily_usd": "--daily-usd",
    "monthly_usd": "--monthly-usd",
    "requests_per_minute": "--rpm",
    "tiers": "--tiers",
    "models": "--models",
    "over_budget": "--over-budget",
    "tags": "--tag",
    "admin": "--admin",
}
Daily = Annotated[str | None, typer.Option("--daily-usd", help="Budget of a UTC day, USD.")]
Monthly = Annotated[str | None, typer.Option("--monthly-usd", help="Budget of a UTC month, USD.")]
Rpm = Annotated[str | None, typer.Option("--rpm", help="Requests per minute.")]
Tiers = Annotated[
    str | None, typer.Option("--tiers", help="Tiers it may use, such as cheap,mid; else all.")
]
Models = Annotated[
    str | None,
    typer.Option("--models", help="What its requests may name as model, by commas; else any."),
]
OverBudget = Annotated[
    str | None,
    typer.Option("--over-budget", help="refuse, or degrade: go on at the cheap tier."),
]
Tags = Annotated[
    list[str] | None, typer.Option("--tag", help="name=value for the ledger; may be repeated.")
]
Admin = Annotated[
    bool | None, typer.Option("--admin/--no-admin", help="It opens the savings page.")
]


@app.command()
def create(
    name: Annotated[str, typer.Option(help="What the key is for.")],
    tenant: Annotated[str, typer.Option(help="Whose caches and costs it shares.")] = "default",
    daily_usd: Daily = None,
    monthly_usd: Monthly = None,
    rpm: Rpm = None,
    tiers: Tiers = None,
    models: Models = None,
    over_budget: OverBudget = None,
    tag: Tags = None,
    admin: Admin = None,
    table: TableName = "",
) -> None:
    """Makes a key and prints it, this once: only its hash is stored."""
    given = _given(daily_usd, monthly_usd, rpm, tiers, models, over_budget, tag, admin)
    allowance = _allowance(given)
    client, table_name = _table(table)
    try:
        key_id, key = store.create_key(client, table_name, name, tenant, allowance)
    except (BotoCoreError, ClientError) as error:
        stop(str(error))
    err.print(f"key {key_id} for tenant {tenant}; it is shown only now:", highlight=False)
    typer.echo(key)


@app.command()
def update(
    key_id: KeyId,
    daily_usd: Daily = None,
    monthly_usd: Monthly = None,
    rpm: Rpm = None,
    tiers: Tiers = None,
    models: Models = None,
    over_budget: OverBudget = None,
    tag: Tags = None,
    admin: Admin = None,
    table: TableName = "",
) -> None:
    """Changes what a key may do: the options given, or 'none' to lift a limit.

    A warm function may go on with what it knows for a minute.
    """
    given = _given(daily_usd, monthly_usd, rpm, tiers, models, over_budget, tag, admin)
    if not given:
        stop(f"nothing to change; give one of {', '.join(OPTIONS.values())}")
    client, table_name = _table(table)
    try:
        record = store.find_key(client, table_name, key_id)
        if record is None:
            stop(f"there is no key {key_id}; 'fareway keys list' shows them")
        allowance = _allowance(record.allowance.model_dump(exclude_defaults=True) | given)
        store.update_key(client, table_name, key_id, allowance)
    except (BotoCoreError, ClientError) as error:
        stop(str(error))
    err.print(f"{key_id}: {_limits(allowance) or 'no limits'}", highlight=False)


@app.command("list")
def list_(
    table: TableName = "",
    spend_table: Annotated[
        str, typer.Option(help="The spend table; else FAREWAY_SPEND_TABLE.")
    ] = "",
) -> None:
    """Lists the keys, their limits and what they spent of their budgets. Never the keys themselves.

    What was spent is known here of keys with a budget; 'fareway report' knows the rest.
    """
    client, table_name = _table(table)
    spends = spend_table or Settings.from_env().spend_table
    now = datetime.now(UTC)
    shown = Table("name", "tenant", "limits")
    for header in ("USD today", "this month", "id", "created", "revoked"):
        shown.add_column(header, no_wrap=True)
    try:
        for record in store.list_keys(client, table_name):
            spent = ("", "")
            if spends and record.allowance.has_budget:
                today, month = spent_usd(client, spends, record.key_id, now)
                spent = (f"{today:.6f}", f"{month:.6f}")
            shown.add_row(
                record.name,
                record.tenant,
                _limits(record.allowance),
                *spent,
                record.key_id,
                record.created_at[:10],
                (record.revoked_at or "")[:10],
            )
    except (BotoCoreError, ClientError) as error:
        stop(str(error))
    out.print(shown)


@app.command()
def revoke(key_id: KeyId, table: TableName = "") -> None:
    """Revokes a key. A warm function may still accept it for a minute."""
    client, table_name = _table(table)
    try:
        found = store.revoke_key(client, table_name, key_id)
    except (BotoCoreError, ClientError) as error:
        stop(str(error))
    if not found:
        stop(f"there is no key {key_id}; 'fareway keys list' shows them")
    err.print(f"revoked {key_id}")


def _table(given: str) -> tuple[DynamoDBClient, str]:
    name = required(given or Settings.from_env().keys_table, "--table", "FAREWAY_KEYS_TABLE")
    try:
        return boto3.client("dynamodb"), name
    except BotoCoreError as error:
        stop(str(error))


def _given(
    daily_usd: str | None,
    monthly_usd: str | None,
    rpm: str | None,
    tiers: str | None,
    models: str | None,
    over_budget: str | None,
    tags: list[str] | None,
    admin: bool | None,
) -> dict[str, object]:
    """The fields that the options speak of; None for one to be lifted."""
    values: dict[str, object] = {
        "daily_usd": daily_usd,
        "monthly_usd": monthly_usd,
        "requests_per_minute": rpm,
        "tiers": _list(tiers),
        "models": _list(models),
        "over_budget": over_budget,
        "tags": _tags(tags or []),
        "admin": admin,
    }
    return {
        field: None if value in ("none", ["none"]) else value
        for field, value in values.items()
        if value not in (None, {})
    }


def _list(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def _tags(texts: list[str]) -> dict[str, str] | str:
    if texts == ["none"]:
        return "none"
    pairs = [text.partition("=") for text in texts]
    for name, equals, _ in pairs:
        if not equals:
            stop(f"--tag: write name=value, such as team=search, not {name!r}")
    return {name: value for name, _, value in pairs}


def _allowance(fields: Mapping[str, object]) -> Allowance:
    """Checked, or the command ends and names every option that is wrong."""
    try:
        return Allowance.model_validate({k: v for k, v in fields.items() if v is not None})
    except ValidationError as error:
        faults = []
        for fault in error.errors(include_url=False):
            where = OPTIONS[str(fault["loc"][0])] if fault["loc"] else "--over-budget"
            given = "" if isinstance(fault["input"], dict) else f", not {fault['input']!r}"
            faults.append(f"{where}: {fault['msg'].removeprefix('Value error, ')}{given}")
        stop("\n  ".join(["the limits have faults:", *faults]))


def _limits(allowance: Allowance) -> str:
    """`5 USD/day, 60/min, cheap+mid, degrade, team=search`; empty where there are none."""
    parts = []
    if allowance.daily_usd is not None:
        parts.append(f"{allowance.daily_usd.normalize():f} USD/day")
    if allowance.monthly_usd is not None:
        parts.append(f"{allowance.monthly_usd.normalize():f} USD/month")
    if allowance.requests_per_minute is not None:
        parts.append(f"{allowance.requests_per_minute}/min")
    if allowance.tiers != TIERS:
        parts.append("+".join(allowance.tiers))
    parts += allowance.models or ()
    if allowance.over_budget != "refuse":
        parts.append(allowance.over_budget)
    parts += [f"{name}={value}" for name, value in allowance.tags.items()]
    if allowance.admin:
        parts.append("admin")
    return ", ".join(parts)
