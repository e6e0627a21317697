"""The lake's tables in DuckDB, which is what the local cloud's Athena is underneath.

For tests and benchmarks of the SQL alone, with no cloud around it: records in, rows of text out.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

import duckdb

from fareway.athena import load_query
from fareway.cost import COLUMNS
from fareway.lake import FEEDBACK_COLUMNS, ROLLUP_COLUMNS, FeedbackRow, RollupRow, json_lines

TABLES = {"cost_events": COLUMNS, "feedback": FEEDBACK_COLUMNS, "rollups": ROLLUP_COLUMNS}
_TYPES = {"string": "VARCHAR", "int": "INTEGER"}


class Lake:
    """Three tables as Glue describes them, empty at first."""

    def __init__(self) -> None:
        self._duckdb = duckdb.connect(":memory:")
        for table, columns in TABLES.items():
            typed = ", ".join(f"{n} {t}" for n, t in _types(columns).items())
            self._duckdb.execute(f"CREATE TABLE {table} ({typed})")

    def add(self, table: str, records: Iterable[Mapping[str, Any]]) -> None:
        """Adds records, each with the table's columns and `dt`, the day of its partition."""
        columns = _types(TABLES[table])
        with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
            for record in records:
                file.write(json.dumps(record) + "\n")
            file.flush()
            typed = ", ".join(f"'{n}': '{t}'" for n, t in columns.items())
            self._duckdb.execute(
                f"INSERT INTO {table} SELECT * FROM read_json('{file.name}', "
                f"format = 'newline_delimited', columns = {{{typed}}})"
            )

    def add_opinions(self, opinions: Iterable[FeedbackRow]) -> None:
        self.add("feedback", (_record(o) | {"dt": o.occurred_at[:10]} for o in opinions))

    def sum_up(self, first: date, last: date) -> None:
        """Adds the rows of these days, as the rollup function makes them."""
        rows = map(RollupRow.of, self.run(load_query("rollup_days", first, last)))
        self.add("rollups", [_record(row) | {"dt": row.day} for row in rows])

    def run(self, sql: str) -> list[Mapping[str, str | None]]:
        """The rows by column name, in text, as `fareway.athena.Athena.run` gives them."""
        cursor = self._duckdb.cursor().execute(sql)  # of its own: threads may ask at once
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, map(_text, row), strict=True)) for row in cursor.fetchall()]

    def write_parquet(self, table: str, day: str, path: str) -> None:
        """Writes a partition as Firehose does: the table's columns without `dt`."""
        names = ", ".join(TABLES[table])
        self._duckdb.execute(
            f"COPY (SELECT {names} FROM {table} WHERE dt = '{day}') TO '{path}' (FORMAT parquet)"
        )

    def close(self) -> None:
        self._duckdb.close()


def _record(row: FeedbackRow | RollupRow) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(json_lines([row]))
    return record


def _types(columns: Mapping[str, str]) -> dict[str, str]:
    return {name: _TYPES.get(t, t.upper()) for name, t in columns.items()} | {"dt": "VARCHAR"}


def _text(value: object) -> str | None:
    if value is None:
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)
