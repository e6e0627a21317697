"""The tuner on months whose truth is known, and on the rows that it reads."""

import json
import tomllib
from dataclasses import replace
from datetime import date

import boto3
import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.month import Truth, evidence_of, month, present, rows
from fareway.appraise import Appraisal, cuts_with, tier_cuts
from fareway.athena import load_query
from fareway.cli import app
from fareway.evidence import Evidence, evidence, failures
from fareway.policy import load_policy
from fareway.proposal import propose, with_cuts
from fareway.settings import Settings
from fareway.tune import ENOUGH, MARGIN, tune
from fareway.weekly import weekly
from local.lake import Lake
from tests.builders import POLICY_FILE, an_event

POLICY = present()
SEEDS = range(6)
DAY = date(2026, 11, 30)


@pytest.fixture(scope="module")
def truth():
    return Truth(POLICY, months=2)


@pytest.fixture(scope="module")
def months():
    return [evidence_of(month(POLICY, 200_000, 0.05, seed), POLICY) for seed in SEEDS]


@pytest.fixture(scope="module")
def tunings(months):
    return [tune(seen, POLICY) for seen in months]


def test_it_finds_cuts_that_truly_save_and_satisfy_as_many(tunings, truth):
    quality_0, usd_0 = truth.of(tier_cuts(POLICY))
    gaps = []
    for found in tunings:
        if found.proposal is None:
            continue
        quality, usd = truth.of(tier_cuts(POLICY, found.proposal.cuts))
        assert usd < usd_0
        assert quality - quality_0 > -2 * MARGIN
        gaps.append(usd / truth.cheapest(quality) - 1)
    assert len(gaps) >= 5
    assert np.median(gaps) <= 0.05


def test_its_intervals_hold_the_truth(months, truth):
    quality_0, usd_0 = truth.of(tier_cuts(POLICY))
    quality, usd = truth.of(truth.best(quality_0))
    held = []
    for seen in months:
        appraisal = Appraisal(seen, POLICY)
        point = appraisal.point(appraisal.near(*truth.best(quality_0)))
        quality, usd = truth.of(tier_cuts(POLICY, point.cuts))
        change, saving = quality - quality_0, 1 - usd / usd_0
        held.append(
            (
                point.quality_change.low <= change <= point.quality_change.high,
                point.saving.low <= saving <= point.saving.high,
            )
        )
    assert np.sum(held, axis=0).min() >= 4


def test_a_model_that_is_wrong_is_put_right_by_what_was_explored():
    """The mid tier fails at once beyond 4: no logistic curve is like that."""
    rng = np.random.default_rng(5)
    n, share = 400_000, 0.02
    score = rng.uniform(1, 5, n)
    decided = np.searchsorted(tier_cuts(POLICY), score, side="right")
    luck = rng.random(n)
    step = np.where(luck < share / 2, -1, np.where(luck < share, 1, 0))
    tier = np.clip(decided + step, 0, 2)
    moved = tier != decided
    at_an_end = (decided != 1) & ~moved
    propensity = np.where(moved, share / 2, np.where(at_an_end, 1 - share / 2, 1 - share))
    chance = np.where((tier == 1) & (score > 4), 0.3, 0.9)
    seen = Evidence(
        score,
        tier,
        propensity,
        (rng.random(n) < chance).astype(float),
        np.tile([1, 10, 20], (n, 1)),
        np.arange(n),
        moved,
    )
    appraisal = Appraisal(seen, POLICY)
    for end, loss in ((4.0, 0.0), (4.5, 0.6 * 0.5 / 4)):
        change = appraisal.point(appraisal.near(2.4, end)).quality_change
        assert change.low <= -loss <= change.high
    assert tier_cuts(POLICY, tune(seen, POLICY).proposal.cuts)[1] <= 4.05


def test_too_few_data_propose_nothing_and_say_how_many_are_needed():
    found = tune(evidence_of(month(POLICY, 2_000, 0.02, 1), POLICY), POLICY)
    assert found.proposal is None
    assert f"{ENOUGH} are needed" in found.why
    assert "days" in found.why


@pytest.mark.parametrize("sessions", [1, 5])
def test_many_requests_of_few_sessions_are_too_few(sessions):
    seen = evidence_of(month(POLICY, 40_000, 0.05, 1), POLICY)
    found = tune(replace(seen, session=np.arange(len(seen)) % sessions), POLICY)
    assert found.proposal is None
    assert f"of {sessions} sessions" in found.why


def test_without_exploration_it_says_that_it_cannot_tell():
    found = tune(evidence_of(month(POLICY, 20_000, 0.0, 1), POLICY), POLICY)
    assert found.proposal is None
    assert "cannot be told" in found.why
    assert found.curve == ()


def test_no_rows_at_all_are_too_few():
    assert tune(evidence([], POLICY), POLICY).proposal is None


def test_where_each_tier_is_needed_nothing_is_proposed():
    """A cheaper tier fails at once where the cuts end it."""
    rng = np.random.default_rng(1)
    base = evidence_of(month(POLICY, 100_000, 0.02, 3), POLICY)
    decided = np.searchsorted(tier_cuts(POLICY), base.score, side="right")
    chance = np.where(base.tier < decided, 0.2, 0.95)
    seen = replace(base, satisfied=(rng.random(len(base)) < chance).astype(float))
    assert tune(seen, POLICY).proposal is None


def test_where_the_cuts_are_the_oracles_nothing_is_saved_and_little_proposed(truth):
    """Cheaper cuts that satisfy a little less are there, within the margin; they are no saving."""
    policy = present((1.55, 1.92, 3.0, 4.34))
    months = (evidence_of(month(policy, 200_000, 0.05, seed), policy) for seed in SEEDS)
    found = [tune(seen, policy) for seen in months]
    assert sum(one.proposal is not None for one in found) <= 1
    assert any("not shown that anything is saved at equal quality" in one.why for one in found)


def test_the_ledgers_rows_say_the_same_as_the_month():
    one = month(POLICY, 5_000, 0.05, 2)
    direct, read = evidence_of(one, POLICY), evidence(rows(one), POLICY)
    for name in ("score", "tier", "propensity", "satisfied", "explored"):
        np.testing.assert_array_equal(getattr(read, name), getattr(direct, name), err_msg=name)
    assert np.abs(read.nano_usd - direct.nano_usd).max() <= 1
    assert read.left_out == {"not open to exploration": int((~one.free).sum())}


def an_open_event(n, **fields):
    event = an_event(decision_id=f"dec_{n}", propensity=0.99, session_hash="s", **fields)
    return {**event.record(), "occurred_at": f"2026-11-24T12:00:{n:02}.000+00:00"}


def test_an_answer_failed_where_its_session_says_so():
    turns = [
        an_open_event(0),
        an_open_event(1, follow_up="neutral"),
        an_open_event(2, follow_up="complaint", session_floor="mid"),
        an_open_event(3, follow_up="neutral", session_floor="mid"),
        an_open_event(4, follow_up="satisfied", session_floor="premium"),  # a thumb down between
        {**an_open_event(5), "rating": "down", "session_hash": None},
        {**an_open_event(6, follow_up="complaint"), "tenant_hash": "another"},
    ]
    assert failures(turns) == {"dec_1", "dec_3", "dec_5"}
    # a rating says more than the next turn's words, and than a floor that rose
    rated = [{**turn, "rating": "up"} for turn in turns[:4]]
    assert failures([*rated, *turns[4:]]) == {"dec_5"}


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"lane": "sensitive"}, "not in the standard lane"),
        ({"requested_model": "fareway/cheap"}, "pinned to a tier"),
        ({"status": 502, "tier": None}, "not answered"),
        ({"propensity": None}, "not open to exploration"),
        ({"prompt_tokens": None}, "tokens not known"),
        ({"classifier_version": "older"}, "scored by an earlier classifier"),
    ],
)
def test_what_cuts_do_not_move_is_left_out(fields, why):
    seen = evidence([an_open_event(0) | fields, an_open_event(1)], POLICY)
    assert (len(seen), seen.left_out) == (1, {why: 1})


def test_athenas_text_reads_as_json_does_and_a_row_that_came_twice_counts_once():
    event = an_open_event(0, explored=True)
    text = {n: None if v is None else str(v).lower() if isinstance(v, bool) else str(v)
            for n, v in event.items()}  # fmt: skip
    seen = evidence([event, text], POLICY)
    assert (len(seen), seen.explored.tolist(), seen.propensity.tolist()) == (1, [True], [0.99])


@pytest.mark.parametrize("ends", [(1.05, 4.95), (2.4, 3.2), (1.9, 1.95), (4.5, 4.9)])
def test_cuts_within_a_tier_stay_between_its_ends(ends):
    cuts = cuts_with(POLICY, *ends)
    assert list(cuts) == sorted(set(cuts))
    assert tier_cuts(POLICY, cuts) == ends
    assert all(1 <= cut <= 5 for cut in cuts)


@pytest.mark.parametrize("present", [(1.6, 2.4, 3.45, 5.0), (1.0, 1.2, 3.45, 4.05)])
def test_a_tier_that_gets_nothing_can_get_some(present):
    policy = replace(POLICY, cuts=present)
    cuts = cuts_with(policy, 1.9, 4.5)
    assert tier_cuts(policy, cuts) == (1.9, 4.5)
    assert list(cuts) == sorted(set(cuts))


def test_a_proposal_is_the_policy_with_other_cuts_and_a_report(tmp_path):
    file = tmp_path / "policy.toml"
    file.write_text(with_cuts(POLICY_FILE.read_text(), "now", POLICY.cuts), encoding="utf-8")
    made = propose(rows(month(POLICY, 80_000, 0.05, 1)), file, DAY)
    assert made.version is not None
    assert made.version.startswith("2026-11-30-")
    assert set(made.files) == {
        "curve.svg", "report.json", "report.md", f"policy-{made.version}.toml"
    }  # fmt: skip
    written = tmp_path / "new.toml"
    written.write_text(made.files[f"policy-{made.version}.toml"], encoding="utf-8")
    before, after = load_policy(file), load_policy(written)
    assert after.cuts == made.tuning.proposal.cuts != before.cuts
    assert replace(after, cuts=before.cuts, version="now", prices=before.prices) == before
    told = json.loads(made.files["report.json"])
    assert told["proposal"]["saving"]["low"] > 0
    assert f"policy apply policy-{made.version}.toml" in made.files["report.md"]
    assert made.files["curve.svg"].startswith("<svg")


def test_a_policy_may_be_written_in_any_of_tomls_ways():
    text = """
    version = 'mine'
    [complexity]
        cuts = [
            1.6, 2.4,  # between 1 | 2 [and 2 | 3]
            3.45, 4.05,
        ]
    """
    found = tomllib.loads(with_cuts(text, "next", (1.5, 2.5, 3.5, 4.5)))
    assert found == {"version": "next", "complexity": {"cuts": [1.5, 2.5, 3.5, 4.5]}}


def test_the_ledgers_query_brings_what_the_tuner_reads():
    events = [
        an_event(decision_id="dec_0", propensity=0.99),
        an_event(decision_id="dec_1", propensity=0.005, explored=True),
        an_event(decision_id="dec_2", lane="direct"),
    ]
    lake = Lake()
    records = [e.record() | {"dt": e.occurred_at[:10]} for e in [*events, events[0]]]
    lake.add("cost_events", records)
    told = [("dec_0", "up", "12"), ("dec_0", "down", "13"), ("dec_2", "down", "12")]
    opinions = [
        {"decision_id": id_, "rating": rating, "occurred_at": f"2026-11-25T{hour}:00:00.000+00:00"}
        for id_, rating, hour in told
    ]
    lake.add("feedback", [opinion | {"dt": "2026-11-25"} for opinion in opinions])
    found = lake.run(load_query("tuner", date(2026, 11, 1), DAY))
    lake.close()
    ratings = {row["decision_id"]: row["rating"] for row in found}
    assert (len(found), ratings) == (2, {"dec_0": "down", "dec_1": None})
    seen = evidence([row | {"explored": row["explored"] == "true"} for row in found], POLICY)
    assert sorted(zip(seen.propensity, seen.satisfied, strict=True)) == [(0.005, 1.0), (0.99, 0.0)]
    assert seen.nano_usd[0, 0] == an_event().cost_usd * 10**9


def test_the_weekly_proposal_lies_in_the_bucket_and_nothing_is_applied(aws, monkeypatch):
    month_ = list(rows(month(POLICY, 3_000, 0.02, 1)))
    monkeypatch.setattr("fareway.weekly.ledger_rows", lambda settings, first, last: month_)
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="lake")
    told = weekly(Settings(ledger_bucket="lake", policy_store="s3://lake/policies"), DAY)
    names = [entry["Key"] for entry in s3.list_objects_v2(Bucket="lake")["Contents"]]
    for name in names:
        s3.delete_object(Bucket="lake", Key=name)
    s3.delete_bucket(Bucket="lake")
    assert names == ["proposals/2026-11-30/report.json", "proposals/2026-11-30/report.md"]
    assert told["proposed"] is None
    assert "Too few data" in told["why"]


def run(*arguments):
    return CliRunner().invoke(app, ["tune", *map(str, arguments)])


def test_the_command_writes_its_files_and_proposes_nothing_of_little(tmp_path):
    events = tmp_path / "events.jsonl"
    with events.open("w", encoding="utf-8") as lines:
        for row in rows(month(POLICY, 3_000, 0.02, 1)):
            lines.write(json.dumps(row) + "\n")
    done = run("--events", events, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "Too few data" in done.stdout
    assert {f.name for f in (tmp_path / "out").iterdir()} == {"report.json", "report.md"}
    assert "# No proposal" in (tmp_path / "out" / "report.md").read_text()
    week = run(
        "--events", events, "--out", tmp_path / "week", "--from", "2026-11-08", "--to", "2026-11-14"
    )
    assert week.exit_code == 0, week.output
    counted = [
        json.loads((tmp_path / of / "report.json").read_text())["requests"]
        for of in ("out", "week")
    ]
    assert 0 < counted[1] < counted[0] / 3


def test_without_exploration_the_command_says_what_to_set(tmp_path):
    events = tmp_path / "events.jsonl"
    events.touch()
    assert "`share` under [exploration]" in " ".join(run("--events", events).stdout.split())


def test_a_file_that_holds_no_events_is_refused(tmp_path):
    file = tmp_path / "events.jsonl"
    file.write_text('{"text": "hello"}\n', encoding="utf-8")
    done = run("--events", file)
    assert done.exit_code == 1
    assert "not the ledger's events" in " ".join(done.stderr.split())


def test_days_in_the_wrong_order_are_told():
    done = run("--from", "2026-11-30", "--to", "2026-11-01")
    assert done.exit_code == 1
    assert "is after" in done.stderr
