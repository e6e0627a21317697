"""What the commands share: the consoles and the way to stop with a clear word."""

from __future__ import annotations

from typing import NoReturn

import typer
from rich.console import Console

out = Console()
err = Console(stderr=True)


def stop(message: str) -> NoReturn:
    """Ends the command with an error that says what to mend."""
    err.print(f"[bold red]error:[/] {message}", highlight=False)
    raise typer.Exit(1)


def required(value: str, option: str, variable: str) -> str:
    """A setting that this command cannot do without."""
    if not value:
        stop(f"give {option}, or set {variable} (the stack's outputs name it)")
    return value
