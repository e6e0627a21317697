"""What the commands share: the consoles, the progress bar and the way to stop with a clear word."""

from __future__ import annotations

from typing import NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

out = Console()
err = Console(stderr=True)


def stop(message: str) -> NoReturn:
    """Ends the command with an error that says what to mend."""
    err.print(f"[bold red]error:[/] {escape(message)}", highlight=False)
    raise typer.Exit(1)


def progress_bar() -> Progress:
    """A bar on stderr, for `with`; its task's description stands before it."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeRemainingColumn(), console=err)


def required(value: str, option: str, variable: str) -> str:
    """A setting that this command cannot do without."""
    if not value:
        stop(f"give {option}, or set {variable} (the stack's outputs name it)")
    return value
