"""`fareway eval`: its measures by hand, the outcome file, and the command from file to plot."""

from __future__ import annotations

import gzip
import json
import random
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from fareway.cli import app, evaluate
from fareway.errors import BadRequest
from fareway.policy import Policy, load_policy
from fareway.settings import PACKAGE
from models.evaluation import card, choice, curves
from models.evaluation.compare import cost_quality, tier_quality, without_curves
from models.evaluation.outcome_file import Outcomes, read_outcomes
from models.evaluation.public import public_cost_quality
from models.training import metrics

CHEAP, MID, PREMIUM = "gpt-4o-mini", "claude-3-5-haiku", "claude-3-5-sonnet"


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "BOOTSTRAPS", 20)


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_policy(PACKAGE / "policy.toml")


def values(found: dict[str, Any], router: str) -> dict[str, float]:
    """What is measured of a router, without the intervals."""
    return {n: v[0] for n, v in found["routers"][router].items() if not n.startswith("curve")}


# Four prompts, two of which the strong model gains; the router ranks these 1st and 3rd.
WEAK, STRONG, SCORES = [0.0, 1, 0, 1], [1.0, 1, 1, 1], np.array([0.9, 0.8, 0.7, 0.1])


def test_a_pair_by_hand() -> None:
    found = cost_quality(
        {"fareway": SCORES}, np.array([WEAK, STRONG]), np.array([[1] * 4, [10, 20, 30, 40]])
    )
    assert (found["prompts"], found["only_strong"], found["quality"]) == (4, 2, [0.5, 1.0])
    assert values(found, "fareway") == {
        "auc": 0.75,  # of the four pairs of a gain and another, the third is after the second
        "apgr": pytest.approx((0 + 0.5 + 0.5 + 1 + 1) / 5),
        "cpt50": 25,
        "cpt80": 75,
        "cost_equal": pytest.approx((10 + 20 + 30 + 1) / 100),
        "cost_95": pytest.approx(0.61),
    }
    assert values(found, "random") == {
        "auc": 0.5,
        "apgr": 0.5,
        "cpt50": 50,
        "cpt80": 100,  # 80 % of four calls are no whole calls
        "cost_equal": 1,
        "cost_95": 1,
    }
    oracle = values(found, "oracle")
    assert (oracle["auc"], oracle["cpt80"]) == (1, 50)
    assert oracle["cost_equal"] == pytest.approx((10 + 1 + 30 + 1) / 100)


def test_without_a_price_only_shares_of_calls_are_told() -> None:
    found = cost_quality({"fareway": SCORES}, np.array([WEAK, STRONG]))
    assert set(values(found, "fareway")) == {"auc", "apgr", "cpt50", "cpt80"}


def test_a_strong_model_that_is_no_better_recovers_nothing_that_could_be_told() -> None:
    found = cost_quality({"fareway": SCORES}, np.array([STRONG, STRONG]), np.ones((2, 4), int))
    assert set(values(found, "fareway").values()) == {None}


def test_the_order_of_a_file_tells_nothing_where_scores_are_equal() -> None:
    outcomes = np.array([[0.0] * 50 + [1] * 50, [1.0] * 100])  # all gains first
    told = values(cost_quality({"same": np.zeros(100)}, outcomes), "same")
    assert told == {"auc": 0.5, "apgr": 0.5, "cpt50": 50, "cpt80": 80}


def test_the_area_is_that_of_the_training() -> None:
    chance = np.random.default_rng(3)
    weak, strong = (chance.random((2, 300)) < [[0.4], [0.8]]).astype(float)
    scores = chance.random(300)
    told = values(cost_quality({"it": scores}, np.array([weak, strong])), "it")
    answers = ((weak < 0.5) & (strong >= 0.5)).astype(float)
    assert told["auc"] == pytest.approx(metrics.mean_auc(scores, [answers]), abs=1e-5)


prompts = st.lists(
    st.tuples(
        st.sampled_from([0.0, 1.0]),
        st.sampled_from([0.0, 1.0]),
        st.integers(0, 5),  # the weak model's cost
        st.integers(0, 90),  # what the strong one costs more
        st.integers(0, 3),  # the score
    ),
    min_size=2,
    max_size=12,
)


@given(prompts)
@settings(deadline=None, max_examples=60)
def test_no_router_beats_the_oracle(drawn: list[tuple[float, float, int, int, int]]) -> None:
    weak, strong, cost, more, scores = np.array(drawn).T
    if strong.sum() <= weak.sum():
        return
    money = np.array([cost, cost + more + 1]).astype(int)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(curves, "BOOTSTRAPS", 1)
        found = cost_quality({"it": scores}, np.array([weak, strong]), money)
    it, oracle = values(found, "it"), values(found, "oracle")
    assert oracle["auc"] in (1, None)  # None: all are gains
    assert oracle["apgr"] >= it["apgr"]
    for name in ("cpt50", "cpt80", "cost_equal", "cost_95"):
        assert oracle[name] <= it[name] + 1e-5, name


def test_a_router_that_draws_lots_recovers_half() -> None:
    chance = np.random.default_rng(5)
    outcomes = (chance.random((2, 4_000)) < [[0.4], [0.8]]).astype(float)
    found = cost_quality({"lots": chance.random(4_000)}, outcomes)
    value, low, high = found["routers"]["lots"]["apgr"]
    assert value == pytest.approx(0.5, abs=0.03)
    assert low < 0.5 < high
    assert low < value < high


def test_three_tiers_by_hand() -> None:
    outcomes = np.array([[1.0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]])
    money = np.array([[1] * 4, [5] * 4, [20] * 4])
    scores = {"fareway": np.array([1.0, 2, 3, 2.5]), "length": np.array([4.0, 1, 2, 3])}
    found = tier_quality(scores, [1.5, 2.8], outcomes, money)
    assert found["shares"] == [0.25, 0.5, 0.25]
    ours = values(found, "fareway")
    assert (ours["quality"], ours["cost"]) == (0.75, round(31 / 80, 5))
    # moved together, the cuts reach always-premium's quality where they are
    assert ours["cost_equal"] == round(31 / 80, 5)
    assert values(found, "length")["quality"] == 0.25  # as many to each tier, the wrong ones
    assert values(found, "random")["quality"] == 0.25 * 0.25 + 0.5 * 0.5 + 0.25 * 0.75
    assert values(found, "oracle") == {"quality": 0.75, "cost": round((1 + 5 + 20 + 1) / 80, 5)}
    assert values(found, "always-mid") == {"quality": 0.5, "cost": 0.25}
    assert values(tier_quality(scores, [1.5, 2.8], outcomes), "fareway") == {"quality": 0.75}


def write(path: Path, *lines: Any) -> Path:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    content = ("\n".join(texts) + "\n").encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def row(number: int, **more: Any) -> dict[str, Any]:
    return {"text": f"What is {number}?", "outcomes": {CHEAP: 0, PREMIUM: 1.0}, **more}


def read(file: Path, policy: Policy) -> tuple[Outcomes, list[str]]:
    faults: list[str] = []
    return read_outcomes(file, policy, faults.append), faults


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{broken", "Expecting"),
        ({"outcomes": {"a": 1}}, "neither"),
        ({"text": "x"}, "no 'outcomes'"),
        ({"text": "x", "outcomes": [1]}, "'outcomes' is not an object"),
        ({"text": "x", "outcomes": {"a": 2}}, "'outcomes' of 'a' is no number from 0 to 1: 2"),
        ({"text": "x", "outcomes": {"a": "1"}}, "no number from 0 to 1: '1'"),
        ('{"text": "x", "outcomes": {"a": NaN}}', "no number from 0 to 1: nan"),
        (row(1, cost_usd={CHEAP: -1}), f"'cost_usd' of '{CHEAP}' is no amount of USD: -1"),
        (row(1, cost_usd={CHEAP: "free"}), "no amount of USD: 'free'"),
        (row(1, usage={CHEAP: {"prompt_tokens": 3}}), "prompt_tokens and completion_tokens"),
        (row(1, usage={CHEAP: 7}), "prompt_tokens and completion_tokens"),
    ],
)
def test_a_faulty_line_is_named_and_left_out(
    tmp_path: Path, policy: Policy, line: Any, said: str
) -> None:
    found, faults = read(write(tmp_path / "o.jsonl", row(0), line, row(2)), policy)
    assert len(found.texts) == 2
    assert len(faults) == 1
    assert faults[0].startswith("line 2: ")
    assert said in faults[0]


def test_a_file_without_a_good_line_is_refused(tmp_path: Path, policy: Policy) -> None:
    with pytest.raises(BadRequest, match="no line has"):
        read(write(tmp_path / "o.jsonl", {"text": "x"}), policy)


def test_a_cost_that_is_told_goes_before_usage_and_unknown_is_not_zero(
    tmp_path: Path, policy: Policy
) -> None:
    used = {"prompt_tokens": 1_000, "completion_tokens": 100}
    both = {CHEAP: 0, "home-made": 1, PREMIUM: None}
    first = {"text": "a", "outcomes": both, "usage": dict.fromkeys(both, used)}
    second = row(1, cost_usd={PREMIUM: "0.0123456785"})
    found, faults = read(write(tmp_path / "o.jsonl.gz", first, second), policy)
    assert not faults
    assert found.models == (PREMIUM, CHEAP, "home-made")
    assert found.priced_by == "file"
    assert found.priced.tolist() == [[False, True], [True, False], [False, False]]
    assert found.usd_per_call(CHEAP) == Decimal("0.00021")  # 1,000 at .15, 100 at .60 a million
    assert found.usd_per_call(PREMIUM) == Decimal("0.012345678")
    assert found.usd_per_call("home-made") is None
    places, outcomes, money = found.of(CHEAP, PREMIUM)
    assert (places.tolist(), outcomes.tolist(), money) == ([1], [[0], [1]], None)


def test_without_any_cost_the_list_prices_of_an_assumed_length_stand_in(
    tmp_path: Path, policy: Policy
) -> None:
    found, _ = read(write(tmp_path / "o.jsonl", row(0), row(1)), policy)
    assert found.priced_by == "list"
    cheap, premium = found.usd_per_call(CHEAP), found.usd_per_call(PREMIUM)
    assert cheap is not None
    assert premium is not None
    assert 20 < premium / cheap < 25.1  # .15 and .60 against 3 and 15
    unknown = {"text": "a", "outcomes": {"x": 0, "y": 1}}
    assert read(write(tmp_path / "u.jsonl", unknown), policy)[0].priced_by == "nothing"


def test_what_is_not_named_is_found(tmp_path: Path, policy: Policy) -> None:
    outcomes = [{CHEAP: 0, MID: i > 2, PREMIUM: 1, "unpriced": 0} for i in range(6)]
    lines = [{"text": str(i), "outcomes": said} for i, said in enumerate(outcomes)]
    found, _ = read(write(tmp_path / "o.jsonl", *lines), policy)
    pairs = choice.pairs_of(found, [], None)
    assert pairs == [(CHEAP, PREMIUM)]
    assert choice.tiers_of(found, {}, pairs) == {"cheap": CHEAP, "mid": MID, "premium": PREMIUM}
    named = choice.pairs_of(found, [MID, "unpriced"], PREMIUM)
    assert named == [(MID, PREMIUM), ("unpriced", PREMIUM)]
    assert choice.tiers_of(found, {"cheap": CHEAP}, [(MID, PREMIUM)])["mid"] == MID
    without = choice.tiers_of(found, {}, [(MID, PREMIUM)])
    assert without == {"cheap": MID, "mid": PREMIUM, "premium": PREMIUM}
    with pytest.raises(BadRequest, match="no outcomes of gpt-9; it has claude"):
        choice.pairs_of(found, ["gpt-9"], None)
    with pytest.raises(BadRequest, match="the cheapest and the best"):
        choice.pairs_of(found, [PREMIUM], PREMIUM)


def a_file(path: Path, rows: int, *more: dict[str, Any]) -> Path:
    """Easy questions that all models answer, and hard ones that the better ones do."""
    chance = random.Random(7)
    lines = []
    for number in range(rows):
        hard = number % 2
        text = (
            f"Prove that the ring of integers of degree {number} is a unique factorisation domain"
            if hard
            else f"Where is my order {number}?"
        )
        said = {CHEAP: 1 - hard, MID: 1 - hard * (chance.random() < 0.5), PREMIUM: 1}
        said[CHEAP] = 1 - said[CHEAP] if chance.random() < 0.1 else said[CHEAP]
        used = {m: {"prompt_tokens": 30, "completion_tokens": 100 + 300 * hard} for m in said}
        lines.append({"text": text, "outcomes": said, "usage": used, "group": f"g{number // 2}"})
    return write(path, *lines, *more)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["eval", *arguments], env={"COLUMNS": "200"})


def test_from_a_file_to_numbers_and_plots(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run(
        "--outcomes", str(a_file(tmp_path / "o.jsonl", 60, {"text": "x"})), "--out", str(out)
    )
    assert result.exit_code == 0, result.output
    assert {file.name for file in out.iterdir()} == {
        "metrics.json",
        *(f"{name}.{kind}" for name in ("cost_quality", "quality_gap") for kind in ("png", "svg")),
    }
    told = json.loads((out / "metrics.json").read_text())
    (pair,) = told["pairs"]
    assert (pair["weak"], pair["strong"]) == (CHEAP, PREMIUM)
    assert set(pair["routers"]) == {"fareway", "length", "tf-idf", "MiniLM", "random", "oracle"}
    assert values(pair, "fareway")["auc"] > 0.8
    assert told["tiers"]["models"] == {"cheap": CHEAP, "mid": MID, "premium": PREMIUM}
    tiers = told["tiers"]["measured"]
    assert values(tiers, "always-premium") == {"quality": 1, "cost": 1}
    assert values(tiers, "oracle")["quality"] == 1
    assert values(tiers, "fareway")["quality"] > values(tiers, "random")["quality"]
    assert told["models"][PREMIUM]["usd_per_call"] == "0.003840000"  # 30 at 3, 250 at 15
    for word in ("always-mid", "CPT50", "equal quality", "folds by group", "line 61", "sensitive"):
        assert word in result.output, word
    assert "unpriced" not in result.output


def test_too_few_prompts_to_train_on_are_said(tmp_path: Path) -> None:
    file, out = a_file(tmp_path / "o.jsonl", 20), tmp_path / "out"
    tier = f"mid={PREMIUM}"
    result = run("--outcomes", str(file), "--out", str(out), "--tier", tier, "--weak", MID)
    assert result.exit_code == 0, result.output
    assert "left out: tf-idf and MiniLM" in result.stderr
    told = json.loads((out / "metrics.json").read_text())
    assert "tf-idf" not in told["pairs"][0]["routers"]
    assert told["tiers"]["models"] == {"cheap": MID, "mid": PREMIUM, "premium": PREMIUM}


def test_what_has_no_price_is_said(tmp_path: Path) -> None:
    lines = [{"text": f"{i}", "outcomes": {"x": i % 2, "y": 1}} for i in range(8)]
    out = tmp_path / "out"
    result = run("--outcomes", str(write(tmp_path / "o.jsonl", *lines)), "--out", str(out))
    assert result.exit_code == 0, result.output
    assert "unpriced" in result.stdout
    assert "no cost is known" in result.stdout
    assert not (out / "cost_quality.png").exists()
    assert (out / "quality_gap.png").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--outcomes"),
        (("--data", ".", "--outcomes", __file__), "--outcomes"),
        (("--outcomes", "FILE", "--tier", "best=x"), "--tier is one of"),
        (("--outcomes", "FILE", "--strong", "gpt-9"), "no outcomes of gpt-9"),
        (("--outcomes", "FILE", "--weak", "alone"), "no prompt tells the outcomes of all of alone"),
    ],
)
def test_a_wrong_use_is_a_clear_error(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    file = str(a_file(tmp_path / "o.jsonl", 4, {"text": "x", "outcomes": {"alone": 0}}))
    result = run(*(file if word == "FILE" else word for word in arguments))
    assert result.exit_code == 1
    assert said in result.stderr


def test_outside_of_a_checkout_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "CHECKOUT", tmp_path)
    result = run("--data", str(tmp_path))
    assert result.exit_code == 1
    assert "make setup" in result.stderr


def test_without_the_extra_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "models.evaluation.plots", raising=False)
    monkeypatch.delitem(sys.modules, "models.evaluation.card", raising=False)
    monkeypatch.delattr("models.evaluation.card", raising=False)
    monkeypatch.delattr("models.evaluation.plots", raising=False)
    result = run("--data", str(tmp_path))
    assert result.exit_code == 1
    assert "matplotlib is missing" in result.stderr
    assert "fareway[eval]" in result.stderr


def a_table(rows: int) -> list[dict[str, Any]]:
    """Rows of prepare.py: MATH, of which the gains are the odd ones."""
    models = (
        "gemini-1.5-flash",
        "gpt-4o-mini-2024-07-18",
        "Qwen2.5-7B-Instruct",
        "claude-3-5-haiku-20241022",
    )
    others = {"text": "x", "group": "x", "pairs": None, "outcomes": None}
    hard = {
        "text": "y",
        "group": "y",
        "pairs": {"zeroeval_math_l5": [1, 1, 1]},
        "outcomes": dict.fromkeys(models, 0.0) | {"o1-mini-2024-09-12": 1.0},
    }
    easy = {
        **hard,
        "pairs": {"zeroeval_math_l5": [0, 0, 0]},
        "outcomes": dict.fromkeys(models, 1.0) | {"o1-mini-2024-09-12": 1.0},
    }
    return [others, *([easy, hard] * (rows // 2))]


def test_the_public_sources_from_rows_to_tables_and_plots(tmp_path: Path, policy: Policy) -> None:
    rows, said = a_table(40), []
    scores = np.array([np.nan] + [1.0, 5.0] * 20)
    found = public_cost_quality(rows, {"fareway": scores, "length": -scores}, policy, said.append)
    assert said == ["cost and quality: zeroeval_math_l5"]
    pairs = found["pairs"]["zeroeval_math_l5"]
    assert next(iter(pairs)) == "gpt-4o-mini-2024-07-18 > o1-mini-2024-09-12"
    assert {values(pair, "fareway")["cpt80"] for pair in pairs.values()} == {40}
    assert {values(pair, "length")["auc"] for pair in pairs.values()} == {0}
    tiers = found["tiers"]["zeroeval_math_l5"]["measured"]
    assert tiers["shares"] == [0.5, 0, 0.5]
    assert values(tiers, "fareway")["quality"] == 1
    assert 0.5 < values(tiers, "fareway")["cost"] < 0.6  # half of the calls, and the cheap ones'

    reliability = {"sensitivity": [[0.1, 0.12, 90], [0.9, 0.85, 10]]}
    metrics_ = {
        "rows": len(rows),
        "outcomes": {"zeroeval_math_l5": {"fareway": {"auc": 1.0, "interval": [0.9, 1.0]}}},
        "calibration": {"ece": {"sensitivity": 0.02}, "reliability": reliability},
        "cost_quality": found,
    }
    card.write(metrics_, tmp_path)
    names = {f"{n}.png" for n in ("quality_gap", "cost_quality", "reliability")}
    assert names < {file.name for file in tmp_path.iterdir()}
    kept = json.loads((tmp_path / "metrics.json").read_text())
    assert kept == without_curves(metrics_)
    assert "curve" not in kept["cost_quality"]["pairs"]["zeroeval_math_l5"].popitem()[1]["routers"]
    titles = [str(part.title) for part in card.shown(metrics_) if not isinstance(part, str)]
    assert titles[:2] == ["outcomes, zeroeval_math_l5", "calibration, ece"]
