"""What is sent to a batch endpoint, and what is read of its answers."""

import pytest

from fareway.batch.lanes import Offers, decision_of, lane_of
from fareway.batch.plan import seen
from fareway.batch.rows import Row
from fareway.errors import NoAggregator
from fareway.providers.anthropic_batch import MAX_TOKENS, params
from fareway.providers.anthropic_batch import _outcome as from_anthropic
from fareway.providers.openai_batch import _outcome as from_openai
from tests.builders import a_policy, a_verdict

POLICY = a_policy()
ALL = Offers(("openai", "anthropic"), ("tokenmix", "openrouter"))


def a_row(prompt="Hello", **fields):
    return Row(2, "1", [{"role": "user", "content": prompt}], **fields)


def lane(offers=ALL, complexity=1, sensitivity=0.01, row=None):
    row = row or a_row()
    decision = decision_of(POLICY, offers, row, a_verdict(complexity, sensitivity))
    return lane_of(POLICY, offers, row, decision)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"complexity": 1}, ("realtime", "deepseek-v4-flash")),
        ({"complexity": 3}, ("anthropic", "claude-haiku-4.5")),
        ({"complexity": 5}, ("openai", "gpt-5")),
        ({"complexity": 1, "sensitivity": 0.9}, ("anthropic", "claude-sonnet-5.5")),
        ({"row": a_row(model="fareway/premium")}, ("openai", "gpt-5")),
        ({"row": a_row(model="openai/gpt-4o-mini")}, ("openai", "gpt-4o-mini")),
        ({"row": a_row(model="somebody/some-model")}, ("realtime", "somebody/some-model")),
        # without a key for the first choice the tier's next model with an endpoint is taken
        ({"complexity": 3, "offers": Offers(("openai",), ())}, ("openai", "gpt-4o-mini")),
    ],
)
def test_a_row_goes_to_its_tiers_first_batch_endpoint(asked, expected):
    found = lane(**asked)
    assert (found.provider, found.model) == expected


def test_a_pin_does_not_lower_the_safety_floor():
    found = lane(sensitivity=0.9, row=a_row(model="fareway/cheap"))
    assert found.tier == "premium"


def test_a_row_that_nobody_can_answer_says_which_key_is_missing():
    with pytest.raises(NoAggregator, match="key"):
        lane(Offers(("openai",), ()), row=a_row(model="somebody/some-model"))


def test_turns_of_tools_are_not_sent_to_anthropics_batches():
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "y"},
    ]
    assert lane(complexity=3, row=Row(2, "1", messages)).provider == "openai"


def test_a_chat_becomes_a_message_of_anthropics():
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
    link = {"type": "image_url", "image_url": {"url": "https://x.org/a.png"}}
    told = params(
        {
            "model": "claude-haiku-4-5",
            "max_completion_tokens": 9,
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "developer", "content": [{"type": "text", "text": "In French."}]},
                {"role": "user", "content": [{"type": "text", "text": "What?"}, picture, link]},
                {"role": "assistant", "content": "A cat."},
                {"role": "user", "content": "Sure?"},
            ],
        }
    )
    assert told == {
        "model": "claude-haiku-4-5",
        "max_tokens": 9,
        "system": "Be brief.\n\nIn French.",
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What?"},
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"},
                    },
                    {"type": "image", "source": {"type": "url", "url": "https://x.org/a.png"}},
                ],
            },
            {"role": "assistant", "content": "A cat."},
            {"role": "user", "content": "Sure?"},
        ],
    }


def test_a_message_without_a_limit_gets_one():
    assert params({"model": "m", "messages": a_row().messages})["max_tokens"] == MAX_TOKENS


@pytest.mark.parametrize(
    ("response", "error", "expected"),
    [
        (
            {"status_code": 500, "body": {"error": {"code": "server_error"}}},
            None,
            ("errored", True),
        ),
        ({"status_code": 429, "body": {}}, None, ("errored", True)),
        ({"status_code": 400, "body": {"error": {"message": "bad"}}}, None, ("errored", False)),
        (None, {"code": "batch_expired", "message": "late"}, ("expired", True)),
        (None, {"code": "batch_cancelled", "message": "stopped"}, ("cancelled", True)),
        (None, None, ("errored", True)),
    ],
)
def test_what_openai_says_of_a_failed_request(response, error, expected):
    told = from_openai({"custom_id": "x", "response": response, "error": error})
    assert (told.status, told.retryable) == expected
    assert told.error


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"type": "expired"}, ("expired", True)),
        ({"type": "canceled"}, ("cancelled", True)),
        ({"type": "errored", "error": {"type": "error", "error": {"type": "overloaded_error"}}},
         ("errored", True)),
        ({"type": "errored", "error": {"type": "invalid_request_error", "message": "bad"}},
         ("errored", False)),
    ],
)  # fmt: skip
def test_what_anthropic_says_of_a_failed_request(result, expected):
    told = from_anthropic({"custom_id": "x", "result": result})
    assert (told.status, told.retryable) == expected
    assert told.error


def test_only_rows_that_ask_the_same_are_repeated():
    rows = [
        Row(2, "a", [{"role": "user", "content": "x"}]),
        Row(3, "b", [{"role": "user", "content": "x"}]),
        Row(4, "c", [{"role": "user", "content": "x"}], max_tokens=5),
        Row(5, "d", [{"role": "user", "content": "x"}], model="fareway/mid"),
    ]
    with seen() as first_of:
        assert [first_of(row) for row in rows] == [2, 2, 4, 5]
