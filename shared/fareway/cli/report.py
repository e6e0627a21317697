"""`fareway report`: what was spent and saved, and where it was wasted, from Athena."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import boto3
import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.table import Table

from fareway.athena import Athena, QueryFailed
from fareway.cli.console import days_asked, err, literal, out, required, stop
from fareway.errors import ConfigError
from fareway.policy import Policy, load_policy
from fareway.policy_store import policy_in_force
from fareway.prices import Price
from fareway.report import Report, details, report
from fareway.report_html import page
from fareway.reprice import repriced
from fareway.settings import Settings
from fareway.sheet import Sheet
from fareway.sheets import detail_sheets, main_sheets


def show(
    first: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day (UTC).")
    ] = None,
    last: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day (UTC).")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(help="A model that all requests are compared with, besides the policy's."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a page with charts to this file as well.")
    ] = None,
) -> None:
    """Spend, savings, waste and failures of the last seven days, or of those given.

    It asks Athena: AWS's, or that of the local stack where AWS_ENDPOINT_URL says so.
    """
    settings = Settings.from_env()
    workgroup = required(settings.athena_workgroup, "the workgroup", "FAREWAY_ATHENA_WORKGROUP")
    database = required(settings.ledger_database, "the database", "FAREWAY_LEDGER_DATABASE")
    today = datetime.now(UTC).date()
    since, to = days_asked(first, last, today, usual=7)
    policy = _policy(policy_in_force(settings))
    price = _price(policy, against) if against else None
    try:
        athena = Athena(boto3.client("athena"), workgroup, database)
        figures = report(athena, since, to)
        behind = details(athena, since, to, today)
    except (BotoCoreError, ClientError, QueryFailed) as error:
        stop(str(error))
    compared = (against, repriced(behind.tokens, lambda _: price)) if against else None
    sheets = [*main_sheets(figures, compared), *detail_sheets(behind, policy.prices)]
    print_sheets(sheets, out)
    if html:
        try:
            html.write_text(page(figures, behind, sheets), encoding="utf-8")
        except OSError as error:
            stop(f"{html}: {error.strerror}")
        err.print(f"written: {html}", markup=False, highlight=False)


def print_report(figures: Report, console: Console) -> None:
    """The three tables: by tier, by model, and the totals."""
    print_sheets(main_sheets(figures), console)


def print_sheets(sheets: Iterable[Sheet], console: Console) -> None:
    for sheet in sheets:
        table = Table(
            title=sheet.title,
            caption=sheet.about or None,
            caption_justify="left",
            show_header=bool(sheet.headings),
        )
        for place, name in enumerate(sheet.headings):
            figures = place >= sheet.names
            table.add_column(
                name,
                justify="right" if figures else "left",
                no_wrap=figures,
                overflow="fold",
                style="yellow" if name == "unpriced" else None,
            )
        for row in sheet.rows:
            table.add_row(*map(literal, row), style="bold" if row[0] == "saved" else None)
        console.print(table)


def _policy(file: Path) -> Policy:
    try:
        return load_policy(file)
    except ConfigError as error:
        stop("\n  ".join(["the configuration has faults:", *error.faults]))


def _price(policy: Policy, model: str) -> Price:
    """The price of one of the policy's models, or of one in the list."""
    known = policy.models.get(model)
    price = policy.price(model, next(iter(known.ids))) if known else policy.prices.find(model)
    if price is None:
        stop(f"no price is known for --against {model}; the policy has {', '.join(policy.models)}")
    return price
