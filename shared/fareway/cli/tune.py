"""`fareway tune`: what other cuts would have cost and satisfied, and cheaper ones if there are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.table import Table

from fareway.appraise import Estimate, Point
from fareway.athena import QueryFailed
from fareway.cli.console import days_asked, err, out, required, stop
from fareway.errors import ConfigError
from fareway.evidence import Row
from fareway.policy import TIERS
from fareway.policy_store import policy_in_force
from fareway.proposal import propose
from fareway.settings import Settings
from fareway.tune import MARGIN, Tuning
from fareway.weekly import DAYS, ledger_rows


def tune(
    events: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Events as JSON lines, not Athena's."),
    ] = None,
    first: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day (UTC).")
    ] = None,
    last: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day (UTC).")
    ] = None,
    margin: Annotated[
        float, typer.Option(min=0.0, max=0.1, help="Share of satisfied answers that may be lost.")
    ] = MARGIN,
    out_dir: Annotated[
        Path | None,
        typer.Option("--out", file_okay=False, help="Where the report and the policy go."),
    ] = None,
    policy_file: Annotated[
        Path | None, typer.Option("--policy", exists=True, help="Another present policy.toml.")
    ] = None,
) -> None:
    """Cost and quality of other cuts, by what was explored. Proposes cheaper ones, applies none."""
    settings = Settings.from_env()
    since, to = days_asked(first, last, datetime.now(UTC).date(), usual=DAYS + 1)
    try:
        rows = list(_lines(events)) if events else _ledger(settings, since, to)
        if first or last:
            rows = [row for row in rows if f"{since}" <= row["occurred_at"][:10] <= f"{to}"]
        made = propose(rows, policy_file or policy_in_force(settings), to, margin)
    except ConfigError as error:
        stop("\n  ".join(["the configuration has faults:", *error.faults]))
    except (BotoCoreError, ClientError, QueryFailed, OSError) as error:
        stop(str(error))
    except (ValueError, KeyError, TypeError) as error:
        stop(f"{events or 'the ledger'}: not the ledger's events: {error}")
    print_tuning(made.tuning, out)
    if out_dir:
        out_dir.mkdir(parents=True, exist_ok=True)
        for name, text in made.files.items():
            (out_dir / name).write_text(text, encoding="utf-8")
        err.print(
            f"wrote {out_dir}: {', '.join(sorted(made.files))}", markup=False, highlight=False
        )


def print_tuning(found: Tuning, console: Console) -> None:
    """The curve, and what is proposed."""
    if found.present:
        table = Table(title=f"{found.requests} requests, {found.explored} explored")
        for name in ("", "cuts", "/".join(TIERS), "satisfied", "USD of 1,000", "change", "saved"):
            table.add_column(name, justify="right")
        table.add_row(*_cells("present", found.present), style="bold")
        if found.proposal:
            table.add_row(*_cells("proposal", found.proposal), style="bold green")
        table.add_section()
        for point in found.curve:
            table.add_row(*_cells("", point))
        console.print(table)
    console.print(found.why, markup=False, highlight=False)


def _cells(name: str, point: Point) -> list[str]:
    return [
        name,
        " ".join(f"{cut:g}" for cut in point.cuts),
        "/".join(f"{share:.0%}" for share in point.shares),
        f"{point.quality.value:.2%}",
        f"{point.usd_per_1000.value:.4f}",
        _span(point.quality_change, "+.2%"),
        _span(point.saving, ".1%"),
    ]


def _span(figure: Estimate, form: str) -> str:
    return f"{figure.value:{form}} [{figure.low:{form}}, {figure.high:{form}}]"


def _ledger(settings: Settings, first: date, last: date) -> list[Row]:
    required(settings.athena_workgroup, "the workgroup, or --events", "FAREWAY_ATHENA_WORKGROUP")
    required(settings.ledger_database, "the database, or --events", "FAREWAY_LEDGER_DATABASE")
    return ledger_rows(settings, first, last)


def _lines(file: Path) -> Iterator[Row]:
    with file.open(encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines if line.strip())
