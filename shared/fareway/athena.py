"""SQL -> rows, through Athena. Used by reports, never on the request path."""

from __future__ import annotations

import re
import time
from calendar import monthrange
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING

from fareway.errors import FarewayError

if TYPE_CHECKING:
    from mypy_boto3_athena import AthenaClient


#: A row of an answer by column, as Athena's text.
Row = Mapping[str, str | None]


class QueryFailed(FarewayError):
    """Athena could not answer; the message is its own."""


#: How many days after it happened an event may still arrive, as one that was replayed does, and
#: count in its own day.
LATE_DAYS = 3
#: Those whose days can be asked for: about the first and the last day that there is, none can.
YEARS = range(2000, 3000)
#: What some queries want to know besides days; `load_query` takes others.
PARAMETERS: Mapping[str, int | Decimal] = {
    "short_prompt_tokens": 200,
    "short_completion_tokens": 80,
    "memory_gb": Decimal(1),  # the function's MemorySize
    # aws.amazon.com/lambda/pricing: x86, us-east-1, the first 6 billion GB-seconds of a month
    "gb_second_usd": Decimal("0.0000166667"),
}


#: A line of a query in whose place one of `sql/parts` stands, which other queries have too.
_PART = re.compile(r"^-- part: (\w+)\n", re.MULTILINE)


def query_text(name: str) -> str:
    """One of `sql/*.sql` with its parts and its `$parameters`."""
    return _PART.sub(lambda part: _sql("parts", part[1]), _sql(name))


def _sql(*path: str) -> str:
    return files("fareway").joinpath("sql", *path[:-1], f"{path[-1]}.sql").read_text("utf-8")


def query_names() -> list[str]:
    """What there is in `sql/`, sorted."""
    entries = files("fareway").joinpath("sql").iterdir()
    return sorted(e.name.removesuffix(".sql") for e in entries if e.name.endswith(".sql"))


def load_query(name: str, first: date, last: date, **parameters: int | Decimal) -> str:
    """One of `sql/*.sql` over what happened from `first` to `last`, both included (UTC days).

    Args:
        parameters: in place of those of PARAMETERS.

    Raises:
        TypeError: a parameter that no query has.
    """
    if unknown := parameters.keys() - PARAMETERS.keys():
        raise TypeError(f"no query has a parameter {min(unknown)}")
    values = parameters_text(**parameters) | _days(first, last)
    return Template(query_text(name)).substitute(values)


def parameters_text(**parameters: int | Decimal) -> dict[str, str]:
    """PARAMETERS, some of them replaced, as they stand in SQL."""
    return {name: f"{Decimal(value):f}" for name, value in {**PARAMETERS, **parameters}.items()}


def _days(first: date, last: date) -> dict[str, str]:
    """`until`: the last partition in which an event of these days may have arrived. For the
    forecast: the seven days to `last`, and the days of the month of `first` that are left after it.
    """
    week = last - timedelta(days=6)
    month = date(first.year, first.month, monthrange(first.year, first.month)[1])
    return {
        "first": first.isoformat(),
        "last": last.isoformat(),
        "until": (last + timedelta(days=LATE_DAYS)).isoformat(),
        "week": week.isoformat(),
        "since": min(first, week).isoformat(),
        "days_left": str(max(0, (month - last).days)),
    }


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

    def run(self, sql: str) -> list[Row]:
        """The rows.

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
