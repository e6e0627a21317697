"""What the commands share: the consoles, the progress bar and the way to stop with a clear word."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fareway.athena import YEARS

out = Console()
err = Console(stderr=True)


def stop(message: str, status: int = 1) -> NoReturn:
    """Ends the command with an error that says what to mend."""
    err.print(f"[bold red]error:[/] {literal(message)}", highlight=False)
    raise typer.Exit(status)


def literal(text: str) -> str:
    """Somebody's text as it is to be printed: no markup of ours, no escapes for the terminal."""
    return escape("".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text))


def progress_bar() -> Progress:
    """A bar on stderr, for `with`; its task's description stands before it."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeRemainingColumn(), console=err)


def required(value: str, option: str, variable: str) -> str:
    """A setting that this command cannot do without."""
    if not value:
        stop(f"give {option}, or set {variable} (the stack's outputs name it)")
    return value


def days_asked(
    first: datetime | None, last: datetime | None, today: date, usual: int
) -> tuple[date, date]:
    """`--from` and `--to` -> the days, both ends included; the `usual` last ones if not given."""
    for day in filter(None, (first, last)):
        if day.year not in YEARS:
            stop(f"{day.date()} is no day of {YEARS[0]} to {YEARS[-1]}")
    to = last.date() if last else today
    since = first.date() if first else to - timedelta(days=usual - 1)
    if since > to:
        stop(f"--from {since} is after --to {to}")
    return since, to
