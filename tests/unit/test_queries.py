"""The SQL in `fareway/sql`, run in DuckDB over events whose answers were worked out by hand."""

import json
import re
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
import sqlglot
from sqlglot import exp

from fareway.asks import Bounds, Needs
from fareway.athena import PARAMETERS, load_query, query_names, query_text
from fareway.decide import decide
from fareway.prices import list_prices
from fareway.record import climbed
from local.lake import Lake
from local.named_queries import console_sql
from tests.builders import a_chat, a_policy, a_verdict, an_event

FIRST, LAST = date(2026, 11, 23), date(2026, 11, 25)
#: docs.aws.amazon.com/athena/latest/ug/reserved-words.html, of SELECT statements.
RESERVED = """
    alter and as between by case cast constraint create cross cube current_catalog current_date
    current_path current_schema current_time current_timestamp current_user deallocate delete
    describe distinct drop else end escape except execute exists extract false first for from full
    group grouping having in inner insert intersect into is join json_array json_exists json_object
    json_query json_table json_value last left like listagg localtime localtimestamp natural
    normalize not null of on or order outer prepare recursive right rollup select skip table then
    trim true uescape union unnest using values when where with
"""
#: Functions that mean the same in Athena and in DuckDB; Athena's others are not to be used.
SHARED = {
    *("AVG", "CASE", "CAST", "COALESCE", "COUNT", "FLOOR", "LEAD", "MAX", "MIN", "ROW_NUMBER"),
    *("SUBSTRING", "SUM", "AND", "OR", "IF"),  # what sqlglot calls a WHEN
}


@pytest.fixture
def lake():
    lake = Lake()
    yield lake
    lake.close()


def happened(lake, *events, arrived=None):
    """Events, each with `at`: a day of November or a time of one; in the partition of that day."""
    records = []
    for number, fields in enumerate(events):
        values = {"decision_id": f"dec_{number}", **fields}
        at = str(values.pop("at", "2026-11-24T12:00:00.000+00:00"))
        at = f"2026-11-{at}T12:00:00.000+00:00" if len(at) == 2 else at
        event = an_event(occurred_at=at, **values)
        records.append({**event.record(), "dt": arrived or at[:10]})
    lake.add("cost_events", records)


def rated(lake, *opinions):
    lake.add(
        "feedback",
        [
            {
                "decision_id": id_,
                "rating": rating,
                "occurred_at": f"2026-11-24T13:0{n}:00.000+00:00",
                "tenant_hash": "t" * 16,
                "dt": "2026-11-24",
            }
            for n, (id_, rating) in enumerate(opinions)
        ],
    )


def ask(lake, name, **parameters):
    return lake.run(load_query(name, FIRST, LAST, **parameters))


def usd(text):
    return Decimal(text)


# ---- what holds for every query ----


@pytest.mark.parametrize("name", query_names())
def test_each_reads_just_its_partitions(name):
    """A condition on `dt` itself with constants, for each table that is read."""
    tree = sqlglot.parse_one(load_query(name, FIRST, LAST), read="athena")
    ctes = {cte.alias for cte in tree.find_all(exp.CTE)}
    read = [t for t in tree.find_all(exp.Table) if t.name not in ctes]
    assert read
    for table in read:
        where = table.find_ancestor(exp.Select).args["where"]
        pruned = [
            between
            for between in where.find_all(exp.Between)
            if isinstance(between.this, exp.Column) and between.this.name == "dt"
        ]
        assert pruned, f"{table.name} is read whole"
        for between in pruned:
            assert isinstance(between.args["low"], exp.Literal)
            assert isinstance(between.args["high"], exp.Literal)
            assert not between.find_ancestor(exp.Or, exp.Not)


@pytest.mark.parametrize("name", query_names())
def test_each_keeps_to_what_both_engines_know(name):
    tree = sqlglot.parse_one(load_query(name, FIRST, LAST), read="athena")
    used = {function.sql_name() for function in tree.find_all(exp.Func)}
    assert used <= SHARED
    assert not list(tree.find_all(exp.Interval, exp.JSONExtract))


@pytest.mark.parametrize("name", query_names())
def test_no_name_is_a_word_of_athenas_own(name):
    tree = sqlglot.parse_one(load_query(name, FIRST, LAST), read="duckdb")
    assert not {identifier.name.lower() for identifier in tree.find_all(exp.Identifier)} & set(
        RESERVED.split()
    )


@pytest.mark.parametrize("name", query_names())
def test_in_the_console_nothing_is_left_to_fill_in(name):
    sql = console_sql(name)
    assert "$" not in sql
    tree = sqlglot.parse_one(sql, read="athena")
    given = sqlglot.parse_one(load_query(name, FIRST, LAST), read="athena")
    assert tree.named_selects == given.named_selects


@pytest.mark.parametrize("name", query_names())
def test_nothing_whole_is_divided(name):
    """Athena drops the rest of a whole number's division; DuckDB does not."""
    tree = sqlglot.parse_one(load_query(name, FIRST, LAST), read="athena")
    doubles = re.compile(r"_ms\b|_usd\b|AS DOUBLE|\busd\b")
    for division in tree.find_all(exp.Div):
        assert doubles.search(division.this.sql(dialect="athena")), division.sql()


@pytest.mark.parametrize("name", query_names())
def test_each_says_what_it_tells(name):
    assert query_text(name).startswith("-- ")


@pytest.mark.parametrize(
    "name", [n for n in query_names() if n not in ("summary", "wasted_premium")]
)
def test_an_event_that_arrived_twice_counts_once(lake, name):
    happened(lake, {"follow_up": "complaint", "session_hash": "s"})
    once = ask(lake, name)
    happened(lake, {"follow_up": "complaint", "session_hash": "s"})
    happened(lake, {"follow_up": "complaint", "session_hash": "s"}, arrived="2026-11-26")
    assert ask(lake, name) == once != []


@pytest.mark.parametrize("name", ["totals", "by_day", "by_tier", "rollup_days"])
def test_a_late_event_counts_in_its_own_day(lake, name):
    happened(lake, {"at": 25}, arrived="2026-11-28")
    happened(lake, {"at": 26, "decision_id": "after"}, {"at": 22, "decision_id": "before"})
    (row,) = ask(lake, name)
    assert row["requests"] == "1"


def test_a_parameter_that_no_query_has_is_told():
    with pytest.raises(TypeError, match="gb_price"):
        load_query("totals", FIRST, LAST, gb_price=1)


# ---- spend and savings ----

#: 0.45, 0.25 and 1.25 thousandths; the baseline of each is 6.25.
THREE = (
    {"at": 23, "key_id": "a", "tags": '{"team": "x"}'},
    {"at": 23, "key_id": "b", "cost_usd": Decimal("0.000250000"), "tags": '{"team": "y"}'},
    {"at": 25, "key_id": "a", "cost_usd": Decimal("0.001250000"), "tier": "premium"},
    {"at": 25, "key_id": "a", "served_model": "acme/llm", "cost_usd": None, "cost_source": None},
)


@pytest.mark.parametrize(
    ("name", "column", "answer"),
    [
        ("by_day", "day", {"2026-11-23": ("2", "0.7"), "2026-11-25": ("2", "1.25")}),
        ("by_key", "key_id", {"a": ("3", "1.7"), "b": ("1", "0.25")}),
        ("by_tier", "tier", {"cheap": ("3", "0.7"), "premium": ("1", "1.25")}),
        ("by_model", "served_model", {"deepseek-v4-flash": ("3", "1.95"), "acme/llm": ("1", None)}),
        (
            "by_tag",
            "tags",
            {'{"team": "x"}': ("1", "0.45"), '{"team": "y"}': ("1", "0.25"), "{}": ("2", "1.25")},
        ),
    ],
)
def test_money_by(lake, name, column, answer):
    happened(lake, *THREE)
    rows = ask(lake, name)
    told = {
        row[column]: (
            row["requests"],
            None if row["cost_usd"] is None else f"{(usd(row['cost_usd']) * 1000).normalize():f}",
        )
        for row in rows
    }
    assert told == answer
    assert sum(int(row["unpriced"]) for row in rows) == 1
    assert sum(usd(row["baseline_usd"] or 0) for row in rows) == Decimal("0.01875")


# ---- where it was wasted, where it failed ----

PREMIUM = {
    "tier": "premium",
    "complexity": 5,
    "prompt_tokens": 40,
    "completion_tokens": 12,
    "cost_usd": Decimal("0.000170000"),
}


def turn(minute, **fields):
    return {"at": f"2026-11-24T12:{minute:02d}:00.000+00:00", "session_hash": "s", **fields}


def test_a_short_premium_answer_that_nobody_complained_of_is_wasted(lake):
    happened(
        lake,
        {**PREMIUM, "decision_id": "alone"},
        turn(1, **PREMIUM, decision_id="thanked"),
        turn(2, follow_up="satisfied", decision_id="cheap"),
        turn(3, **PREMIUM, decision_id="complained"),
        turn(4, follow_up="complaint"),
    )
    rows = ask(lake, "wasted_premium")
    assert {row["decision_id"]: row["said_next"] for row in rows} == {
        "alone": None,
        "thanked": "satisfied",
    }
    assert {(row["calls"], usd(row["calls_usd"])) for row in rows} == {("2", Decimal("0.00034"))}


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt_tokens": 201},
        {"completion_tokens": 81},
        {"lane": "sensitive"},
        {"escalated": True},
        {"raised": "premium"},
        {"explored": True},
        {"requested_model": "fareway/premium"},
        {"status": 502},
        {"at": 26},
        {"tier": "mid", "reason": "complexity 5 (score 4.60); held at x-fareway-max-tier mid"},
        {"reason": "complexity 1 (score 1.10); raised to x-fareway-min-tier premium"},
        {"reason": "complexity 1 (score 1.10); climbed from cheap to premium"},
        {"reason": "complexity 1 (score 1.10); a ruled out: no vision; moved from mid to premium"},
    ],
)
def test_premium_that_was_needed_or_wanted_is_not_wasted(lake, fields):
    happened(lake, {**PREMIUM, **fields})
    assert ask(lake, "wasted_premium") == []


def test_the_words_that_tell_premium_that_was_needed_are_the_routers_own():
    """The query reads them from the reason: a reason put otherwise would be counted as waste."""

    def decided(complexity, bounds):
        body = a_chat()
        return decide(
            a_policy(), ("tokenmix",), a_verdict(complexity), bounds, Needs.of(body, None, 1), None
        )

    plain = decided(1, Bounds())
    reasons = [
        decided(1, Bounds(min_tier="premium")).reason,
        decided(3, Bounds().within(("cheap", "premium"))).reason,
        climbed(plain, replace(plain.candidates[0], tier="premium"))[1],
    ]
    looked_for = re.findall(r"reason NOT LIKE '%(.+?)%'", query_text("wasted_premium"))
    assert len(looked_for) == len(reasons)
    assert [[words for words in looked_for if words in reason] for reason in reasons] == [
        [words] for words in looked_for
    ]
    assert not any(words in plain.reason for words in looked_for)


def test_premium_that_was_rated_down_or_after_which_the_session_was_lifted_is_not_wasted(lake):
    happened(
        lake,
        {**PREMIUM, "decision_id": "disliked"},
        {**PREMIUM, "decision_id": "liked"},
        turn(1, **PREMIUM, decision_id="lifted"),
        turn(2, follow_up="neutral", **PREMIUM | {"complexity": 1}, escalated=True),
    )
    rated(lake, ("disliked", "up"), ("disliked", "down"), ("liked", "up"))
    assert [row["decision_id"] for row in ask(lake, "wasted_premium")] == ["liked"]


def test_what_is_short_can_be_said(lake):
    happened(lake, {**PREMIUM, "prompt_tokens": 5_000})
    assert len(ask(lake, "wasted_premium", short_prompt_tokens=5_000)) == 1


def test_a_complaint_of_the_next_day_is_seen(lake):
    happened(
        lake,
        {**PREMIUM, "at": 25, "session_hash": "s"},
        {"at": "2026-11-26T00:05:00.000+00:00", "session_hash": "s", "follow_up": "complaint"},
    )
    assert ask(lake, "wasted_premium") == []


def test_cheap_answers_that_failed(lake):
    happened(
        lake,
        turn(0, decision_id="complained"),
        turn(1, decision_id="rated", follow_up="complaint"),
        turn(2, decision_id="lifted", follow_up="neutral"),
        turn(3, decision_id="mid", follow_up="neutral", tier="mid", escalated=True),
        turn(4, decision_id="anew"),  # a stranger who opens alike says nothing of it
        {"decision_id": "liked"},
        {"decision_id": "unjudged"},
        {"decision_id": "broken", "status": 502},
        {"decision_id": "direct", "tier": None},
    )
    rated(lake, ("rated", "down"), ("liked", "down"), ("liked", "up"))
    cheap, mid = ask(lake, "failed_tiers")
    assert cheap | {"failed_usd": None} == {
        "tier": "cheap",
        "served_model": "deepseek-v4-flash",
        "answered": "6",
        "judged": "4",  # complained, rated, lifted, liked
        "complaints": "1",
        "lifted_after": "1",
        "rated_down": "1",
        "failed": "3",
        "failed_usd": None,
    }
    assert usd(cheap["failed_usd"]) == Decimal("0.00135")
    assert (mid["answered"], mid["judged"], mid["failed"]) == ("1", "0", "0")


def test_a_session_that_was_lifted_already_blames_no_answer_that_was_pinned_below(lake):
    lifted = {"session_floor": "mid", "follow_up": "neutral"}
    happened(
        lake,
        turn(0),
        turn(1, **lifted, tier="mid", escalated=True),
        turn(2, **lifted, requested_model="fareway/cheap", served_model="pinned"),
        turn(3, **lifted, tier="mid", escalated=True),
    )
    failed = {row["served_model"]: row["failed"] for row in ask(lake, "failed_tiers")[:2]}
    assert failed == {"deepseek-v4-flash": "1", "pinned": "0"}
    assert sum(int(row["failed"]) for row in ask(lake, "scores")) == 1


def test_a_prompt_that_was_raised_by_others_blames_no_answer(lake):
    happened(
        lake,
        turn(0),
        turn(1, follow_up="neutral", tier="mid", escalated=True, raised="mid"),
    )
    assert [row["failed"] for row in ask(lake, "failed_tiers")] == ["0", "0"]


def test_two_tenants_sessions_are_not_one(lake):
    happened(lake, turn(0), turn(1, follow_up="complaint", tenant_hash="other"))
    (row,) = ask(lake, "failed_tiers")
    assert (row["answered"], row["failed"]) == ("2", "0")


# ---- the parts' worth ----


def test_what_the_cache_saved(lake):
    happened(
        lake,
        {"classifier_ms": 4.0},
        {"classifier_ms": 6.0},
        {"classifier_ms": 0.0, "cache_hit": "local", "cache_ms": 0.5},
        {"classifier_ms": 0.0, "cache_hit": "local", "cache_ms": 1.5},
        {"classifier_ms": 3.0, "cache_hit": "derivative"},  # its sensitivity is scored all the same
        {"classifier_ms": 0.0, "complexity": None},
    )
    local, derivative, missed = ask(lake, "cache_value", gb_second_usd=1)
    assert (local["requests"], float(local["share"])) == ("2", 0.4)
    assert float(local["mean_cache_ms"]) == 1.0
    assert float(local["saved_ms"]) == 10.0
    assert float(local["saved_usd"]) == pytest.approx(0.010)
    assert float(derivative["saved_ms"]) == 2.0
    assert float(missed["saved_ms"]) == 0


def test_what_the_classifier_costs_and_brings(lake):
    happened(lake, {"at": 23, "classifier_ms": 1500.0}, {"at": 23, "classifier_ms": 0.0})
    (row,) = ask(lake, "classifier_value", memory_gb=2, gb_second_usd=Decimal("0.5"))
    assert (row["routed"], row["classified"]) == ("2", "1")
    assert float(row["classifier_usd"]) == pytest.approx(1.5)
    assert usd(row["saved_usd"]) == Decimal("0.0116")


def test_who_answered_after_a_failover_and_who_failed(lake):
    happened(
        lake,
        {"at": 23},
        {"at": 23, "failovers": 1, "attempts": 3},
        {"at": 23, "status": 502, "aggregator": None, "failovers": 2, "attempts": 4},
        {"at": 23, "status": 499},
        {"at": 23, "status": 429, "aggregator": None, "attempts": 0},
    )
    tokenmix, none = ask(lake, "reliability")
    assert tokenmix == {
        "day": "2026-11-23",
        "aggregator": "tokenmix",
        "requests": "3",
        "answered": "2",
        "answered_by_failover": "1",
        "left_early": "1",
        "refused": "0",
        "failed": "0",
        "attempts": "5",
        "failovers": "1",
    }
    assert (none["aggregator"], none["refused"], none["failed"]) == ("(none)", "1", "1")


def test_percentiles_by_stage(lake):
    happened(
        lake,
        *(
            {
                "total_ms": 100.0 + n,
                "upstream_ms": 100.0,
                "cache_ms": float(n),
                "classifier_ms": 2.0,
            }
            for n in range(1, 101)
        ),
        {
            "first_token_ms": 40.0,
            "stream": True,
            "complexity": None,
            "total_ms": 101.0,
            "upstream_ms": 50.0,
        },
        {"status": 502, "total_ms": 9_000.0},
    )
    by_stage = {row["stage"]: row for row in ask(lake, "latency")}
    assert list(by_stage) == ["cache", "classifier", "upstream", "first token", "overhead", "total"]
    cache = by_stage["cache"]
    told = [float(cache[f"p{p}_ms"]) for p in (50, 90, 95, 99)]
    assert (cache["requests"], told) == ("100", [50, 90, 95, 99])
    assert (by_stage["first token"]["requests"], by_stage["first token"]["p50_ms"]) == ("1", "40.0")
    assert float(by_stage["overhead"]["p99_ms"]) == 99.0  # of 101: the hundredth
    assert by_stage["upstream"]["requests"] == "101"


def test_tokens_are_parted_where_prices_change(lake):
    happened(
        lake,
        {"prompt_tokens": 200_000, "cost_source": "provider"},
        {"prompt_tokens": 200_001, "cost_source": "provider", "cached_tokens": 50},
        {"prompt_tokens": 200_001, "audio_tokens": 7},
        {"prompt_tokens": None, "served_model": None},
    )
    rows = ask(lake, "tokens")
    assert {
        (r["prompts_from"], r["cost_source"], r["audio"], r["cached_tokens"]) for r in rows
    } == {
        ("200000", "provider", "0", "0"),
        ("200001", "provider", "0", "50"),
        ("200001", "price_table", "1", "0"),
    }


def test_every_length_at_which_a_list_price_changes_parts_the_tokens():
    bands = {int(n) for n in re.findall(r"prompt_tokens > (\d+)", query_text("tokens"))}
    listed = list_prices().listed.values()
    assert {int(n) for rates in listed for n in rates.get("above", {})} <= bands


def test_the_months_forecast(lake):
    one = Decimal("1.000000000")
    days = [
        {"at": f"{n:02d}", "cost_usd": one * n, "baseline_usd": 10 * one}
        for n in (1, *range(19, 26))
    ]
    happened(lake, *days)
    (row,) = lake.run(load_query("forecast", date(2026, 11, 1), LAST))
    spent, week = 1 + sum(range(19, 26)), sum(range(19, 26)) / 7
    assert float(row["spent_usd"]) == spent == 155
    assert float(row["daily_usd"]) == week == 22
    assert row["days_left"] == "5"
    assert float(row["month_usd"]) == 155 + 5 * 22
    assert (float(row["month_least_usd"]), float(row["month_most_usd"])) == (
        155 + 5 * 19,
        155 + 5 * 25,
    )
    assert float(row["month_baseline_usd"]) == 80 + 5 * 10


def test_on_the_first_of_a_month_the_week_before_is_looked_at(lake):
    happened(lake, {"at": 30, "cost_usd": Decimal(7), "baseline_usd": Decimal(14)})
    (row,) = lake.run(load_query("forecast", date(2026, 12, 1), date(2026, 11, 30)))
    assert (float(row["spent_usd"]), float(row["month_usd"])) == (0, 31)
    assert float(row["month_least_usd"]) == 0  # six of the seven days cost nothing


# ---- the days summed up ----


def test_parameters_are_all_used():
    texts = "".join(map(query_text, query_names()))
    assert all(f"${name}" in texts for name in PARAMETERS)


def test_rows_of_the_rollup_tell_what_the_events_tell(lake):
    happened(
        lake,
        {"at": "2026-11-24T09:59:00.000+00:00"},
        {"at": "2026-11-24T10:00:00.000+00:00", "failovers": 1, "cache_hit": "local"},
        {"at": "2026-11-24T10:30:00.000+00:00", "cost_usd": None, "cost_source": None},
    )
    nine, ten = ask(lake, "rollup_days")
    assert (nine["day"], nine["hour"], nine["requests"]) == ("2026-11-24", "9", "1")
    assert (ten["requests"], ten["answered_by_failover"], ten["cache_hits"]) == ("2", "1", "1")
    assert (ten["unpriced"], usd(ten["cost_usd"])) == ("1", Decimal("0.00045"))
    assert usd(ten["baseline_usd"]) == Decimal("0.00625")
    assert json.loads(nine["complexity"]) == 1
