import pytest

from fareway.body import MAX_BODY_BYTES
from fareway.errors import BadRequest, PayloadTooLarge
from fareway.wire import MAX_MESSAGES, parse_chat
from tests.builders import a_chat, raw


def test_a_request_keeps_its_unknown_fields_untouched():
    body = a_chat(seed=7, some_vendor_option={"deep": [1, 2]}, reasoning_effort="low")
    assert parse_chat(raw(body)).body == body


@pytest.mark.parametrize(
    ("body", "param"),
    [
        pytest.param(a_chat(messages="hello"), "messages", id="messages is a string"),
        pytest.param(a_chat(messages=[]), "messages", id="no message"),
        pytest.param({"model": "fareway/auto"}, "messages", id="messages missing"),
        pytest.param({"messages": [{"role": "user", "content": "x"}]}, "model", id="no model"),
        pytest.param(a_chat(model=5), "model", id="model is a number"),
        pytest.param(a_chat(model="two words"), "model", id="model has a blank"),
        pytest.param(a_chat(messages=["hi"]), "messages[0]", id="message is a string"),
        pytest.param(
            a_chat(messages=[{"role": "wizard", "content": "x"}]), "messages[0].role", id="role"
        ),
        pytest.param(
            a_chat(messages=[{"role": "user", "content": 5}]), "messages[0].content", id="content"
        ),
        pytest.param(
            a_chat(messages=[{"role": "user", "content": [{"text": "x"}]}]),
            "messages[0].content[0].type",
            id="part without a type",
        ),
        pytest.param(a_chat(stream="yes"), "stream", id="stream is a string"),
        pytest.param(a_chat(max_tokens=0), "max_tokens", id="max_tokens is 0"),
        pytest.param(a_chat(max_tokens=10**30), "max_tokens", id="max_tokens is no model's"),
        pytest.param(a_chat(max_tokens=True), "max_tokens", id="max_tokens is true"),
        pytest.param(a_chat(temperature="hot"), "temperature", id="temperature is a word"),
        pytest.param(a_chat(n=0), "n", id="n is 0"),
        pytest.param(a_chat(tools={}), "tools", id="tools is an object"),
        pytest.param(a_chat(user=5), "user", id="user is a number"),
        pytest.param(a_chat(n=129), "n", id="n is 129"),
        pytest.param(a_chat(seed=1.5), "seed", id="seed is no integer"),
        pytest.param(a_chat(top_logprobs=3), "top_logprobs", id="top_logprobs alone"),
        pytest.param(
            a_chat(logprobs=True, top_logprobs=21), "top_logprobs", id="top_logprobs is 21"
        ),
        pytest.param(
            a_chat(messages=[{"role": "user"}]), "messages[0].content", id="user says nothing"
        ),
        pytest.param(
            a_chat(messages=[{"role": "tool", "content": "4"}]),
            "messages[0].tool_call_id",
            id="result of no call",
        ),
        pytest.param(
            a_chat(messages=[{"role": "assistant", "tool_calls": [{"function": {}}]}]),
            "messages[0].tool_calls[0].id",
            id="call without an id",
        ),
        pytest.param(a_chat(tools=[{}]), "tools[0].type", id="tool without a type"),
        pytest.param(
            a_chat(tools=[{"type": "function"}]), "tools[0].function", id="tool without a function"
        ),
        pytest.param(
            a_chat(tools=[{"type": "function", "function": {}}]),
            "tools[0].function.name",
            id="function without a name",
        ),
        pytest.param(a_chat(tool_choice=1), "tool_choice", id="tool_choice is a number"),
        pytest.param(
            a_chat(response_format={"json_schema": {}}), "response_format.type", id="format"
        ),
        pytest.param(
            a_chat(response_format={"type": "json_schema"}),
            "response_format.json_schema",
            id="no schema",
        ),
        pytest.param(
            a_chat(response_format={"type": "json_schema", "json_schema": {"schema": {}}}),
            "response_format.json_schema.name",
            id="schema without a name",
        ),
    ],
)
def test_a_wrong_field_is_named(body, param):
    with pytest.raises(BadRequest) as caught:
        parse_chat(raw(body))
    assert caught.value.status == 400
    assert caught.value.param == param
    assert param in caught.value.message


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="cut"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'"hello"', id="a string"),
        pytest.param(b"\xff\xfe{}", id="not UTF-8"),
        pytest.param(b'{"model": NaN}', id="NaN"),
    ],
)
def test_what_is_no_json_object_is_refused(body):
    with pytest.raises(BadRequest) as caught:
        parse_chat(body)
    assert caught.value.code == "invalid_json"


@pytest.mark.parametrize("levels", [65, 5_000, 200_000])
def test_deep_nesting_is_refused_at_any_depth(levels):
    body = b'{"model":"m","messages":[{"role":"user","content":"x"}],"deep":%s1%s}'
    with pytest.raises(BadRequest) as caught:
        parse_chat(body % (b"[" * levels, b"]" * levels))
    assert caught.value.code == "json_too_deep"


def test_five_megabytes_of_text_are_too_much():
    with pytest.raises(PayloadTooLarge) as caught:
        parse_chat(raw(a_chat("x" * 5_000_000)))
    assert caught.value.status == 413
    assert str(MAX_BODY_BYTES) in caught.value.message


def test_two_thousand_messages_are_too_many():
    with pytest.raises(BadRequest) as caught:
        parse_chat(raw(a_chat(messages=[{"role": "user", "content": "x"}] * 2_000)))
    assert caught.value.param == "messages"
    assert str(MAX_MESSAGES) in caught.value.message


@pytest.mark.parametrize(
    "message",
    [
        pytest.param({"role": "assistant", "content": None, "tool_calls": []}, id="no content"),
        pytest.param({"role": "tool", "content": "42", "tool_call_id": "c1"}, id="tool result"),
        pytest.param({"role": "developer", "content": "Be brief."}, id="developer"),
        pytest.param(
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is it?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
                ],
            },
            id="vision",
        ),
        pytest.param({"role": "user", "content": "\ud800 lone surrogate"}, id="surrogate"),
    ],
)
def test_every_kind_of_message_passes(message):
    assert parse_chat(raw(a_chat(messages=[message]))).messages == [message]


CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"n": 128, "seed": -1, "logprobs": True, "top_logprobs": 20}, id="numbers"),
        pytest.param({"top_logprobs": 0}, id="no top_logprobs"),
        pytest.param({"logit_bias": {"50256": -100}, "stop": ["a"] * 4}, id="biased"),
        pytest.param({"temperature": 0, "top_p": 1, "presence_penalty": -2}, id="integers"),
        pytest.param(
            dict.fromkeys(
                [
                    "n",
                    "stop",
                    "seed",
                    "tools",
                    "tool_choice",
                    "response_format",
                    "logprobs",
                    "top_logprobs",
                    "logit_bias",
                    "modalities",
                    "reasoning_effort",
                    "temperature",
                    "max_tokens",
                    "stream",
                    "stream_options",
                    "parallel_tool_calls",
                    "metadata",
                ]
            ),
            id="nulls",
        ),
        pytest.param(
            {
                "tools": [
                    {"type": "function", "function": {"name": "f"}},
                    {"type": "custom", "custom": {"name": "c"}},
                    {"type": "vendor:search"},
                ],
                "tool_choice": {"type": "allowed_tools", "allowed_tools": {}},
            },
            id="every kind of tool",
        ),
        pytest.param(
            {"functions": [{"name": "f"}], "function_call": {"name": "f"}}, id="functions"
        ),
        pytest.param(
            {
                "messages": [
                    {"role": "assistant", "tool_calls": [CALL]},
                    {"role": "assistant", "tool_calls": [{"id": "c", "type": "custom"}]},
                    {"role": "assistant", "content": None, "function_call": {"name": "f"}},
                    {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
                    {"role": "function", "name": "f", "content": None},
                ]
            },
            id="assistants",
        ),
        pytest.param(
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}}, id="schema"
        ),
        pytest.param(
            {"response_format": {"type": "grammar", "grammar": "x"}}, id="vendor's format"
        ),
        pytest.param({"modalities": ["text", "audio"], "audio": {"voice": "v"}}, id="audio"),
    ],
)
def test_what_openai_accepts_is_not_refused(fields):
    body = a_chat(**fields)
    assert parse_chat(raw(body)).body == body
