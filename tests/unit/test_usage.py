"""Recorded usage bodies of each upstream, and what they cost, worked out by hand."""

from dataclasses import replace
from decimal import Decimal

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fareway.bill import bill
from fareway.prices import Price, PriceTable, Usage
from fareway.providers.aggregator import Aggregator
from fareway.usage import read_cost, read_usage
from tests.answering import Answering
from tests.builders import a_chat, a_completion

# Rates of the vendors' price pages in November 2026, USD per million tokens. They are pinned here,
# so that the table below holds whatever the shipped list says later.
PINNED = {
    "gpt-5": Price.of({"input": "1.25", "output": "10", "cached": "0.125"}),
    "gpt-audio": Price.of(
        {"input": "2.5", "output": "10", "audio_input": "32", "audio_output": "64"}
    ),
    "text-embedding-3-small": Price.of({"input": "0.02", "output": "0"}),
    "claude-sonnet-4.5": Price.of(
        {
            "input": "3",
            "output": "15",
            "cached": "0.3",
            "cache_write": "3.75",
            "cache_write_1h": "6",
            "above": {
                "200000": {
                    "input": "6",
                    "output": "22.5",
                    "cached": "0.6",
                    "cache_write": "7.5",
                    "cache_write_1h": "12",
                }
            },
        }
    ),
    "deepseek-v4-flash": Price.of({"input": "0.15", "output": "0.6", "cached": "0.003"}),
    "gemini-2.5-pro": Price.of(
        {
            "input": "1.25",
            "output": "10",
            "cached": "0.125",
            "above": {"200000": {"input": "2.5", "output": "15", "cached": "0.25"}},
        }
    ),
    "gemini-2.5-flash-lite": Price.of(
        {"input": "0.1", "output": "0.4", "cached": "0.01", "audio_input": "0.3"}
    ),
    "grok-4": Price.of({"input": "3", "output": "15", "cached": "0.75"}),
}
PRICES = PriceTable("pinned", {}).with_overrides(PINNED)

# (case, model, usage as it came, cost in millionths of a USD, who said so)
RECORDED = [
    # OpenAI's chat completions: types/completion_usage.py of its SDK.
    (
        # 86 x 1.25 + 1,920 x 0.125 + 300 x 10; the 192 of reasoning are among the 300
        "openai: cached and reasoning",
        "gpt-5-2025-08-07",
        {
            "prompt_tokens": 2006,
            "completion_tokens": 300,
            "total_tokens": 2306,
            "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 192,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        "3347.5",
        "price_table",
    ),
    (
        # 500 x 1.25 + 150 x 10; what was rejected of a prediction is charged among the 150
        "openai: predicted output",
        "gpt-5",
        {
            "prompt_tokens": 500,
            "completion_tokens": 150,
            "total_tokens": 650,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 80,
                "rejected_prediction_tokens": 40,
            },
        },
        "2125",
        "price_table",
    ),
    (
        # 40 x 2.5 + 60 x 32 + 50 x 10 + 150 x 64
        "openai: audio in and out",
        "gpt-audio",
        {
            "prompt_tokens": 100,
            "completion_tokens": 200,
            "total_tokens": 300,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 60, "text_tokens": 40},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 150,
                "text_tokens": 50,
            },
        },
        "12120",
        "price_table",
    ),
    # OpenAI's responses: types/responses/response_usage.py.
    (
        # 400 x 1.25 + 600 x 0.125 + 120 x 10
        "openai: responses",
        "gpt-5",
        {
            "input_tokens": 1000,
            "input_tokens_details": {"cached_tokens": 600, "cache_write_tokens": 0},
            "output_tokens": 120,
            "output_tokens_details": {"reasoning_tokens": 64},
            "total_tokens": 1120,
        },
        "1775",
        "price_table",
    ),
    # OpenAI's embeddings: types/create_embedding_response.py.
    (
        # 8,000 x 0.02
        "openai: embeddings",
        "text-embedding-3-small",
        {"prompt_tokens": 8000, "total_tokens": 8000},
        "160",
        "price_table",
    ),
    # OpenRouter: openrouter.ai/docs/use-cases/usage-accounting.
    (
        "openrouter: its own cost, with the vendor's share told again",
        "openai/gpt-5",
        {
            "prompt_tokens": 194,
            "completion_tokens": 2,
            "total_tokens": 196,
            "cost": 0.0002625,
            "is_byok": False,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "cost_details": {
                "upstream_inference_cost": 0.0002625,
                "upstream_inference_prompt_cost": 0.0002425,
                "upstream_inference_completions_cost": 0.00002,
            },
            "completion_tokens_details": {"reasoning_tokens": 0, "image_tokens": 0},
        },
        "262.5",
        "provider",
    ),
    (
        "openrouter: an own key, no fee",
        "openai/gpt-5",
        {
            "prompt_tokens": 1000,
            "completion_tokens": 500,
            "total_tokens": 1500,
            "cost": 0,
            "is_byok": True,
            "cost_details": {"upstream_inference_cost": 0.00625},
        },
        "6250",
        "provider",
    ),
    (
        # 312.5 + 6,250
        "openrouter: an own key and a fee of 5 %",
        "openai/gpt-5",
        {
            "prompt_tokens": 1000,
            "completion_tokens": 500,
            "total_tokens": 1500,
            "cost": 0.0003125,
            "is_byok": True,
            "cost_details": {"upstream_inference_cost": 0.00625},
        },
        "6562.5",
        "provider",
    ),
    (
        # 950,000 + 19,000,000
        "openrouter: an own key by the numbers of its page, which has no is_byok",
        "openai/gpt-5",
        {
            "prompt_tokens": 194,
            "completion_tokens": 2,
            "total_tokens": 196,
            "cost": 0.95,
            "cost_details": {"upstream_inference_cost": 19},
            "prompt_tokens_details": {
                "cached_tokens": 0,
                "cache_write_tokens": 100,
                "audio_tokens": 0,
            },
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
        "19950000",
        "provider",
    ),
    (
        # the fee alone is not the cost: 1,000 x 1.25 + 500 x 10
        "openrouter: an own key, the vendor's charge not told",
        "openai/gpt-5",
        {
            "prompt_tokens": 1000,
            "completion_tokens": 500,
            "total_tokens": 1500,
            "cost": 0.0003125,
            "is_byok": True,
            "cost_details": {"upstream_inference_cost": None},
        },
        "6250",
        "price_table",
    ),
    (
        "openrouter: a free model",
        "openai/gpt-oss-120b:free",
        {"prompt_tokens": 500, "completion_tokens": 500, "total_tokens": 1000, "cost": 0},
        "0",
        "provider",
    ),
    (
        # 1,000 x 3 + 8,000 x 0.3 + 1,000 x 3.75 + 500 x 15
        "openrouter: cache read and written, cost not told",
        "anthropic/claude-4.5-sonnet-20250929",
        {
            "prompt_tokens": 10000,
            "completion_tokens": 500,
            "total_tokens": 10500,
            "cost": None,
            "prompt_tokens_details": {"cached_tokens": 8000, "cache_write_tokens": 1000},
            "completion_tokens_details": None,
        },
        "16650",
        "price_table",
    ),
    # Anthropic's messages: types/usage.py of its SDK.
    (
        # 50 x 3 + 10,000 x 0.3 + 2,000 x 3.75 + 300 x 15
        "anthropic: cache read, and written for five minutes",
        "claude-sonnet-4-5-20250929",
        {
            "input_tokens": 50,
            "cache_creation_input_tokens": 2000,
            "cache_read_input_tokens": 10000,
            "cache_creation": {"ephemeral_5m_input_tokens": 2000, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 300,
            "output_tokens_details": {"thinking_tokens": 120},
            "service_tier": "standard",
        },
        "15150",
        "price_table",
    ),
    (
        # 20 x 3 + 1,000 x 3.75 + 4,000 x 6 + 100 x 15
        "anthropic: written for an hour",
        "claude-sonnet-4-5",
        {
            "input_tokens": 20,
            "cache_creation_input_tokens": 5000,
            "cache_read_input_tokens": 0,
            "cache_creation": {
                "ephemeral_5m_input_tokens": 1000,
                "ephemeral_1h_input_tokens": 4000,
            },
            "output_tokens": 100,
            "service_tier": "standard",
        },
        "29310",
        "price_table",
    ),
    (
        # half of 1,000 x 3 + 200 x 15
        "anthropic: a batch",
        "claude-sonnet-4-5",
        {
            "input_tokens": 1000,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 200,
            "service_tier": "batch",
        },
        "3000",
        "price_table",
    ),
    (
        # 200,500 tokens in all: 1,000 x 6 + 199,500 x 0.6 + 1,000 x 22.5
        "anthropic: long by what it read from its cache",
        "claude-sonnet-4-5",
        {
            "input_tokens": 1000,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 199_500,
            "output_tokens": 1000,
        },
        "148200",
        "price_table",
    ),
    (
        # 200,000 are not above 200,000: 500 x 3 + 199,500 x 0.3 + 1,000 x 15
        "anthropic: just not long",
        "claude-sonnet-4-5",
        {
            "input_tokens": 500,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 199_500,
            "output_tokens": 1000,
        },
        "76350",
        "price_table",
    ),
    # Anthropic's names beside OpenAI's, as LiteLLM's proxy answers: docs.litellm.ai/docs/
    # completion/prompt_caching. Its prompt_tokens hold the cache.
    (
        # 50 x 3 + 10,000 x 0.3 + 2,000 x 3.75 + 300 x 15
        "litellm: claude",
        "anthropic/claude-sonnet-4-5",
        {
            "prompt_tokens": 12050,
            "completion_tokens": 300,
            "total_tokens": 12350,
            "prompt_tokens_details": {"cached_tokens": 10000},
            "cache_creation_input_tokens": 2000,
            "cache_read_input_tokens": 10000,
        },
        "15150",
        "price_table",
    ),
    (
        # the same call; only total_tokens shows that the cache is not among prompt_tokens
        "a proxy that leaves the cache out of prompt_tokens",
        "claude-sonnet-4-5",
        {
            "prompt_tokens": 50,
            "completion_tokens": 300,
            "total_tokens": 12350,
            "prompt_tokens_details": {"cached_tokens": 10000, "cache_write_tokens": 2000},
        },
        "15150",
        "price_table",
    ),
    # DeepSeek: api-docs.deepseek.com/api/create-chat-completion.
    (
        # 952 x 0.15 + 2,048 x 0.003 + 400 x 0.6
        "deepseek: cache hits",
        "deepseek-v4-flash",
        {
            "prompt_tokens": 3000,
            "completion_tokens": 400,
            "total_tokens": 3400,
            "prompt_cache_hit_tokens": 2048,
            "prompt_cache_miss_tokens": 952,
            "completion_tokens_details": {"reasoning_tokens": 250},
        },
        "388.944",
        "price_table",
    ),
    # Gemini: ai.google.dev/api/generate-content#UsageMetadata.
    (
        # 2,000 x 1.25 + 3,000 x 0.125 + (200 + 800) x 10
        "gemini: thoughts are beside the candidates",
        "gemini-2.5-pro",
        {
            "promptTokenCount": 5000,
            "cachedContentTokenCount": 3000,
            "candidatesTokenCount": 200,
            "thoughtsTokenCount": 800,
            "totalTokenCount": 6000,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 5000}],
            "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 3000}],
        },
        "12875",
        "price_table",
    ),
    (
        # 500 x 0.1 + 1,500 x 0.3 + 100 x 0.4
        "gemini: audio",
        "gemini-2.5-flash-lite",
        {
            "promptTokenCount": 2000,
            "candidatesTokenCount": 100,
            "totalTokenCount": 2100,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 500},
                {"modality": "AUDIO", "tokenCount": 1500},
            ],
            "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 100}],
        },
        "540",
        "price_table",
    ),
    (
        # (20 + 1,000) x 1.25 + (50 + 30) x 10
        "gemini: what a tool fetched",
        "gemini-2.5-pro",
        {
            "promptTokenCount": 20,
            "toolUsePromptTokenCount": 1000,
            "candidatesTokenCount": 50,
            "thoughtsTokenCount": 30,
            "totalTokenCount": 1100,
        },
        "2075",
        "price_table",
    ),
    (
        # 250,000 x 2.5 + 1,000 x 15
        "gemini: a long prompt",
        "gemini-2.5-pro",
        {"promptTokenCount": 250_000, "candidatesTokenCount": 1000, "totalTokenCount": 251_000},
        "640000",
        "price_table",
    ),
    # Gemini's OpenAI-compatible endpoint: discuss.ai.google.dev/t/98760 shows such a body.
    (
        # 758 x 1.25 + (1,725 - 758) x 10
        "gemini, compatible: thinking in the total alone",
        "gemini-2.5-pro",
        {"completion_tokens": 102, "prompt_tokens": 758, "total_tokens": 1725},
        "10617.5",
        "price_table",
    ),
    (
        # 21 x 1.25 + 60 x 10
        "gemini, compatible: nothing but thinking",
        "google/gemini-2.5-pro",
        {"prompt_tokens": 21, "total_tokens": 81},
        "626.25",
        "price_table",
    ),
    # xAI: docs.x.ai/docs/guides/reasoning; reasoning is beside completion_tokens.
    (
        # 200 x 3 + (10 + 300) x 15
        "xai: reasoning beside the completion",
        "grok-4",
        {
            "prompt_tokens": 200,
            "completion_tokens": 10,
            "total_tokens": 510,
            "prompt_tokens_details": {"text_tokens": 200, "cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 300, "audio_tokens": 0},
        },
        "5250",
        "price_table",
    ),
]


@pytest.mark.parametrize(
    ("model", "told", "micro_usd", "source"),
    [pytest.param(*case, id=name) for name, *case in RECORDED],
)
def test_a_recorded_usage_costs_what_it_costs(model, told, micro_usd, source):
    usage = read_usage(told)
    assert usage is not None
    result = bill(usage, read_cost(told), model, None, PRICES, PINNED["gpt-5"])
    assert (result.cost_usd, result.source) == (Decimal(micro_usd) / 1_000_000, source)


def test_each_kind_of_token_is_told_for_the_ledger():
    told = {
        "input_tokens": 50,
        "cache_creation_input_tokens": 2000,
        "cache_read_input_tokens": 10000,
        "cache_creation": {"ephemeral_5m_input_tokens": 500, "ephemeral_1h_input_tokens": 1500},
        "output_tokens": 300,
        "output_tokens_details": {"thinking_tokens": 120},
    }
    assert read_usage(told) == Usage(
        12_050,
        300,
        cached_tokens=10_000,
        cache_write_tokens=2000,
        cache_write_1h_tokens=1500,
        reasoning_tokens=120,
    )


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        pytest.param(None, None, id="null"),
        pytest.param([], None, id="a list"),
        pytest.param("12", None, id="text"),
        pytest.param({}, None, id="nothing"),
        pytest.param({"prompt_tokens": 0, "completion_tokens": 0}, None, id="zeros"),
        pytest.param({"prompt_tokens": "many", "completion_tokens": None}, None, id="no counts"),
        pytest.param({"prompt_tokens": True, "completion_tokens": -5}, None, id="bool, negative"),
        pytest.param({"prompt_tokens": 10**30, "completion_tokens": 1e300}, None, id="too many"),
        pytest.param({"prompt_tokens": 12.5, "completion_tokens": 4.0}, Usage(0, 4), id="floats"),
        pytest.param(
            {"prompt_tokens": 9, "completion_tokens": float("inf")}, Usage(9, 0), id="infinite"
        ),
        pytest.param(
            {
                "prompt_tokens": 9,
                "completion_tokens": 4,
                "prompt_tokens_details": None,
                "completion_tokens_details": [],
            },
            Usage(9, 4),
            id="null details",
        ),
        pytest.param(
            {
                "prompt_tokens": 9,
                "completion_tokens": 4,
                "total_tokens": 13,
                "prompt_tokens_details": {"cached_tokens": 50, "audio_tokens": 50},
                "completion_tokens_details": {"reasoning_tokens": 70, "audio_tokens": 70},
            },
            Usage(9, 4, cached_tokens=9, reasoning_tokens=4),
            id="details beyond their totals",
        ),
        pytest.param(
            {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 2},
            Usage(9, 4),
            id="a total that is too small",
        ),
        pytest.param({"promptTokenCount": 9, "promptTokensDetails": {}}, Usage(9, 0), id="gemini"),
    ],
)
def test_nonsense_is_left_out(told, usage):
    assert read_usage(told) == usage


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (None, None),
        ({"cost": {"total_cost": 1}}, None),
        ({"cost": "0.5"}, "0.5"),
        ({"cost": 1e300}, None),
        ({"cost": float("nan")}, None),
        ({"cost": 0.5, "cost_details": []}, "0.5"),
        ({"cost": 0.5, "cost_details": {"upstream_inference_cost": -1}}, "0.5"),
        ({"cost_details": {"upstream_inference_cost": 1}}, None),
    ],
)
def test_a_cost_is_read_exactly_or_not_at_all(told, expected):
    assert read_cost(told) == (None if expected is None else Decimal(expected))


NAMES = sorted({key for _, _, told, *_ in RECORDED for key in told})
DETAILS = sorted(
    {key for _, _, told, *_ in RECORDED for part in told.values() if isinstance(part, dict)
     for key in part}
)  # fmt: skip
anything = st.sampled_from(
    [None, True, False, -1, 0.5, 4.0, 1e300, float("nan"), float("inf"), 10**40, "12", "batch", []]
)
count = st.integers(0, 10**7)
body = st.dictionaries(
    st.sampled_from(NAMES),
    anything | count | st.dictionaries(st.sampled_from(DETAILS), anything | count),
)


@given(body)
def test_whatever_comes_is_read_and_billed(told):
    usage = read_usage(told)
    read_cost(told)
    if usage is None:
        return
    assert usage == usage.clipped()
    assert max(usage.prompt_tokens, usage.completion_tokens) < 2**31  # the ledger's `int`
    assert bill(usage, read_cost(told), "grok-4", None, PRICES, PINNED["gpt-5"]).cost_usd >= 0


@given(count, count, count, count, count)
def test_details_of_a_whole_total_add_nothing_to_it(prompt, completion, cached, reasoning, audio):
    told = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": audio},
        "completion_tokens_details": {"reasoning_tokens": reasoning, "audio_tokens": audio},
    }
    usage = read_usage(told) or Usage(0, 0)
    assert (usage.prompt_tokens, usage.completion_tokens) == (prompt, completion)
    plain = replace(usage, cached_tokens=0)
    assert PINNED["gpt-5"].cost_usd(usage) <= PINNED["gpt-5"].cost_usd(plain)


async def test_a_completion_carries_what_its_usage_tells():
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "cost": 0.00001234}
    answer = httpx.Response(200, json=a_completion(usage=usage))
    client = Answering(lambda _: answer)
    completion = await Aggregator("a", "http://a", "k", client, {}).complete("m", a_chat(), 5)
    assert (completion.usage, completion.cost_usd) == (Usage(7, 2), Decimal("0.00001234"))
