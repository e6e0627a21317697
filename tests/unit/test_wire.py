import pytest

from fareway.errors import BadRequest, PayloadTooLarge
from fareway.wire import MAX_BODY_BYTES, MAX_MESSAGES, parse_chat
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
        pytest.param(a_chat(max_tokens=True), "max_tokens", id="max_tokens is true"),
        pytest.param(a_chat(temperature="hot"), "temperature", id="temperature is a word"),
        pytest.param(a_chat(n=0), "n", id="n is 0"),
        pytest.param(a_chat(tools={}), "tools", id="tools is an object"),
        pytest.param(a_chat(user=5), "user", id="user is a number"),
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
