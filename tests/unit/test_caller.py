"""What a key may do, and what it may not."""

import json
from decimal import Decimal

import pytest
from pydantic import ValidationError

from fareway.asks import Bounds
from fareway.caller import Allowance
from fareway.errors import Forbidden
from tests.builders import a_caller


@pytest.mark.parametrize(
    ("allowance", "model", "allowed"),
    [
        ({}, "gpt-5", True),
        ({}, "fareway/premium", True),
        ({"models": ["gpt-5"]}, "gpt-5", True),
        ({"models": ["gpt-5"]}, "fareway/auto", False),
        ({"tiers": ["cheap"]}, "fareway/auto", True),
        ({"tiers": ["cheap"]}, "fareway/premium", False),
        # A model of the request's own would be a way around the tiers.
        ({"tiers": ["cheap"]}, "gpt-5", False),
        ({"tiers": ["cheap"], "models": ["fareway/auto", "gpt-5"]}, "gpt-5", True),
    ],
)
def test_which_models_a_key_may_name(allowance, model, allowed):
    may = Allowance(**allowance)
    assert may.allows(model) is allowed
    if not allowed:
        with pytest.raises(Forbidden) as caught:
            may.check(model)
        assert caught.value.body()["error"]["code"] == "model_not_allowed"
        assert any(other in caught.value.message for other in ("fareway/auto", "gpt-5"))


@pytest.mark.parametrize(
    "fields",
    [
        {"daily_usd": "0"},
        {"daily_usd": "-1"},
        {"monthly_usd": "NaN"},
        {"monthly_usd": "Infinity"},
        {"daily_usd": "0.0000000001"},
        {"requests_per_minute": 0},
        {"requests_per_minute": "1.5"},
        {"requests_per_minute": 60_001},
        {"tiers": []},
        {"tiers": ["gold"]},
        {"models": ["fareway/best"]},
        {"models": ["a b"]},
        {"over_budget": "shrug"},
        {"over_budget": "degrade", "tiers": ["mid", "premium"]},
        {"tags": {"a b": "x"}},
        {"tags": {"a": ""}},
        {"tags": {f"t{n}": "x" for n in range(11)}},
        {"dayly_usd": "5"},
    ],
    ids=str,
)
def test_what_is_no_limit_is_refused(fields):
    with pytest.raises(ValidationError):
        Allowance(**fields)


def test_the_keys_tiers_narrow_what_the_request_asks_for():
    bounds = Bounds(min_tier="mid").within(("cheap", "premium"))
    assert (bounds.min_tier, bounds.max_tier, bounds.tiers) == ("premium", "premium", ("premium",))
    assert Bounds().within(("cheap", "mid", "premium")) == Bounds()
    with pytest.raises(Forbidden) as caught:
        Bounds(min_tier="premium").within(("cheap", "mid"))
    assert caught.value.body()["error"]["code"] == "tier_not_allowed"


def test_tags_are_one_json_object_and_none_are_null():
    assert json.loads(a_caller(tags={"team": "search", "env": "prod"}).tags) == {
        "team": "search",
        "env": "prod",
    }
    assert a_caller().tags is None


def test_tiers_are_kept_in_their_order_and_money_exactly():
    may = Allowance(tiers=["mid", "cheap"], daily_usd="0.1")
    assert (may.tiers, may.daily_usd) == (("cheap", "mid"), Decimal("0.1"))
