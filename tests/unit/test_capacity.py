"""The capacity model's arithmetic, on a request that is easy to reckon."""

from dataclasses import replace

import pytest

from benchmarks.capacity import COUNTED, Counted, million_usd, quotas, told

ONE = Counted({"firehose PutRecord": 1.0}, {"spend": 2.0}, {"keys": 1.0}, event_kb=1.0)


def test_a_million_requests_cost_the_sum_of_the_parts():
    costs = million_usd(ONE, 1.0, 1_000)
    assert costs["DynamoDB"] == pytest.approx(2 * 0.625 + 0.125)
    assert costs["Lambda"] == pytest.approx(0.2 + 16.6667)
    assert costs["all"] == pytest.approx(sum(costs.values()) - costs["all"])
    assert million_usd(ONE, 1.0, 1)["fixed"] > 100 * million_usd(ONE, 1.0, 1_000)["fixed"]


def test_a_slower_upstream_needs_more_at_one_time():
    def lambdas(seconds):
        return next(q.breaks_at for q in quotas(ONE, seconds) if q.what.startswith("Lambda"))

    assert lambdas(2.0) == 500
    assert lambdas(0.1) == 10_000


def test_limits_are_told_in_the_order_in_which_they_break():
    found = [q["rps"] for q in told(COUNTED, 6.1, 1_500)["breaks_first"]]
    assert found == sorted(found)
    heavy = replace(COUNTED, writes=COUNTED.writes | {"cache": 100.0})
    assert "cache" in next(q.what for q in quotas(heavy, 1.0) if "write units" in q.what)
