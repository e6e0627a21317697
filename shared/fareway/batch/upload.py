"""An upload to the bucket -> what its job is called, how it is read, and what was asked for."""

from __future__ import annotations

from collections.abc import Mapping

from fareway.batch.rows import Format
from fareway.batch.run import Options
from fareway.errors import BadRequest

IN = "batch/in/"


def named(key: str) -> tuple[str, Format]:
    """`batch/in/a/b.csv` -> (`a/b`, `csv`). Raises BadRequest."""
    name, _, ending = key.removeprefix(IN).rpartition(".")
    if not key.startswith(IN) or not name or ending not in ("csv", "jsonl"):
        raise BadRequest(f"{key} is no {IN}NAME.csv or {IN}NAME.jsonl.")
    return name, "csv" if ending == "csv" else "jsonl"


def options(told: Mapping[str, str]) -> Options:
    """Object metadata -> the command line's options of these names. Raises BadRequest."""
    return Options(
        dedupe={"true": True, "false": False}.get(told.get("dedupe", "")),
        expected_tokens=_whole(told, "expect-tokens"),
        file_requests=_whole(told, "file-requests"),
    )


def _whole(told: Mapping[str, str], name: str) -> int | None:
    text = told.get(name, "")
    if text and (not text.isdecimal() or int(text) < 1):
        raise BadRequest(f"Metadata {name!r} is a whole number from 1, not {text[:40]!r}.")
    return int(text) if text else None
