from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fareway.bill import bill, estimate_usage
from fareway.prices import Price, Usage, list_prices
from tests.builders import a_completion, a_policy

PRICES = list_prices()


@pytest.mark.parametrize(
    "name",
    ["gpt-5", "openai/gpt-5", "GPT-5", "gpt-5-2025-08-07", "openai/gpt-5-2025-08-07", " gpt-5 "],
)
def test_a_model_is_priced_under_every_name_it_serves_by(name):
    assert PRICES.find(name) == Price(Decimal("1.25"), Decimal(10), Decimal("0.125"))


def test_claude_is_found_with_dots_dashes_and_dates():
    prices = {
        PRICES.find(name).output
        for name in ("claude-haiku-4.5", "claude-haiku-4-5-20251001", "anthropic/claude-haiku-4.5")
    }
    assert prices == {Decimal(5)}


def test_an_unknown_model_has_no_price():
    assert PRICES.find("acme/llm-1") is None


def test_cached_and_written_tokens_have_their_own_rates():
    price = Price(Decimal(3), Decimal(15), Decimal("0.3"), Decimal("3.75"))
    usage = Usage(10_000, 500, cached_tokens=8_000, cache_write_tokens=1_000)
    # 1,000 x 3 + 8,000 x 0.3 + 1,000 x 3.75 + 500 x 15 = 16,650 millionths
    assert price.cost_usd(usage) == Decimal("0.016650000")


def test_more_cached_tokens_than_prompt_tokens_never_make_a_negative_cost():
    price = Price(Decimal(3), Decimal(15), Decimal("0.3"))
    assert price.cost_usd(Usage(10, 0, cached_tokens=50)) == Decimal("0.000003000")


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_cheaper_tier_never_costs_more_than_the_baseline(prompt, completion, cached):
    policy = a_policy()
    usage = Usage(prompt, completion, min(cached, prompt))
    for model in policy.tiers["cheap"].models:
        for aggregator in policy.models[model].ids:
            cost = policy.price(model, aggregator).cost_usd(usage)
            assert cost <= policy.baseline_price().cost_usd(usage)


USAGE = Usage(1000, 500)
ASKED = Price(Decimal(1), Decimal(2))


def billed(**changes):
    values = {
        "usage": USAGE,
        "reported_usd": None,
        "served_model": "gpt-5",
        "asked_price": ASKED,
        "prices": PRICES,
        "baseline": PRICES.find("gpt-5"),
    }
    return bill(**(values | changes))


def test_the_providers_own_cost_goes_first():
    result = billed(reported_usd=Decimal("0.00001234"))
    assert (result.cost_usd, result.source) == (Decimal("0.000012340"), "provider")


def test_the_model_that_served_is_priced_not_the_one_asked_for():
    result = billed(served_model="gpt-4o-mini")
    assert (result.cost_usd, result.source) == (Decimal("0.000450000"), "price_table")
    assert result.baseline_usd == Decimal("0.006250000")


def test_an_unknown_served_model_is_an_estimate():
    result = billed(served_model="acme/llm-1")
    assert (result.cost_usd, result.source) == (Decimal("0.002000000"), "estimated")


def test_what_has_no_price_is_null_and_never_zero():
    result = billed(served_model="acme/llm-1", asked_price=None)
    assert (result.cost_usd, result.source) == (None, None)


def test_a_missing_usage_is_estimated_and_says_so():
    usage = estimate_usage(100, a_completion())
    assert usage.estimated
    assert billed(usage=usage).source == "estimated"
