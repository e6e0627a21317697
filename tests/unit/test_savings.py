"""The savings page's figures: its SQL over events worked out by hand, and what is made of them."""

import asyncio
from datetime import date
from decimal import Decimal

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from fareway.athena import QueryFailed
from fareway.errors import BadRequest, LedgerUnavailable
from fareway.lake import FeedbackRow
from fareway.savings import BUCKET, PARTS, Savings, days_asked
from tests.builders import a_policy, an_event
from tests.lake import Asked

FIRST, LAST = date(2026, 11, 24), date(2026, 11, 26)


def at(day, time="12:00:00", **fields):
    return {"occurred_at": f"2026-11-{day}T{time}.000+00:00", **fields}


def usd(text):
    return Decimal(text)


PREMIUM = {"complexity": 5, "score": 4.5, "tier": "premium", "served_model": "gpt-5"}
SHORT = {**PREMIUM, "prompt_tokens": 200, "completion_tokens": 80}


@pytest.fixture
def shown():
    """Events -> the figures of three days, all parts of the page in one."""
    lakes = []

    async def shown(*events, opinions=()):
        made = [an_event(**{"decision_id": f"dec_{n}", **e}) for n, e in enumerate(events)]
        lakes.append(lake := Asked(made, opinions))
        savings = Savings(a_policy(), lambda: lake)
        parts = {name: await savings.figures(name, FIRST, LAST) for name in PARTS}
        return parts["summary"] | {n: parts[n] for n in ("wasted_premium", "scores")}

    yield shown
    for lake in lakes:
        lake.close()


def bins(figures):
    return [
        dict(zip(figures["scores"]["columns"], r, strict=True)) for r in figures["scores"]["rows"]
    ]


async def test_each_day_has_its_spend_and_a_day_without_requests_is_there(shown):
    figures = await shown(
        at(24), at(24, cost_usd=Decimal("0.05"), baseline_usd=Decimal("0.05")), at(26)
    )
    days = [
        (d["day"], d["requests"], usd(d["cost_usd"]), usd(d["baseline_usd"]))
        for d in figures["days"]
    ]
    assert days == [
        ("2026-11-24", 2, usd("0.05045"), usd("0.05625")),
        ("2026-11-25", 0, 0, 0),
        ("2026-11-26", 1, usd("0.00045"), usd("0.00625")),
    ]


async def test_what_was_saved_is_the_baseline_less_what_was_spent(shown):
    unpriced = at(25, served_model="acme/llm-1", cost_usd=None, cost_source=None)
    failed = at(25, served_model=None, cost_usd=None, cost_source=None, status=502)
    totals = (await shown(at(24), unpriced, failed, at(26, cost_source="estimated")))["totals"]
    assert usd(totals["saved_usd"]) == 2 * (usd("0.00625") - usd("0.00045"))
    assert totals["saved_share"] == pytest.approx(0.928)
    counts = {n: totals[n] for n in ("requests", "answered", "failed", "unpriced", "estimated")}
    assert counts == {"requests": 4, "answered": 3, "failed": 1, "unpriced": 1, "estimated": 1}


async def test_without_a_request_no_share_is_made_up(shown):
    figures = await shown()
    assert figures["totals"]["saved_share"] is None
    assert (figures["flow"], figures["wasted_premium"]["calls"], figures["scores"]["rows"]) == (
        [],
        0,
        [],
    )
    assert len(figures["days"]) == 3


async def test_an_event_that_arrived_twice_counts_once_and_days_outside_do_not(shown):
    figures = await shown(at(24, decision_id="a"), at(24, decision_id="a"), at(23), at(27))
    assert figures["totals"]["requests"] == 1
    assert sum(b["requests"] for b in bins(figures)) == 1


async def test_the_flow_tells_complexity_tier_lane_and_model(shown):
    sensitive = {**PREMIUM, "complexity": 1, "lane": "sensitive", "served_model": "claude"}
    direct = {
        "complexity": None,
        "score": None,
        "tier": None,
        "lane": "direct",
        "served_model": "x",
    }
    figures = await shown(at(24), at(25), at(24, **sensitive), at(25, **direct))
    ways = [
        tuple(w[n] for n in ("complexity", "tier", "lane", "served_model", "requests"))
        for w in figures["flow"]
    ]
    assert ways[0] == (1, "cheap", "standard", "deepseek-v4-flash", 2)
    assert set(ways[1:]) == {
        (1, "premium", "sensitive", "claude", 1),
        (None, "direct", "direct", "x", 1),
    }


async def test_the_dearest_waste_comes_first(shown):
    costs = ("0.001", "0.003", "0.002")
    events = (at(24, **SHORT, cost_usd=Decimal(c)) for c in costs)
    figures = await shown(*events, at(25, **SHORT, cost_usd=None))
    rows = figures["wasted_premium"]["rows"]
    assert [row["cost_usd"] and usd(row["cost_usd"]) for row in rows] == [
        usd("0.003"),
        usd("0.002"),
        usd("0.001"),
        None,
    ]
    assert figures["wasted_premium"]["calls"] == 4


async def test_scores_are_summed_in_buckets_with_tokens_and_chances(shown):
    figures = await shown(
        at(24, score=1.10), at(25, score=1.149), at(25, score=1.15), at(25, **PREMIUM)
    )
    first, second, third = bins(figures)
    assert (first["bucket"] * BUCKET, first["requests"]) == (pytest.approx(1.10), 2)
    assert (first["prompt_tokens"], first["completion_tokens"]) == (2000, 1000)
    assert (first["p1"], first["p2"]) == (1.8, 0.2)
    assert (usd(first["cost_usd"]), usd(first["baseline_usd"])) == (usd("0.0009"), usd("0.0125"))
    assert (second["bucket"], second["requests"]) == (23, 1)
    assert (third["bucket"], third["complexity"], third["tier"]) == (90, 5, "premium")


@pytest.mark.parametrize(
    "fields",
    [
        {"lane": "sensitive"},
        {"requested_model": "fareway/cheap"},
        {"escalated": True},
        {"raised": "mid"},
        {"explored": True},
        {"score": None, "complexity": None, "tier": "premium", "lane": "sensitive"},
    ],
    ids=lambda fields: next(iter(fields)),
)
async def test_what_complexity_did_not_decide_is_no_score_to_be_cut(shown, fields):
    (row,) = bins(await shown(at(24, **fields)))
    assert (row["bucket"], row["complexity"], row["requests"]) == (None, None, 1)


def opinion(decision_id, rating, time="13:00:00"):
    return FeedbackRow(
        decision_id=decision_id,
        occurred_at=f"2026-11-24T{time}.000+00:00",
        tenant_hash="t" * 16,
        rating=rating,
        score=None,
        reason=None,
    )


async def test_answers_that_were_followed_up_or_rated_are_judged(shown):
    turns = [
        at(24, f"12:0{n}:00", session_hash="s", follow_up=f)
        for n, f in enumerate((None, "complaint", "neutral"))
    ]
    rated = [at(24, decision_id=name) for name in ("liked", "disliked", "silent")]
    figures = await shown(
        *turns,
        *rated,
        opinions=[
            opinion("liked", "down"),
            opinion("liked", "up", "13:05:00"),  # who thinks better of it
            opinion("disliked", "down"),
        ],
    )
    (row,) = bins(figures)
    assert (row["requests"], row["judged"], row["failed"]) == (6, 4, 2)


async def test_a_session_that_was_lifted_after_an_answer_says_that_it_failed(shown):
    turns = [
        at(24, "12:00:00", session_hash="s"),
        at(24, "12:01:00", session_hash="s", follow_up="neutral", tier="mid", escalated=True),
    ]
    cheap, mid = bins(await shown(*turns))
    assert (cheap["tier"], cheap["judged"], cheap["failed"]) == ("cheap", 1, 1)
    assert (mid["bucket"], mid["judged"], mid["failed"]) == (None, 0, 0)


async def test_the_policy_comes_with_its_cuts_and_its_tiers_prices(shown):
    policy, told = a_policy(), (await shown())["policy"]
    assert told["cuts"] == list(policy.cuts)
    assert [(t["tier"], t["complexity"]) for t in told["tiers"]] == [
        ("cheap", [1, 2]), ("mid", [3, 4]), ("premium", [5]),
    ]  # fmt: skip
    assert all(Decimal(t["usd_per_mtok"]["output"]) > 0 for t in told["tiers"])


# ---- asking ----


class Counting:
    """A lake without rows that counts; `error` is raised instead, once."""

    def __init__(self, error=None):
        self.asked, self.error = 0, error

    def run(self, sql):
        self.asked += 1
        error, self.error = self.error, None
        if error:
            raise error
        return []


async def test_a_part_is_one_query_shared_and_kept_for_a_minute():
    lake, clock = Counting(), [0.0]
    savings = Savings(a_policy(), lambda: lake, now=lambda: clock[0])
    await asyncio.gather(*(savings.figures("summary", FIRST, LAST) for _ in range(5)))
    clock[0] = 59.0
    await savings.figures("summary", FIRST, LAST)
    assert lake.asked == 1
    await savings.figures("summary", LAST, LAST)
    await savings.figures("scores", FIRST, LAST)
    clock[0] = 60.0
    await savings.figures("summary", FIRST, LAST)
    assert lake.asked == 4


async def test_the_client_is_made_once():
    made = []
    savings = Savings(a_policy(), lambda: made.append(Counting()) or made[-1])
    await asyncio.gather(*(savings.figures(name, FIRST, LAST) for name in PARTS))
    assert [lake.asked for lake in made] == [3]


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (QueryFailed("Athena: failed: TABLE_NOT_FOUND"), "TABLE_NOT_FOUND"),
        (ClientError({"Error": {"Code": "AccessDenied"}}, "GetTable"), "AccessDenied"),
        (EndpointConnectionError(endpoint_url="http://athena"), "http://athena"),
    ],
    ids=["query", "permission", "network"],
)  # fmt: skip
async def test_a_lake_that_fails_is_told_and_asked_again(error, says):
    lake = Counting(error)
    savings = Savings(a_policy(), lambda: lake)
    with pytest.raises(LedgerUnavailable, match=says) as caught:
        await savings.figures("summary", FIRST, LAST)
    assert caught.value.status == 503
    assert (await savings.figures("summary", FIRST, LAST))["totals"]["requests"] == 0


async def test_a_caller_that_leaves_takes_nothing_from_the_others():
    lake = Counting()
    savings = Savings(a_policy(), lambda: lake)
    leaving = asyncio.create_task(savings.figures("summary", FIRST, LAST))
    staying = asyncio.create_task(savings.figures("summary", FIRST, LAST))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying)["object"] == "fareway.savings.summary"
    assert lake.asked == 1


async def test_a_deployment_without_a_lake_says_which_settings_are_missing():
    with pytest.raises(LedgerUnavailable, match="FAREWAY_ATHENA_WORKGROUP") as caught:
        await Savings(a_policy(), None).figures("summary", FIRST, LAST)
    assert caught.value.code == "no_ledger"


def test_the_usual_days_are_the_last_thirty():
    assert days_asked(None, None, LAST) == (date(2026, 10, 28), LAST)
    assert days_asked("2026-11-20", None, LAST) == (date(2026, 11, 20), LAST)
    assert days_asked("2026-11-20", "2026-11-21", LAST) == (date(2026, 11, 20), date(2026, 11, 21))


@pytest.mark.parametrize(
    ("first", "last", "param"),
    [
        ("yesterday", None, "from"),
        ("2026-11-01", "2026-13-01", "to"),
        ("2026-11-02", "2026-11-01", "from"),
        ("2024-01-01", "2026-11-01", "from"),
        ("2026-11-01'; --", None, "from"),
        ("9999-12-31", "9999-12-31", "to"),
        (None, "0001-01-01", "to"),
    ],
)
def test_days_that_are_none_are_named(first, last, param):
    with pytest.raises(BadRequest) as caught:
        days_asked(first, last, LAST)
    assert caught.value.param == param
