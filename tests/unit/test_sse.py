import json

import pytest
from openai.types.chat import ChatCompletionChunk

from fareway import sse
from fareway.errors import ProviderError
from fareway.sse import Events, as_chunks, frame
from tests.builders import a_completion

STREAM = (
    b": OPENROUTER PROCESSING\r\n\r\n"
    b'data: {"a":\ndata:  "\xc3\xa9"}\n\nevent: ping\nid: 7\ndata:[DONE]\n\ndata: last'
)
MEANT = [None, '{"a":\n "é"}', "[DONE]", "last"]


def told(*parts):
    events = Events()
    return [data for part in parts for data in events.feed(part)] + [*events.end()]


def test_events_are_the_same_wherever_the_bytes_are_cut():
    assert told(STREAM) == MEANT
    assert told(*(bytes([byte]) for byte in STREAM)) == MEANT
    for at in range(len(STREAM)):
        assert told(STREAM[:at], STREAM[at:]) == MEANT


def test_lines_may_end_in_a_bare_cr_wherever_the_bytes_are_cut():
    for ending in (b"\r", b"\r\n"):
        stream = b": hi\n\ndata: 1\n\ndata: 2\ndata: 3\n\n".replace(b"\n", ending)
        assert told(stream) == [None, "1", "2\n3"]
        assert told(*(bytes([byte]) for byte in stream)) == [None, "1", "2\n3"]


def test_an_event_without_words_only_keeps_the_connection_alive():
    assert told(b"data:\n\ndata: \n\ndata: 1\n\n") == [None, None, "1"]


def test_an_event_is_told_as_soon_as_its_blank_line_is_there():
    events = Events()
    assert [*events.feed(b"data: 1\n\ndata: 2\n")] == ["1"]
    assert [*events.feed(b"\n")] == ["2"]


@pytest.mark.parametrize("bad", [b"data: \xff\n\n", b"data: " + b"x" * 2_000])
def test_what_is_no_text_or_never_ends_is_a_bad_line(bad, monkeypatch):
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1_000)
    with pytest.raises(ProviderError, match="bad_line"):
        told(bad)


def test_a_frame_is_one_event_and_one_line():
    assert frame({"a": "x\ny"}) == b'data: {"a":"x\\ny"}\n\n'
    assert frame('{"a":\n1}', "ping") == b'event: ping\ndata: {"a": 1}\n\n'


def chunks(**fields):
    said = [ChatCompletionChunk.model_validate(c) for c in as_chunks(a_completion(**fields))]
    return [c for c in said if c.choices]


def test_a_whole_completion_becomes_chunks():
    first, last = chunks()
    assert (first.choices[0].delta.role, first.choices[0].delta.content) == ("assistant", "Paris.")
    assert first.choices[0].finish_reason is None
    assert last.choices[0].finish_reason == "stop"
    assert [*as_chunks(a_completion())][-1]["usage"]["total_tokens"] == 1500


def test_tool_calls_get_their_index():
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call, {**call, "id": "c2"}]}
    first, last = chunks(choices=[{"index": 0, "message": message, "finish_reason": "tool_calls"}])
    assert [(c.index, c.id) for c in first.choices[0].delta.tool_calls] == [(0, "c1"), (1, "c2")]
    assert last.choices[0].finish_reason == "tool_calls"


def test_every_choice_is_told():
    one = a_completion()["choices"][0]
    assert [c.choices[0].index for c in chunks(choices=[one, {**one, "index": 1}])] == [0, 0, 1, 1]


def test_what_is_framed_is_read_back():
    said = [*as_chunks(a_completion())]
    assert [json.loads(d) for d in told(b"".join(map(frame, said)))] == said


def test_calls_that_are_none_are_left_out_of_the_chunks():
    message = {"role": "assistant", "content": None, "tool_calls": [1, {"id": "c"}]}
    first, _ = chunks(choices=[{"index": 0, "message": message, "finish_reason": "stop"}])
    assert [call.id for call in first.choices[0].delta.tool_calls] == ["c"]
