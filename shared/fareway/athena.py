"""SQL -> rows, through Athena. Used by reports, never on the request path."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING

from fareway.errors import FarewayError

if TYPE_CHECKING:
    from mypy_boto3_athena import AthenaClient


class QueryFailed(FarewayError):
    """Athena could not answer; the message is its own."""


def load_query(name: str, first: date, last: date) -> str:
    """One of `sql/*.sql` over the partitions from `first` to `last`, both included (UTC days)."""
    text = files("fareway").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
    return Template(text).substitute(first=first.isoformat(), last=last.isoformat())


@dataclass(slots=True)
class Athena:
    """Runs queries in one workgroup and database.

    Args:
        timeout_s: how long one query may take, seconds.
        sleep: called between two looks at the query's state, with seconds.
    """

    client: AthenaClient
    workgroup: str
    database: str
    timeout_s: float = 120.0
    sleep: Callable[[float], None] = time.sleep

    def run(self, sql: str) -> list[Mapping[str, str | None]]:
        """The rows by column name, as Athena's text.

        Raises:
            QueryFailed: it failed, was cancelled, or took longer than `timeout_s`.
        """
        query = self.client.start_query_execution(
            QueryString=sql,
            WorkGroup=self.workgroup,
            QueryExecutionContext={"Database": self.database},
        )["QueryExecutionId"]
        self._wait(query)
        rows: list[list[str | None]] = []
        for page in self.client.get_paginator("get_query_results").paginate(QueryExecutionId=query):
            rows += [
                [cell.get("VarCharValue") for cell in row.get("Data", [])]
                for row in page["ResultSet"]["Rows"]
            ]
        if not rows:
            return []
        header = [str(name) for name in rows[0]]
        return [dict(zip(header, row, strict=True)) for row in rows[1:]]

    def _wait(self, query: str) -> None:
        give_up = time.monotonic() + self.timeout_s
        pause_s = 0.05
        while True:
            execution = self.client.get_query_execution(QueryExecutionId=query)["QueryExecution"]
            state = execution["Status"]["State"]
            if state == "SUCCEEDED":
                return
            if state in ("FAILED", "CANCELLED"):
                reason = execution["Status"].get("StateChangeReason", "no reason given")
                raise QueryFailed(f"Athena: {state.lower()}: {reason}")
            if time.monotonic() > give_up:
                self.client.stop_query_execution(QueryExecutionId=query)
                raise QueryFailed(f"Athena: no answer within {self.timeout_s:.0f} s")
            self.sleep(pause_s)
            pause_s = min(pause_s * 1.5, 2.0)
