"""A CSV or JSONL file -> its records, however broken; each with the number of its first line.

Bytes are read in lines of at most 4 MiB and records of at most that, so memory stays flat. A quote
that nothing closes costs its own line, not the rest of the file.

Source: RFC 4180, as Python's `csv` reads it in strict mode.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isinf
from typing import IO, Any

from fareway.body import MAX_BODY_BYTES
from fareway.errors import BadRequest

#: Characters of one cell; no model's context holds more in a single prompt.
MAX_CELL = 1_000_000
_LONG = f"a cell has more than {MAX_CELL:,} characters"
_BOM = b"\xef\xbb\xbf"
_WIDE = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class Record:
    """One record: its cells by column, and what is wrong with it.

    Args:
        line: where it begins, from 1.
        cells: of a faulty record those that are sure to be in their column.
    """

    line: int
    cells: Mapping[str, Any]
    fault: str = ""


class _Overlong(Exception):
    """The record has more bytes than a record may have."""


class _Lines:
    """Physical lines for the csv reader, and what the current record has used of them."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.number = 0  # of the line read last
        self.begin()

    def begin(self) -> None:
        """A new record begins with the next line."""
        self.first = self.number + 1
        self.resume: tuple[int, int] | None = None  # offset and number after the first line
        self.bytes, self.quotes, self.bad_byte = 0, 0, ""

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        raw = self._line()
        if not raw:
            raise StopIteration
        if self.bytes > MAX_BODY_BYTES:
            raise _Overlong
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            byte = f"byte {error.start + 1} of line {self.number} (0x{raw[error.start]:02x})"
            self.bad_byte = self.bad_byte or byte
            return raw.decode("utf-8", "replace")

    def _line(self) -> bytes:
        raw = self._file.readline(MAX_BODY_BYTES)
        if not raw:
            return raw
        self.number += 1
        self.bytes += len(raw)
        self.quotes += raw.count(b'"')
        while len(raw) == MAX_BODY_BYTES and not raw.endswith(b"\n"):
            more = self._file.readline(MAX_BODY_BYTES)
            if not more:
                break
            self.bytes += len(more)
            self.quotes += more.count(b'"')
            if more.endswith(b"\n"):
                break
        if self.resume is None:
            self.resume = (self._file.tell(), self.number)
        return raw

    def skip(self) -> bool:
        """To the end of an overlong record -> whether its quotes close before the file ends."""
        while self.quotes % 2:
            if not self._line():
                return False
        return True

    def rewind(self) -> None:
        """Back to the line after the record's first: that one alone is lost."""
        assert self.resume is not None
        offset, self.number = self.resume
        self._file.seek(offset)


def csv_records(file: IO[bytes]) -> tuple[list[str], Iterator[Record]]:
    """A CSV file -> its columns, and its records.

    Args:
        file: opened in binary; it can be sought in.

    Raises:
        BadRequest: it has no header that can be read.
    """
    csv.field_size_limit(2 * MAX_BODY_BYTES)  # `_Lines` is what bounds a record
    start = file.read(3)
    if start[:2] in _WIDE:
        raise BadRequest("The file is UTF-16; save it as UTF-8.")
    file.seek(3 if start == _BOM else 0)
    lines = _Lines(file)
    try:
        header = next(csv.reader(lines, strict=True))
    except StopIteration:
        raise BadRequest("The file is empty; its first line names the columns.") from None
    except (csv.Error, _Overlong) as error:
        raise BadRequest(f"Line 1 does not name columns: {_reason(error)}.") from error
    columns = [name.strip() for name in header]
    if lines.bad_byte:
        raise BadRequest(f"The columns' names are not UTF-8: {lines.bad_byte}.")
    if twice := {name for name in columns if columns.count(name) > 1}:
        raise BadRequest(f"Two columns are called {min(twice)!r}.")
    return columns, _csv(lines, columns)


def _csv(lines: _Lines, columns: list[str]) -> Iterator[Record]:
    reader = csv.reader(lines, strict=True)
    while True:
        lines.begin()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except _Overlong as error:
            if not lines.skip():
                lines.rewind()
            yield Record(lines.first, {}, _reason(error))
        except csv.Error as error:
            lines.rewind()
            yield Record(lines.first, {}, f"its quotes are broken ({error})")
        else:
            if cells:  # a blank line is none
                yield _record(lines, columns, cells)


def _record(lines: _Lines, columns: list[str], cells: list[str]) -> Record:
    fault = ""
    if lines.bad_byte:
        fault = f"it is not UTF-8: {lines.bad_byte}"
    elif len(cells) != len(columns):
        fault = f"it has {len(cells)} cells, and the header has {len(columns)}"
    elif any(map(_long, cells)):
        fault = _LONG
    if len(cells) != len(columns):
        cells = cells[:1]
    known = {name: "" if _long(cell) else cell for name, cell in zip(columns, cells, strict=False)}
    return Record(lines.first, known, fault)


def jsonl_records(file: IO[bytes]) -> Iterator[Record]:
    """A file of JSON objects, one a line -> its records; blank lines are none."""
    if file.read(3) != _BOM:
        file.seek(0)
    lines = _Lines(file)
    while True:
        lines.begin()
        try:
            text = next(lines)
            if not text.strip():
                continue
            if lines.bad_byte:
                raise ValueError(f"it is not UTF-8: {lines.bad_byte}")
            entry = _entry(text)
        except StopIteration:
            return
        except RecursionError:
            yield Record(lines.first, {}, "it is nested too deep")
        except (ValueError, _Overlong) as error:
            yield Record(lines.first, {}, _reason(error))
        else:
            yield Record(lines.first, entry)


def _entry(text: str) -> dict[str, Any]:
    entry = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    if not isinstance(entry, dict):
        raise ValueError("it is not a JSON object")
    if any(map(_long, entry.values())):
        raise ValueError(_LONG)
    return entry


def _long(cell: object) -> bool:
    return isinstance(cell, str) and len(cell) > MAX_CELL


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _finite(number: str) -> float:
    """`1e400` would be written as `Infinity`."""
    if isinf(value := float(number)):
        raise ValueError(f"{number[:40]} is too large a number")
    return value


def _reason(error: Exception) -> str:
    if isinstance(error, _Overlong):
        return f"it has more than {MAX_BODY_BYTES:,} bytes"
    return str(error)
