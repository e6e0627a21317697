"""`fareway report`: what was spent and saved, from Athena."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated

import boto3
import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.table import Table

from fareway.athena import Athena, QueryFailed
from fareway.cli.console import out, required, stop
from fareway.report import Report, Row, report, saved_share, usd
from fareway.settings import Settings


def show(
    first: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day (UTC).")
    ] = None,
    last: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day (UTC).")
    ] = None,
) -> None:
    """Spend, savings, cache hits and failovers of the last seven days, or of those given."""
    settings = Settings.from_env()
    workgroup = required(settings.athena_workgroup, "the workgroup", "FAREWAY_ATHENA_WORKGROUP")
    database = required(settings.ledger_database, "the database", "FAREWAY_LEDGER_DATABASE")
    to = last.date() if last else datetime.now(UTC).date()
    since = first.date() if first else to - timedelta(days=6)
    try:
        figures = report(Athena(boto3.client("athena"), workgroup, database), since, to)
    except (BotoCoreError, ClientError, QueryFailed) as error:
        stop(str(error))
    print_report(figures, out)


def print_report(figures: Report, console: Console) -> None:
    """The three tables: by tier, by model, and the totals."""
    console.print(_money_table("Where the prompts went", figures.by_tier, ("tier", "lane")))
    console.print(_money_table("Who answered", figures.by_model, ("served_model", "aggregator")))
    totals = figures.totals
    share = saved_share(totals)
    facts = Table(title=f"In all, {_days(figures.first, figures.last)}", show_header=False)
    facts.add_row("requests in the ledger", f"{totals['requests']}, {totals['answered']} answered")
    facts.add_row("spent", f"{usd(totals, 'cost_usd'):.6f} USD")
    facts.add_row("all-premium would have cost", f"{usd(totals, 'baseline_usd'):.6f} USD")
    saved = usd(totals, "baseline_usd") - usd(totals, "cost_usd")
    facts.add_row(
        "[bold]saved[/]", f"[bold]{saved:.6f} USD{'' if share is None else f' ({share:.1%})'}[/]"
    )
    facts.add_row("decision cache hits", str(totals["cache_hits"]))
    facts.add_row("answered after a failover", str(totals["answered_by_failover"]))
    if int(totals["unpriced"] or 0):
        facts.add_row("[yellow]unpriced, not in the sums[/]", str(totals["unpriced"]))
    if int(totals["estimated"] or 0):
        facts.add_row("estimated, in the sums", str(totals["estimated"]))
    facts.add_row("classifier, median", f"{Decimal(totals['classifier_p50_ms'] or 0):.1f} ms")
    facts.add_row("added by Fareway, median", f"{Decimal(totals['overhead_p50_ms'] or 0):.1f} ms")
    console.print(facts)


def _money_table(title: str, rows: Sequence[Row], names: tuple[str, ...]) -> Table:
    table = Table(title=title)
    for name in names:
        table.add_column(name.replace("_", " "), overflow="fold")
    for name in ("requests", "USD", "all-premium", "saved"):
        table.add_column(name, justify="right", no_wrap=True)
    some_unpriced = any(int(row["unpriced"] or 0) for row in rows)
    if some_unpriced:
        table.add_column("unpriced", justify="right")
    for row in rows:
        share = saved_share(row)
        table.add_row(
            *(str(row[name]) for name in names),
            str(row["requests"]),
            _money(row, "cost_usd"),
            _money(row, "baseline_usd"),
            "" if share is None else f"{share:.1%}",
            *([f"[yellow]{row['unpriced']}[/]"] if some_unpriced else []),
        )
    return table


def _money(row: Row, column: str) -> str:
    """A sum of nothing priced is not known; it is not shown as 0."""
    return "" if row[column] is None else f"{usd(row, column):.6f}"


def _days(first: date, last: date) -> str:
    return str(first) if first == last else f"{first} to {last}"
