"""Every query over traffic with all that happens to events, against answers made without SQL."""

import pytest

from benchmarks.answers import answers, differences
from benchmarks.lake import DAYS, FIRST, MONTH, filled
from benchmarks.traffic import Generator
from fareway.athena import load_query, query_names


@pytest.fixture(scope="module", params=[1, 2])
def traffic(request):
    return Generator(request.param, FIRST, DAYS).traffic(2_500)


@pytest.fixture(scope="module")
def lake(traffic):
    lake = filled(traffic)
    yield lake
    lake.close()


@pytest.fixture(scope="module")
def due(traffic):
    return answers(traffic, *MONTH)


@pytest.mark.parametrize("name", query_names())
def test_the_answer_is_the_one_worked_out_without_sql(lake, due, name):
    rows = lake.run(load_query(name, *MONTH))
    assert rows
    assert differences(rows, due[name]) == []


def test_the_traffic_has_all_that_makes_answers_hard(traffic):
    events, ids = traffic.events, [a.event.decision_id for a in traffic.arrivals]
    assert len(events) == 2_500 < len(ids)
    assert any(a.event.occurred_at[:10] < a.day.isoformat() for a in traffic.arrivals)
    assert {e.status for e in events} >= {200, 499, 502}
    assert {e.cost_source for e in events} == {"provider", "price_table", "estimated", None}
    assert any(e.failovers for e in events)
    assert any(e.follow_up == "complaint" for e in events)
    assert any(e.stream for e in events)


def test_a_wrong_answer_is_seen(due):
    told = [{n: None if v is None else str(v) for n, v in row.items()} for row in due["by_day"]]
    assert differences(told, due["by_day"]) == []
    told[3]["cost_usd"] = str(due["by_day"][3]["cost_usd"] * 2)
    assert len(differences(told, due["by_day"])) == 1
    assert differences(told[1:], due["by_day"])
