"""`fareway explain DECISION_ID`: what moved a decision, in order, and what came of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from fareway.aws import FAILURES, Aws
from fareway.cli.console import out, required, stop
from fareway.decisions import Decisions, Remembered
from fareway.settings import Settings


def explain(
    decision_id: Annotated[str, typer.Argument(help="The x-fareway-decision-id of an answer.")],
    as_json: Annotated[bool, typer.Option("--json", help="All of it, as one JSON object.")] = False,
) -> None:
    """What moved a decision of the last 30 days, in order, and what came of it."""
    table = required(Settings.from_env().decisions_table, "the table", "FAREWAY_DECISIONS_TABLE")
    try:
        one = asyncio.run(_read(table, decision_id))
    except FAILURES as error:
        stop(f"the table {table} cannot be read: {error or type(error).__name__}")
    if one is None:
        stop(f"no decision {decision_id} is known; they are kept for 30 days")
    if as_json:
        out.print_json(json.dumps(one.told))
        return
    for number, reason in enumerate(one.told["reasons"], start=1):
        out.print(f"{number}. {escape(reason)}", highlight=False)
    out.print(_facts(one.told))


async def _read(table: str, decision_id: str) -> Remembered | None:
    aws = Aws()
    try:
        return await Decisions(aws, table, budget_s=10).get(None, decision_id)
    finally:
        await aws.close()


#: What is told of a decision -> how it is called; what is not known is left out.
_FACTS = {
    "occurred_at": "when",
    "tier": "tier",
    "lane": "lane",
    "score": "score, 1 to 5",
    "sensitivity": "sensitivity",
    "classifier": "classifier",
    "cache_hit": "remembered",
    "raised": "raised by users' feedback to",
    "follow_up": "the turn says of the answer before",
    "session_floor": "the session's floor",
    "served_model": "answered by",
    "aggregator": "at",
    "attempts": "attempts",
    "status": "status",
    "cost_usd": "cost, USD",
    "baseline_usd": "all-premium, USD",
}


def _facts(told: Mapping[str, Any]) -> Table:
    table = Table(title=told["decision_id"], show_header=False)
    for name, title in _FACTS.items():
        if told.get(name) is not None:
            table.add_row(title, escape(str(told[name])))
    return table
