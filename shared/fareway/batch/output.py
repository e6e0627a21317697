"""Rows with their answers -> CSV or JSON lines; rows that failed -> NAME.errors.csv.

A cell of text that a spreadsheet would take for a formula gets an apostrophe before it.
Source: owasp.org/www-community/attacks/CSV_Injection.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Collection, Iterable, Mapping
from io import StringIO
from typing import IO, Any, Protocol

from fareway.batch.job import Asked, put_line
from fareway.batch.rows import Row

#: What the output adds to the input's columns.
ADDED = (
    "answer", "model", "tier", "cost_usd", "prompt_tokens", "completion_tokens", "status",
)  # fmt: skip
_FORMULA = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?[\d.,]+(?:[eE][+-]?\d+)?%?")


class Answers(Protocol):
    def put(self, row: Row, added: Mapping[str, Any]) -> None:
        """One row, with what `ADDED` names of it."""


def answers_file(file: IO[bytes], asked: Asked) -> Answers:
    """The output, in the input's format."""
    return CsvAnswers(file, asked.columns) if asked.format == "csv" else JsonAnswers(file)


class CsvAnswers:
    """`id`, the columns carried through, and the added ones; of two names alike ours stays."""

    def __init__(self, file: IO[bytes], columns: list[str]) -> None:
        self._file, self._columns = file, columns
        self._file.write(_csv_line(["id", *_names(columns).values(), *ADDED]))

    def put(self, row: Row, added: Mapping[str, Any]) -> None:
        carried = [row.carried.get(name) for name in self._columns]
        self._file.write(_csv_line([row.id, *carried, *(added.get(name) for name in ADDED)]))


class JsonAnswers:
    """The same as JSON lines."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def put(self, row: Row, added: Mapping[str, Any]) -> None:
        names = _names(row.carried)
        carried = {names[name]: value for name, value in row.carried.items()}
        put_line(self._file, {"id": row.id, **carried, **added})


class Errors:
    """Rows that have no answer: where they stand in the input, and why."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._file.write(_csv_line(["line", "id", "status", "reason"]))

    def put(self, row: Row, status: str, reason: str) -> None:
        self._file.write(_csv_line([row.line, row.id, status, reason]))


def _names(columns: Collection[str]) -> dict[str, str]:
    """Columns carried through -> their names beside ours; no two are alike."""
    names = {name: name for name in columns}
    for name in columns:
        while names[name] in ADDED or (names[name] != name and names[name] in columns):
            names[name] = f"input_{names[name]}"
    return names


def _csv_line(cells: Iterable[object]) -> bytes:
    line = StringIO(newline="")
    csv.writer(line).writerow([_cell(cell) for cell in cells])
    return line.getvalue().encode("utf-8", "replace")


def _cell(value: object) -> object:
    """A cell that no spreadsheet runs."""
    if isinstance(value, dict | list):
        value = json.dumps(value)
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return "'" + value
    return value
