import json

from openai.types.chat import ChatCompletionChunk

from fareway.sse import as_events
from tests.builders import a_completion


def chunks(events):
    frames = "".join(events).split("\n\n")
    assert frames[-2:] == ["data: [DONE]", ""]
    return [ChatCompletionChunk.model_validate(json.loads(f[6:])) for f in frames[:-2]]


def test_the_whole_message_arrives_and_the_stream_ends():
    first, last = chunks(as_events(a_completion(), include_usage=False))
    assert (first.choices[0].delta.role, first.choices[0].delta.content) == ("assistant", "Paris.")
    assert first.choices[0].finish_reason is None
    assert last.choices[0].finish_reason == "stop"


def test_usage_comes_last_and_only_if_asked_for():
    *others, last = chunks(as_events(a_completion(), include_usage=True))
    assert (last.choices, last.usage.total_tokens) == ([], 1500)
    assert all(c.usage is None for c in others)
    assert all(c.usage is None for c in chunks(as_events(a_completion(), include_usage=False)))


def test_tool_calls_get_their_index():
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call, {**call, "id": "c2"}]}
    choices = [{"index": 0, "message": message, "finish_reason": "tool_calls"}]
    first, last = chunks(as_events(a_completion(choices=choices), include_usage=False))
    assert [(c.index, c.id) for c in first.choices[0].delta.tool_calls] == [(0, "c1"), (1, "c2")]
    assert last.choices[0].finish_reason == "tool_calls"


def test_every_choice_is_streamed():
    one = a_completion()["choices"][0]
    events = as_events(a_completion(choices=[one, {**one, "index": 1}]), include_usage=False)
    assert [c.choices[0].index for c in chunks(events)] == [0, 0, 1, 1]
