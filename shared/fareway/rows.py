"""A user's file of prompts -> its rows, one by one: JSONL, or CSV with a column of prompts."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fareway.body import MAX_BODY_BYTES
from fareway.errors import BadRequest
from fareway.wire import parse_messages

#: The columns of a CSV file that may hold the prompt.
COLUMNS = ("text", "prompt")


@dataclass(frozen=True, slots=True)
class Row:
    """One line that is not blank.

    Args:
        number: the line's, from 1; of a CSV record over many lines, the last one's.
        entry: the object as it was written, with `text` or `messages`; empty where it is none.
        messages: the prompt as chat messages; None where the row is faulty.
        fault: what is wrong, with the line's number; else empty.
    """

    number: int
    entry: Mapping[str, Any]
    messages: list[dict[str, Any]] | None
    fault: str = ""


def read_rows(file: Path) -> Iterator[Row]:
    """A .csv file, or one of JSON lines -> its rows, the faulty ones too.

    Raises:
        BadRequest: a CSV file without a column of prompts.
        OSError: it cannot be read.
    """
    if file.suffix.lower() == ".csv":
        yield from _csv_rows(file)
        return
    with file.open("rb") as lines:
        yield from jsonl_rows(lines)


def jsonl_rows(lines: Iterable[bytes]) -> Iterator[Row]:
    """Lines of `{"text": ...}` or `{"messages": [...]}` -> their rows."""
    for number, raw in enumerate(lines, start=1):
        if not raw.strip():
            continue
        entry: dict[str, Any] = {}
        try:
            parsed = json.loads(raw)
            if not isinstance(parsed, dict):
                raise ValueError("it is not a JSON object")
            entry = parsed
            yield Row(number, entry, _messages(entry))
        except (ValueError, RecursionError, BadRequest) as error:
            yield Row(number, entry, None, f"line {number}: {error}")


def _messages(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    if isinstance(entry.get("text"), str):
        return [{"role": "user", "content": entry["text"]}]
    if "messages" in entry:
        return parse_messages(entry["messages"])
    raise ValueError("it has neither a 'text' nor 'messages'")


def _csv_rows(file: Path) -> Iterator[Row]:
    csv.field_size_limit(MAX_BODY_BYTES)
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
        reader = csv.DictReader(lines)
        names = {name.strip().lower(): name for name in reader.fieldnames or ()}
        column = next((names[name] for name in COLUMNS if name in names), None)
        if column is None:
            raise BadRequest(
                f"{file}: no column is called {' or '.join(COLUMNS)}; it has "
                f"{', '.join(names) or 'none'}"
            )
        for record in reader:
            text, number = record[column], reader.line_num
            entry = {"id": record[names["id"]]} if "id" in names else {}
            if text:
                messages = [{"role": "user", "content": text}]
                yield Row(number, {**entry, "text": text}, messages)
            else:
                yield Row(number, entry, None, f"line {number}: its {column!r} is empty")
