from decimal import Decimal

import httpx
import pytest

from fareway.prices import Usage
from fareway.providers.aggregator import Aggregator, read_usage
from tests.builders import a_chat, a_completion


@pytest.mark.parametrize(
    ("reported", "usage"),
    [
        pytest.param(
            {
                "prompt_tokens": 2006,
                "completion_tokens": 300,
                "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 192},
            },
            Usage(2006, 300, cached_tokens=1920, reasoning_tokens=192),
            id="openai",
        ),
        pytest.param(
            {
                "prompt_tokens": 100,
                "completion_tokens": 10,
                "cost": 0.0015,
                "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 80},
                "completion_tokens_details": None,
            },
            Usage(100, 10, cache_write_tokens=80),
            id="openrouter",
        ),
        pytest.param(
            {
                "prompt_tokens": 50,
                "completion_tokens": 5,
                "prompt_cache_hit_tokens": 32,
                "prompt_cache_miss_tokens": 18,
            },
            Usage(50, 5, cached_tokens=32),
            id="deepseek",
        ),
        pytest.param({}, None, id="nothing"),
        pytest.param({"prompt_tokens": "many", "completion_tokens": None}, None, id="nonsense"),
    ],
)
def test_usage_is_read_in_every_dialect(reported, usage):
    assert read_usage(reported) == usage


@pytest.mark.parametrize(
    ("cost", "expected"),
    [(0.00001234, "0.00001234"), (0, "0"), ("x", None), (-1, None), (True, None), (None, None)],
)
async def test_the_reported_cost_is_taken_exactly_or_not_at_all(cost, expected):
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "cost": cost}
    answer = httpx.Response(200, json=a_completion(usage=usage))
    client = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: answer))
    completion = await Aggregator("a", "http://a", "k", client, {}).complete("m", a_chat(), 5)
    assert completion.cost_usd == (None if expected is None else Decimal(expected))
