"""`fareway policy`: what differs between policies, and which one is in force."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import boto3
import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.markup import escape

from fareway.cli.console import out, required, stop
from fareway.errors import ConfigError
from fareway.policy_store import PolicyConflict, PolicyStore
from fareway.settings import Settings

app = typer.Typer(no_args_is_help=True)
_LATER = "Processes that start from now on use it; those that run go on with what they have."
_Store = Annotated[str, typer.Option(help="s3://BUCKET/PREFIX, else FAREWAY_POLICY_STORE.")]
FAILURES = (BotoCoreError, ClientError, PolicyConflict, ConfigError)


@app.command("diff")
def diff(
    before: Annotated[str, typer.Argument(help="A file, or a version in the store.")],
    after: Annotated[str, typer.Argument(help="Another.")],
    store: _Store = "",
) -> None:
    """Each setting that differs. Ends with 1 if any does and with 2 in trouble, as diff(1)."""
    changed = list(differences(_document(before, store), _document(after, store)))
    for name, old, new in changed:
        out.print(escape(f"{name}: {_shown(old)} -> {_shown(new)}"), highlight=False)
    if changed:
        raise typer.Exit(1)
    out.print("no difference")


@app.command("apply")
def apply(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A policy.toml.")],
    store: _Store = "",
) -> None:
    """Puts a policy in force, once it is checked. Its version must not be another policy's."""
    try:
        version = _store(store).apply(file)
    except ConfigError as error:
        stop("\n  ".join(["the policy has faults:", *error.faults]))
    except FAILURES as error:
        stop(str(error))
    out.print(f"{version} is in force. {_LATER}", highlight=False)


@app.command("rollback")
def rollback(store: _Store = "") -> None:
    """Puts the policy in force that was there before."""
    try:
        version = _store(store).rollback()
    except FAILURES as error:
        stop(str(error))
    out.print(f"{version or 'The shipped policy'} is in force. {_LATER}", highlight=False)


@app.command("list")
def list_(store: _Store = "") -> None:
    """Versions in the order in which they were applied; the last is in force."""
    try:
        applied = _store(store).applied()
    except FAILURES as error:
        stop(str(error))
    for version in applied or ["none: the shipped policy is in force"]:
        out.print(version, highlight=False)


def differences(
    before: Mapping[str, Any], after: Mapping[str, Any], under: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Name, value before and after of each setting that differs; None: it is not there."""
    for name in dict.fromkeys([*before, *after]):
        old, new = before.get(name), after.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from differences(old, new, f"{under}{name}.")
        elif old != new:
            yield f"{under}{name}", old, new


def _document(name: str, store: str) -> Mapping[str, Any]:
    try:
        if Path(name).is_file():
            return tomllib.loads(Path(name).read_text(encoding="utf-8"))
        if (text := _store(store).text(f"{name}.toml")) is not None:
            return tomllib.loads(text)
    except (*FAILURES, OSError, ValueError) as error:
        stop(f"{name}: {error}", 2)
    stop(f"{name} is no file, and no version in the store", 2)


def _store(uri: str) -> PolicyStore:
    named = required(uri or Settings.from_env().policy_store, "--store", "FAREWAY_POLICY_STORE")
    try:
        return PolicyStore.at(boto3.client("s3"), named)
    except ConfigError as error:
        stop(error.faults[0])


def _shown(value: Any) -> str:
    return "(none)" if value is None else str(value)
