import json
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fareway.bill import bill, estimate_usage
from fareway.prices import FREE, RATES, Price, PriceTable, Usage, list_prices
from local.prices import PRICES as PRICES_FILE
from local.prices import text
from tests.builders import a_policy

PRICES = list_prices()


def test_the_list_that_ships_is_what_the_locked_genai_prices_says():
    assert PRICES_FILE.read_text(encoding="utf-8") == text(), "run `make prices`"


def test_every_listed_price_is_one():
    for name in PRICES.listed:
        assert PRICES.find(name).input >= 0


# 10,000 tokens in, 4,000 of them from a cache, and 1,000 out; in millionths of a USD, from the
# vendors' and OpenRouter's lists of November 2026.
@pytest.mark.parametrize(
    ("name", "micro_usd"),
    [
        ("deepseek-v4-flash", "1512"),  # 6,000 x 0.15 + 4,000 x 0.003 + 1,000 x 0.6
        ("deepseek/deepseek-v4-flash", "924"),  # 6,000 x 0.105 + 4,000 x 0.021 + 1,000 x 0.21
        ("gemini-2.5-flash-lite", "1040"),  # 6,000 x 0.1 + 4,000 x 0.01 + 1,000 x 0.4
        ("qwen3.8-flash", "1434"),  # 6,000 x 0.15 + 4,000 x 0.016 + 1,000 x 0.47
        ("claude-haiku-4-5", "11400"),  # 6,000 x 1 + 4,000 x 0.1 + 1,000 x 5
        ("gpt-4o-mini", "1800"),  # 6,000 x 0.15 + 4,000 x 0.075 + 1,000 x 0.6
        ("gpt-5", "18000"),  # 6,000 x 1.25 + 4,000 x 0.125 + 1,000 x 10
        ("claude-sonnet-5-5", "22400"),  # 6,000 x 2 + 4,000 x 0.1 + 1,000 x 10
        ("claude-sonnet-4-5", "34200"),  # 6,000 x 3 + 4,000 x 0.3 + 1,000 x 15
    ],
)
def test_the_policys_models_cost_what_their_lists_say(name, micro_usd):
    cost = PRICES.find(name).cost_usd(Usage(10_000, 1000, cached_tokens=4000))
    assert cost == Decimal(micro_usd) / 1_000_000


@pytest.mark.parametrize(
    "name",
    [
        "gpt-5",
        "openai/gpt-5",
        "GPT-5",
        "gpt-5-2025-08-07",
        "openai/gpt-5-2025-08-07",
        " gpt-5 ",
        "openai/gpt-5:nitro",
        "openai/gpt-5:floor",
        "openai/gpt-5-2025-08-07:floor",
        "openrouter/openai/gpt-5",
    ],
)
def test_a_model_is_priced_under_every_name_it_serves_by(name):
    assert PRICES.find(name) == Price(Decimal("1.25"), Decimal(10), Decimal("0.125"))


@pytest.mark.parametrize(
    "name",
    [
        "claude-haiku-4.5",
        "claude-haiku-4-5-20251001",
        "claude-haiku-4-5@20251001",
        "anthropic/claude-haiku-4.5",
        "anthropic/claude-4.5-haiku-20251001",
        "anthropic/claude-4-5-haiku:nitro",
    ],
)
def test_claude_is_found_whichever_way_its_name_is_put(name):
    price = PRICES.find(name)
    kinds = ("input", "output", "cached", "cache_write", "cache_write_1h")
    assert [str(price.rate(kind)) for kind in kinds] == ["1", "5", "0.1", "1.25", "2"]


def test_an_embedding_is_priced_by_its_input_alone():
    assert PRICES.find("text-embedding-3-small").cost_usd(Usage(8000, 0)) == Decimal("0.00016")
    assert PRICES.find("openai/text-embedding-3-large").cost_usd(Usage(1000, 0)) == Decimal(
        "0.00013"
    )


def test_a_free_variant_costs_nothing_and_that_is_known():
    assert PRICES.find("deepseek/deepseek-chat-v3-0324:free").cost_usd(USAGE) == 0
    assert PRICES.find("acme/llm-1:free") == FREE


@pytest.mark.parametrize("name", ["acme/llm-1", "acme/llm-1:nitro", "gpt-5:online", "", ":", "/"])
def test_an_unknown_model_has_no_price(name):
    assert PRICES.find(name) is None


def test_an_own_price_holds_for_every_name_of_its_model():
    own = Price(Decimal(1), Decimal(2))
    prices = PRICES.with_overrides({"gpt-4o": own, "claude-haiku-4.5": own})
    for name in ("gpt-4o-2024-05-13", "openai/GPT-4o:nitro", "anthropic/claude-4.5-haiku-20251001"):
        assert prices.find(name) == own
    assert PRICES.find("gpt-4o-2024-05-13") != own


def test_each_kind_of_token_has_its_own_rate():
    rates = {
        "input": 3,
        "output": 15,
        "cached": "0.3",
        "cache_write": "3.75",
        "cache_write_1h": 6,
        "audio_input": 30,
        "audio_output": 60,
        "reasoning": 20,
    }
    usage = Usage(
        10_000,
        500,
        cached_tokens=6000,
        cache_write_tokens=2000,
        cache_write_1h_tokens=500,
        prompt_audio_tokens=100,
        reasoning_tokens=200,
        completion_audio_tokens=50,
    )
    # 1,900 x 3 + 6,000 x 0.3 + 1,500 x 3.75 + 500 x 6 + 100 x 30
    # + 250 x 15 + 200 x 20 + 50 x 60 = 29,875 millionths
    assert Price.of(rates).cost_usd(usage) == Decimal("0.029875000")


def test_a_rate_that_is_not_given_is_that_of_its_kind():
    price = Price.of({"input": 3, "output": 15, "cache_write": 4})
    usage = Usage(
        1000,
        100,
        cached_tokens=200,
        cache_write_tokens=300,
        cache_write_1h_tokens=300,
        prompt_audio_tokens=50,
        reasoning_tokens=40,
        completion_audio_tokens=60,
    )
    # 700 x 3 + 300 x 4 + 100 x 15
    assert price.cost_usd(usage) == Decimal("0.004800000")


def test_more_cached_tokens_than_prompt_tokens_never_make_a_negative_cost():
    price = Price(Decimal(3), Decimal(15), Decimal("0.3"))
    assert price.cost_usd(Usage(10, 0, cached_tokens=50)) == Decimal("0.000003000")


LONG = {
    "input": 2,
    "output": 10,
    "cached": 1,
    "above": {
        "200000": {"input": 4, "output": 15, "cached": 2},
        "100000": {"input": 3, "output": 12, "cached": "1.5"},
    },
}


@pytest.mark.parametrize(
    ("prompt", "micro_usd"),
    [(100_000, 201_000), (100_001, 301_203), (200_000, 601_200), (200_001, 801_504)],
)
def test_a_long_prompt_makes_the_whole_completion_dearer(prompt, micro_usd):
    cost = Price.of(LONG).cost_usd(Usage(prompt, 100))
    assert cost == Decimal(micro_usd) / 1_000_000


def test_a_batch_is_half_price_in_every_kind_and_tier():
    price = Price.of(LONG)
    for usage in (Usage(1000, 100, cached_tokens=400), Usage(150_000, 100), Usage(250_000, 100)):
        assert price.cost_usd(replace(usage, batch=True)) * 2 == price.cost_usd(usage)


def test_a_models_own_batch_rates_go_before_the_half():
    # Google charges its cache in full in a batch, and half of the rest.
    batch = {"input": 1, "output": 5, "cached": 1, "above": {"200000": {"input": 2, "output": 7}}}
    price = Price.of({**LONG, "batch": batch})
    assert price.cost_usd(Usage(1000, 100, cached_tokens=400, batch=True)) == Decimal("0.0015")
    assert price.cost_usd(Usage(300_000, 100, batch=True)) == Decimal("0.6007")


def test_a_batch_model_of_openrouter_is_not_halved_twice():
    price = PRICES.find("anthropic/claude-haiku-4.5:batch")
    for batch in (False, True):
        assert price.cost_usd(replace(USAGE, batch=batch)) == Decimal("0.00175")


@pytest.mark.parametrize(
    ("rates", "fault"),
    [
        ({"input": 1}, "at least `input` and `output`"),
        ({"input": 1, "output": 2, "cahced": 1}, "unknown rate 'cahced'"),
        ({"input": "cheap", "output": 2}, "`input` is USD per million tokens.*'cheap'"),
        ({"input": 1, "output": -2}, "`output` is .* at least 0"),
        ({"input": True, "output": 2}, "`input` is .*True"),
        ({"input": float("nan"), "output": 2}, "`input`"),
        ({"input": 1, "output": "1e40"}, "`output`"),
        ({"input": 1, "output": 2, "batch": 0.5}, "`batch` is a table"),
        ({"input": 1, "output": 2, "batch": {"input": 1}}, "batch: a price has at least"),
        ({"input": 1, "output": 2, "above": []}, "`above` is a table"),
        ({"input": 1, "output": 2, "above": {"long": {}}}, "tokens of the prompt.*'long'"),
        (
            {"input": 1, "output": 2, "above": {"200": {"input": 1, "output": 2, "batch": {}}}},
            "above.200: unknown rate 'batch'",
        ),
    ],
)
def test_a_faulty_price_says_what_is_wrong_with_it(rates, fault):
    with pytest.raises(ValueError, match=fault):
        Price.of(rates)


tokens = st.integers(0, 10**6)
usages = st.builds(Usage, *[tokens] * 8, st.just(False), st.booleans())
rate = st.decimals(0, 100, places=4)
flat_prices = st.builds(lambda values: Price(*values), st.lists(rate, min_size=8, max_size=8))


@given(flat_prices, usages)
def test_each_token_is_charged_once(price, usage):
    charged = [price.rate(kind) for kind in RATES]
    divisor = (2 if usage.batch else 1) * 1_000_000
    total = usage.prompt_tokens + usage.completion_tokens
    slack = Decimal("0.000000001")
    assert min(charged) * total / divisor - slack <= price.cost_usd(usage)
    assert price.cost_usd(usage) <= max(charged) * total / divisor + slack


@given(usages, tokens, tokens)
def test_more_tokens_never_cost_less(usage, prompt, completion):
    more = replace(
        usage,
        prompt_tokens=usage.prompt_tokens + prompt,
        completion_tokens=usage.completion_tokens + completion,
    )
    for price in (Price.of(LONG), PRICES.find("claude-sonnet-4.5"), PRICES.find("gemini-2.5-pro")):
        assert price.cost_usd(more) >= price.cost_usd(usage)


@given(tokens, tokens, tokens)
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


def test_a_batch_is_billed_by_its_rates_on_both_sides():
    result = billed(usage=replace(USAGE, batch=True), served_model="claude-haiku-4.5")
    assert (result.cost_usd, result.source) == (Decimal("0.001750000"), "price_table")
    assert result.baseline_usd == Decimal("0.003125000")


def test_an_unknown_served_model_is_an_estimate():
    result = billed(served_model="acme/llm-1")
    assert (result.cost_usd, result.source) == (Decimal("0.002000000"), "estimated")


def test_what_has_no_price_is_null_and_never_zero():
    result = billed(served_model="acme/llm-1", asked_price=None)
    assert (result.cost_usd, result.source) == (None, None)


def test_a_missing_usage_is_counted_and_says_so():
    usage = estimate_usage(lambda text: len(text.split()), "the capital of France", "Paris.")
    assert (usage.prompt_tokens, usage.completion_tokens, usage.estimated) == (4, 1, True)
    assert billed(usage=usage).source == "estimated"


def test_a_table_is_read_from_plain_json():
    listed = json.loads('{"m": {"input": "1", "output": "2"}}')
    assert PriceTable("v", listed).find("vendor/M") == ASKED
