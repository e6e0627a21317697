"""`fareway keys create|list|revoke`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import boto3
import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.table import Table

from fareway import keys as store
from fareway.cli.console import err, out, required, stop
from fareway.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

app = typer.Typer(no_args_is_help=True)
TableName = Annotated[str, typer.Option("--table", help="The key table; else FAREWAY_KEYS_TABLE.")]


def _table(given: str) -> tuple[DynamoDBClient, str]:
    name = required(given or Settings.from_env().keys_table, "--table", "FAREWAY_KEYS_TABLE")
    try:
        return boto3.client("dynamodb"), name
    except BotoCoreError as error:
        stop(str(error))


@app.command()
def create(
    name: Annotated[str, typer.Option(help="What the key is for.")],
    tenant: Annotated[str, typer.Option(help="Whose caches and costs it shares.")] = "default",
    table: TableName = "",
) -> None:
    """Makes a key and prints it, this once: only its hash is stored."""
    client, table_name = _table(table)
    try:
        key_id, key = store.create_key(client, table_name, name, tenant)
    except (BotoCoreError, ClientError) as error:
        stop(str(error))
    err.print(f"key {key_id} for tenant {tenant}; it is shown only now:", highlight=False)
    typer.echo(key)


@app.command("list")
def list_(table: TableName = "") -> None:
    """Lists the keys: id, name, tenant, dates. Never the keys themselves."""
    client, table_name = _table(table)
    try:
        records = store.list_keys(client, table_name)
    except (BotoCoreError, ClientError) as error:
        stop(str(error))
    shown = Table("id", "name", "tenant", "created", "revoked")
    for record in records:
        shown.add_row(
            record["key_id"],
            record["name"],
            record["tenant"],
            record["created_at"],
            record.get("revoked_at", ""),
        )
    out.print(shown)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="The id that 'list' shows.")], table: TableName = ""
) -> None:
    """Revokes a key. A warm function may still accept it for a minute."""
    client, table_name = _table(table)
    try:
        found = store.revoke_key(client, table_name, key_id)
    except (BotoCoreError, ClientError) as error:
        stop(str(error))
    if not found:
        stop(f"there is no key {key_id}; 'fareway keys list' shows them")
    err.print(f"revoked {key_id}")
