"""The report's SQL and its tables. SQLite stands for Athena: the SQL keeps to what both know."""

import io
import sqlite3
from datetime import date
from decimal import Decimal

import pytest
from rich.console import Console

from fareway.cli.report import print_report
from fareway.cost import COLUMNS
from fareway.report import report
from tests.builders import an_event

DAY = date(2026, 11, 24)


class Engine:
    """What `report` needs of Athena: a query in, rows of text out."""

    def __init__(self, events):
        self.connection = sqlite3.connect(":memory:")
        columns = [*COLUMNS, "dt"]
        self.connection.execute(f"CREATE TABLE cost_events ({', '.join(columns)})")
        for event in events:
            values = [*event.record().values(), DAY.isoformat()]
            marks = ", ".join("?" * len(values))
            self.connection.execute(f"INSERT INTO cost_events VALUES ({marks})", values)

    def run(self, sql):
        cursor = self.connection.execute(sql)
        names = [column[0] for column in cursor.description]
        return [
            {n: None if v is None else str(v) for n, v in zip(names, row, strict=True)}
            for row in cursor.fetchall()
        ]


@pytest.fixture
def reported():
    def reported(*events):
        engine = Engine(an_event(decision_id=f"dec_{i}", **e) for i, e in enumerate(events))
        figures = report(engine, DAY, DAY)
        engine.connection.close()
        printed = io.StringIO()
        print_report(figures, Console(file=printed, width=120))
        return figures, printed.getvalue()

    return reported


UNPRICED = {"served_model": "acme/llm-1", "cost_usd": None, "cost_source": None}
FAILED = {"served_model": None, "cost_usd": None, "cost_source": None, "status": 502}
CUT = {**UNPRICED, "status": 502, "stream": True}
ESTIMATED = {"cost_source": "estimated"}


def line(printed, words):
    return next(row for row in printed.splitlines() if words in row)


def test_what_has_no_price_is_counted_and_not_summed(reported):
    figures, printed = reported({}, UNPRICED, CUT, FAILED)
    totals = figures.totals
    assert (totals["requests"], totals["unpriced"]) == ("4", "2")
    assert Decimal(totals["cost_usd"]) == Decimal("0.00045")
    assert Decimal(totals["baseline_usd"]) == Decimal("0.00625")  # of the priced one alone
    assert " 2 " in line(printed, "unpriced, not in the sums")


def test_the_model_without_a_price_is_named_and_shows_no_zero(reported):
    figures, printed = reported({}, UNPRICED)
    by_model = {row["served_model"]: row["unpriced"] for row in figures.by_model}
    assert by_model == {"acme/llm-1": "1", "deepseek-v4-flash": "0"}
    assert "0.000000" not in line(printed, "acme/llm-1")


def test_estimates_are_told_apart(reported):
    figures, printed = reported({}, ESTIMATED, ESTIMATED)
    assert figures.totals["estimated"] == "2"
    assert " 2 " in line(printed, "estimated, in the sums")


def test_where_all_is_priced_nothing_is_said_of_it(reported):
    assert "unpriced" not in reported({})[1]


def test_a_day_without_requests_is_reported_too(reported):
    figures, printed = reported()
    assert figures.requests == 0
    assert "0 answered" in printed
