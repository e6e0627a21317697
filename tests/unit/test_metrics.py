"""A request's line: valid Embedded Metric Format, and the right numbers in it."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from fareway.metrics import UNITS, Facts, request_line
from fareway.trace import Trace
from tests.builders import an_event

TRACE = Trace("a" * 32, "b" * 16)
#: Units that CloudWatch knows, of those that make sense here.
KNOWN_UNITS = {"Count", "Milliseconds", "None"}


def line(event=None, status=200, total_ms=150.0, **facts):
    return request_line(
        "test",
        TRACE,
        Facts(event=event, **facts),
        path="/v1/chat/completions",
        status=status,
        total_ms=total_ms,
        ended_at=1_800_000_000.25,
    )


def defined(document):
    """Dimension names -> the metrics under them."""
    return {
        tuple(dimensions): [metric["Name"] for metric in directive["Metrics"]]
        for directive in document["_aws"]["CloudWatchMetrics"]
        for dimensions in directive["Dimensions"]
    }


LINES = {
    "answered": line(an_event(), ledger="firehose"),
    "refused": line(status=401, error="Unauthorised"),
    "failed": line(
        an_event(status=502, cost_usd=None, served_model=None, aggregator=None), 502, ledger="s3"
    ),
    "passed through": line(an_event(tier=None, lane="direct", p1=None, classifier_ms=0.0)),
    "unclassified": line(an_event(p1=None, p2=None, p3=None, p4=None, p5=None, tier="premium")),
    "free": line(an_event(cost_usd=Decimal(0), baseline_usd=None)),
}


@pytest.mark.parametrize("document", LINES.values(), ids=LINES)
def test_a_line_is_valid_emf(document):
    """By the specification: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/
    CloudWatch_Embedded_Metric_Format_Specification.html."""
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    meta = document["_aws"]
    assert set(meta) == {"Timestamp", "CloudWatchMetrics"}
    assert meta["Timestamp"] == 1_800_000_000_250
    for directive in meta["CloudWatchMetrics"]:
        assert set(directive) == {"Namespace", "Dimensions", "Metrics"}
        assert directive["Namespace"] == "Fareway"
        assert directive["Dimensions"]
        for dimensions in directive["Dimensions"]:
            assert len(dimensions) <= 30
            assert all(isinstance(document[d], str) and document[d].strip() for d in dimensions)
        assert 0 < len(directive["Metrics"]) <= 100
        for metric in directive["Metrics"]:
            assert metric["Unit"] in KNOWN_UNITS
            assert type(document[metric["Name"]]) in (int, float)


def test_an_answered_request_is_told_whole():
    told = line(an_event(cache_hit="table", failovers=2, attempts=1), ledger="firehose")
    assert {name: told[name] for name in UNITS} == {
        "Requests": 1,
        "Failures5xx": 0,
        "Rejected4xx": 0,
        "CostUSD": 0.00045,
        "SavingUSD": 0.0058,
        "CacheHits": 1,
        "Failovers": 2,
        "BreakerOpens": 0,
        "LedgerFallbacks": 0,
        "Unpriced": 0,
        "Unclassified": 0,
        "MemoryFailures": 0,
        "Escalations": 0,
        "ClassifierMs": 1.5,
        "UpstreamMs": 120.0,
        "OverheadMs": 30.0,
        "TotalMs": 150.0,
    }
    assert (told["decision_id"], told["model"], told["status"]) == (
        "dec_1",
        "deepseek-v4-flash",
        200,
    )
    assert (told["trace_id"], told["span_id"]) == ("a" * 32, "b" * 16)


@pytest.mark.parametrize(
    ("document", "metric", "value"),
    [
        pytest.param(line(status=500), "Failures5xx", 1, id="a crash"),
        pytest.param(line(status=500), "Rejected4xx", 0, id="is not the caller's"),
        pytest.param(line(status=429), "Rejected4xx", 1, id="refused"),
        pytest.param(line(an_event(), ledger="s3"), "LedgerFallbacks", 1, id="S3"),
        pytest.param(line(an_event(), ledger="log"), "LedgerFallbacks", 1, id="log"),
        pytest.param(line(an_event(), breaker_opens=2), "BreakerOpens", 2, id="breakers"),
        pytest.param(line(an_event(), forgot=3), "MemoryFailures", 3, id="memory"),
        pytest.param(line(an_event(escalated=True)), "Escalations", 1, id="escalated"),
        pytest.param(line(an_event(cost_usd=None)), "Unpriced", 1, id="no price"),
        pytest.param(line(an_event(cost_usd=Decimal(0))), "Unpriced", 0, id="free is a price"),
        pytest.param(
            line(an_event(cost_usd=None, status=502), 502), "Unpriced", 0, id="nothing to price"
        ),
        pytest.param(line(an_event(p1=None)), "Unclassified", 1, id="unclassified"),
        pytest.param(
            line(an_event(baseline_usd=Decimal("0.0001"))), "SavingUSD", -0.00035, id="a loss"
        ),
        pytest.param(line(an_event(), total_ms=119.0), "OverheadMs", 0.0, id="never below zero"),
    ],
)
def test_each_count_tells_what_it_says(document, metric, value):
    assert document[metric] == value


@pytest.mark.parametrize(
    ("document", "absent"),
    [
        pytest.param(line(an_event(cost_usd=None)), {"CostUSD", "SavingUSD"}, id="unpriced"),
        pytest.param(line(an_event(classifier_ms=0.0)), {"ClassifierMs"}, id="cached"),
        pytest.param(line(an_event(attempts=2)), {"OverheadMs"}, id="with waits between tries"),
        pytest.param(line(an_event(attempts=0)), {"OverheadMs", "UpstreamMs"}, id="no call"),
        pytest.param(
            line(an_event(lane="direct", tier=None, p1=None)),
            {"CacheHits", "Unclassified", "Escalations"},
            id="passed through",
        ),
        pytest.param(
            line(status=400), set(UNITS) - {"Requests", "Failures5xx", "Rejected4xx"}, id="refused"
        ),
    ],
)
def test_what_is_not_known_is_left_out_and_not_zero(document, absent):
    assert absent == set(UNITS) - set(defined(document)["Stage",])
    assert not absent & set(document)


@pytest.mark.parametrize(
    ("event", "tier"),
    [
        (an_event(tier="mid"), "mid"),
        (an_event(tier=None, lane="direct"), "direct"),
    ],
)
def test_requests_are_counted_by_tier_too(event, tier):
    document = line(event)
    assert defined(document)["Stage", "Tier"] == ["Requests"]
    assert document["Tier"] == tier
    assert ("Stage", "Tier") not in defined(line(status=400))


def test_nothing_that_a_caller_wrote_becomes_a_metric_of_its_own():
    """Every new name or dimension value is a metric that is paid for."""
    one = line(an_event(requested_model="a", served_model="b", key_id="c", reason="d"))
    other = line(an_event(requested_model="1", served_model="2", key_id="3", reason="4"))
    assert one["_aws"] == other["_aws"]
    assert (one["Stage"], one["Tier"]) == (other["Stage"], other["Tier"])


def test_a_callers_own_words_are_not_in_the_line():
    told = line(an_event(requested_model="secret", reason="secret", session_hash="secret"))
    assert "secret" not in json.dumps(told)
