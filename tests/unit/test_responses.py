"""The Responses API as chat completions, judged by the `openai` SDK's own types and parsers."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from fareway.asks import Needs
from fareway.errors import BadRequest
from fareway.responses.events import Event, ResponseEvents
from fareway.responses.frames import ResponseFrames
from fareway.responses.output import response_of
from fareway.responses.request import ResponsesRequest, parse_response
from fareway.sse import Chunk, as_chunks
from tests.builders import a_completion, raw

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "Of a place.",
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
    "strict": True,
}
PNG = "data:image/png;base64,AA"


def asked(**fields: Any) -> ResponsesRequest:
    return parse_response(raw({"model": "fareway/auto", "input": "Capital of France?", **fields}))


def chat_of(**fields: Any) -> dict[str, Any]:
    return dict(asked(**fields).body)


def messages_of(*items: dict[str, Any]) -> list[dict[str, Any]]:
    return asked(input=list(items)).messages


# The request.


def test_a_string_is_the_users_message_and_instructions_the_systems() -> None:
    assert asked(instructions="Be brief.").messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Capital of France?"},
    ]


def test_a_whole_turn_with_tools_becomes_a_chat_history() -> None:
    messages = messages_of(
        {"role": "developer", "content": "Be brief."},
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What is this?"},
                {"type": "input_image", "image_url": PNG, "detail": "low"},
                {"type": "input_file", "filename": "a.pdf", "file_data": "JVBERi0="},
            ],
        },
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "I look.", "annotations": []}],
        },
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
        {"type": "function_call", "call_id": "c2", "name": "weather", "arguments": '{"p":1}'},
        {"type": "function_call_output", "call_id": "c1", "output": "4 C"},
        {
            "type": "function_call_output",
            "call_id": "c2",
            "output": [{"type": "input_text", "text": "5 C"}],
        },
    )
    assert messages == [
        {"role": "developer", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
                {"type": "file", "file": {"file_data": "JVBERi0=", "filename": "a.pdf"}},
            ],
        },
        {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "weather", "arguments": "{}"},
                },
                {
                    "id": "c2",
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"p":1}'},
                },
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "4 C"},
        {"role": "tool", "tool_call_id": "c2", "content": "5 C"},
    ]
    body = {"messages": messages}
    assert Needs.of(body, None, 1).capabilities == {"tools", "vision", "files"}


def test_a_call_after_a_result_is_a_turn_of_its_own() -> None:
    call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "c1", "output": "x"}
    roles = [m["role"] for m in messages_of(call, result, {**call, "call_id": "c2"})]
    assert roles == ["assistant", "tool", "assistant"]


def test_every_field_goes_by_its_name_in_chat() -> None:
    body = chat_of(
        tools=[WEATHER],
        tool_choice={"type": "function", "name": "weather"},
        parallel_tool_calls=False,
        text={
            "format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}},
            "verbosity": "low",
        },
        reasoning={"effort": "low", "summary": "auto"},
        max_output_tokens=50,
        temperature=0.5,
        top_p=0.9,
        top_logprobs=2,
        include=["message.output_text.logprobs"],
        metadata={"a": "b"},
        user="u",
        store=True,
        truncation="auto",
        stream=True,
        provider={"order": ["a"]},
    )
    messages = body.pop("messages")
    assert len(messages) == 1
    assert body == {
        "model": "fareway/auto",
        "tools": [
            {"type": "function", "function": {k: v for k, v in WEATHER.items() if k != "type"}}
        ],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "parallel_tool_calls": False,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": {"type": "object"}},
        },
        "verbosity": "low",
        "reasoning_effort": "low",
        "max_completion_tokens": 50,
        "temperature": 0.5,
        "top_p": 0.9,
        "logprobs": True,
        "top_logprobs": 2,
        "metadata": {"a": "b"},
        "user": "u",
        "stream": True,
        "stream_options": {"include_usage": True},
        "provider": {"order": ["a"]},
    }


def test_what_says_nothing_asks_for_nothing() -> None:
    assert set(
        chat_of(
            text={"format": {"type": "text"}}, tools=[], include=[], reasoning={}, temperature=None
        )
    ) == {"model", "messages"}


def test_a_choice_among_tools_is_nested_as_chat_has_it() -> None:
    choice = {
        "type": "allowed_tools",
        "mode": "required",
        "tools": [{"type": "function", "name": "weather"}],
    }
    assert chat_of(tools=[WEATHER], tool_choice=choice)["tool_choice"] == {
        "type": "allowed_tools",
        "allowed_tools": {
            "mode": "required",
            "tools": [{"type": "function", "function": {"name": "weather"}}],
        },
    }


def allowing(tools: object) -> dict[str, Any]:
    return {"tools": [WEATHER], "tool_choice": {"type": "allowed_tools", "tools": tools}}


def said(part: dict[str, Any]) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": [part]}]}


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id", "whole input"),
        ({"conversation": "conv_1"}, "conversation", "whole input"),
        ({"background": True}, "background", "keeps no"),
        ({"prompt": {"id": "p"}}, "prompt", "keeps no"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]", "'web_search' are not served"),
        ({"tools": [WEATHER, {"type": "file_search"}]}, "tools[1]", "not served"),
        ({"tools": [WEATHER], "tool_choice": {"type": "mcp"}}, "tool_choice", "not served"),
        (allowing(7), "tool_choice.tools", "valid list"),
        (allowing([["weather"]]), "tool_choice.tools[0].type", "Missing"),
        ({"tools": [{"type": "function"}]}, "tools[0].name", "Missing"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0]", "not served"),
        ({"input": [{"type": "computer_call_output"}]}, "input[0]", "not served"),
        ({"input": [{}]}, "input[0].type", "Missing"),
        ({"input": []}, "input", "at least 1"),
        ({"input": 5}, "input", "valid string"),
        ({"input": [{"type": "reasoning", "id": "r"}]}, "input", "nothing to answer"),
        ({"input": [{"role": "wizard", "content": "x"}]}, "input[0].role", "one of"),
        ({"input": [{"role": "user"}]}, "input[0].content", "Missing"),
        (said({"type": "input_image", "file_id": "f"}), "input[0].content[0]", "data URL"),
        (said({"type": "input_file", "file_url": "u"}), "input[0].content[0]", "base64"),
        (said({"type": "input_text"}), "input[0].content[0].text", "Missing"),
        (said({"type": "input_text", "text": 5}), "input[0].content[0].text", "valid string"),
        (
            {"input": [{"type": "function_call_output", "output": "x"}]},
            "input[0].call_id",
            "Missing",
        ),
        (
            {
                "input": [
                    {
                        "type": "function_call_output",
                        "call_id": "c",
                        "output": [{"type": "input_image", "image_url": PNG}],
                    }
                ]
            },
            "input[0].output",
            "user message",
        ),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.name", "Missing"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format.type", "json_schema"),
        ({"max_output_tokens": 0}, "max_output_tokens", "greater than"),
        ({"max_output_tokens": 10**30}, "max_output_tokens", "less than"),
        ({"temperature": "hot"}, "temperature", "valid number"),
    ],
)
def test_what_is_not_served_is_named_with_what_to_send(
    fields: dict[str, Any], param: str, says: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        asked(**fields)
    assert caught.value.param == param
    assert says in caught.value.message


# The answer.


def answered(
    choice: dict[str, Any] | None = None, *, completion: dict[str, Any] | None = None, **fields: Any
) -> Response:
    """A Response by way of its JSON, as strictly as the SDK's type can be read."""
    body = a_completion(**({"choices": [choice]} if choice else {}), **(completion or {}))
    made = response_of(asked(**fields), body, "resp_1", 1_700_000_000)
    return Response.model_validate_json(json.dumps(made), strict=True)


def test_a_completion_is_a_response() -> None:
    response = answered(metadata={"k": "v"}, temperature=0.5, tools=[WEATHER], instructions="Hm.")
    assert response.output_text == "Paris."
    assert (response.id, response.status, response.model) == (
        "resp_1",
        "completed",
        "deepseek-v4-flash",
    )
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens) == (1000, 500)
    assert (response.metadata, response.temperature) == ({"k": "v"}, 0.5)
    assert (response.tools[0].type, response.instructions) == ("function", "Hm.")
    assert response.model_extra == {"store": False}


def test_the_calls_of_functions_follow_what_was_said() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    message = {
        "role": "assistant",
        "content": "I look.",
        "tool_calls": [call, {**call, "id": "c2"}],
    }
    response = answered({"index": 0, "message": message, "finish_reason": "tool_calls"})
    assert [item.type for item in response.output] == ["message", "function_call", "function_call"]
    assert [i.call_id for i in response.output if i.type == "function_call"] == ["c1", "c2"]
    assert len({item.id for item in response.output}) == 3
    silent = answered(
        {"message": {**message, "content": None}, "finish_reason": "tool_calls"}
    ).output
    assert [item.type for item in silent] == ["function_call", "function_call"]


@pytest.mark.parametrize(
    ("finish_reason", "status", "reason"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        (None, "completed", None),
        ("length", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
    ],
)
def test_how_it_ended(finish_reason: str | None, status: str, reason: str | None) -> None:
    response = answered({"message": {"content": "Par"}, "finish_reason": finish_reason})
    assert (response.status, response.output[0].status) == (status, status)  # type: ignore[union-attr]
    assert (response.incomplete_details and response.incomplete_details.reason) == reason


def test_a_refusal_is_one() -> None:
    response = answered({"message": {"content": None, "refusal": "No."}, "finish_reason": "stop"})
    assert response.output[0].content[0].refusal == "No."  # type: ignore[union-attr]


def test_usage_keeps_its_details_whoever_reports_it() -> None:
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    told = answered(completion={"usage": usage}).usage
    assert told is not None
    assert told.input_tokens_details.cached_tokens == 4
    assert told.input_tokens_details.cache_write_tokens == 2
    assert (told.output_tokens_details.reasoning_tokens, told.total_tokens) == (3, 15)
    deepseek = {"prompt_tokens": 10, "prompt_cache_hit_tokens": 6, "completion_tokens": 1}
    told = answered(completion={"usage": deepseek}).usage
    assert told is not None
    assert told.input_tokens_details.cached_tokens == 6
    assert answered(completion={"usage": None}).usage is None


LOGPROBS = {
    "content": [
        {
            "token": "é",
            "logprob": -0.5,
            "bytes": None,
            "top_logprobs": [{"token": "e", "logprob": -1.0, "bytes": [101]}],
        }
    ]
}


def test_log_probabilities_come_with_the_text() -> None:
    response = answered(
        {"message": {"content": "é"}, "finish_reason": "stop", "logprobs": LOGPROBS},
        include=["message.output_text.logprobs"],
    )
    token = response.output[0].content[0].logprobs[0]  # type: ignore[union-attr]
    assert (token.token, token.bytes, token.top_logprobs[0].token) == ("é", [195, 169], "e")


# The stream.


def chunk(delta: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": None}
    choice |= {k: fields.pop(k) for k in ("finish_reason", "logprobs") if k in fields}
    return {"id": "c", "model": "gpt-5", "choices": [choice], **fields}


def call_chunk(index: int, arguments: str, call_id: str | None = None) -> dict[str, Any]:
    function = {"arguments": arguments} | ({"name": "weather"} if call_id else {})
    call = {"index": index, "function": function} | ({"id": call_id} if call_id else {})
    return chunk({"tool_calls": [call]})


USAGE = {
    "choices": [],
    "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    "model": "gpt-5",
}
TEXT = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "Pa"}),
    chunk({"content": "ris."}),
    chunk(finish_reason="stop"),
    USAGE,
]
CALLS = [
    chunk({"role": "assistant", "content": "I look."}),
    call_chunk(0, "", "c1"),
    call_chunk(0, '{"place":'),
    call_chunk(0, '"Oslo"}'),
    call_chunk(1, '{"place":"Rome"}', "c2"),
    chunk(finish_reason="tool_calls"),
    USAGE,
]


def streamed(chunks: list[dict[str, Any]], **fields: Any) -> list[Event]:
    """All events, each checked against the SDK's type for it."""
    stream = ResponseEvents(asked(stream=True, **fields), "resp_1", 1_700_000_000)
    events = [event for each in chunks for event in stream.feed(each)] + stream.finish()
    return checked(events)


def checked(events: list[Event]) -> list[Event]:
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    for event in events:
        EVENT.validate_json(json.dumps(event), strict=True)
    return events


def kinds(events: list[Event]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def test_a_text_is_opened_grown_and_closed() -> None:
    events = streamed(TEXT)
    assert kinds(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert events[0]["response"]["status"] == "in_progress"
    assert events[2]["item"]["content"] == []
    assert events[6]["text"] == "Paris."


def test_each_chunk_gives_its_events_at_once() -> None:
    stream = ResponseEvents(asked(stream=True), "resp_1", 0)
    assert [kinds(stream.feed(each)) for each in TEXT] == [
        ["created", "in_progress"],
        ["output_item.added", "content_part.added", "output_text.delta"],
        ["output_text.delta"],
        ["output_text.done", "content_part.done", "output_item.done"],
        [],
    ]
    assert kinds(stream.finish()) == ["completed"]


def test_calls_stream_in_parallel_and_close_in_order() -> None:
    events = streamed(CALLS)
    done = [e for e in events if e["type"] == "response.function_call_arguments.done"]
    assert [(e["output_index"], e["arguments"]) for e in done] == [
        (1, '{"place":"Oslo"}'),
        (2, '{"place":"Rome"}'),
    ]
    final = Response.model_validate(events[-1]["response"])
    assert [item.type for item in final.output] == ["message", "function_call", "function_call"]
    assert final.usage is not None
    assert final.usage.total_tokens == 10


def test_parallel_calls_under_one_index_are_told_apart_by_their_ids() -> None:
    events = streamed([call_chunk(0, "{}", "c1"), call_chunk(0, "[]", "c2"), chunk()])
    calls = events[-1]["response"]["output"]
    assert [(c["call_id"], c["arguments"]) for c in calls] == [("c1", "{}"), ("c2", "[]")]


def test_a_refusal_after_a_text_is_a_part_of_its_own() -> None:
    events = streamed([chunk({"content": "Well"}), chunk({"refusal": "No."}), USAGE])
    parts = events[-1]["response"]["output"][0]["content"]
    assert [part["type"] for part in parts] == ["output_text", "refusal"]
    assert "refusal.done" in kinds(events)


def test_the_usage_counts_on_a_chunk_with_choices_too() -> None:
    events = streamed([chunk({"content": "x"}, finish_reason="stop", usage=USAGE["usage"])])
    assert events[-1]["response"]["usage"]["output_tokens"] == 3


def test_log_probabilities_come_with_each_piece() -> None:
    events = streamed([chunk({"content": "é"}, logprobs=LOGPROBS), chunk(finish_reason="stop")])
    delta = next(e for e in events if e["type"] == "response.output_text.delta")
    assert delta["logprobs"][0]["token"] == "é"
    part = events[-1]["response"]["output"][0]["content"][0]
    assert len(part["logprobs"]) == 1


def test_a_cut_answer_is_incomplete() -> None:
    events = streamed([chunk({"content": "Par"}), chunk(finish_reason="length")])
    assert kinds(events)[-1] == "incomplete"
    assert events[-1]["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert events[-1]["response"]["output"][0]["status"] == "incomplete"


@pytest.mark.parametrize("chunks", [[], [USAGE], [chunk(finish_reason="stop")]])
def test_an_empty_answer_is_an_empty_message(chunks: list[dict[str, Any]]) -> None:
    events = streamed(chunks)
    assert Response.model_validate(events[-1]["response"]).output_text == ""
    assert kinds(events)[-4:] == [
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]


@pytest.mark.parametrize("fed", range(len(CALLS)))
def test_a_stream_that_breaks_anywhere_closes_what_was_open_and_says_why(fed: int) -> None:
    stream = ResponseEvents(asked(stream=True), "resp_1", 0)
    events = [event for each in CALLS[:fed] for event in stream.feed(each)]
    events += stream.fail({"message": "Gone.", "type": "rate_limit_error", "code": "x"})
    assert kinds(checked(events))[:2] == ["created", "in_progress"]
    response = events[-1]["response"]
    assert (response["status"], response["error"]) == (
        "failed",
        {"code": "rate_limit_exceeded", "message": "Gone."},
    )
    opened = [e["type"] for e in events].count("response.output_item.added")
    assert [e["type"] for e in events].count("response.output_item.done") == opened


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"choices": None},
        {"choices": ["x", {"delta": None}, {"index": 1, "delta": {"content": "other choice"}}]},
        chunk({"content": [{"type": "text"}], "tool_calls": ["x", {"function": None}]}),
        {"choices": 7},
        {"choices": [{"delta": ["x"]}]},
        chunk({"tool_calls": 7}),
        chunk({"tool_calls": [{"index": ["x"], "function": ["x"]}]}),
        chunk({"content": "x"}, logprobs={"content": [{}, "y", {"token": "x"}]}),
        chunk({"content": "x"}, usage={"prompt_tokens": "7"}),
    ],
)
def test_an_odd_chunk_breaks_nothing(odd: dict[str, Any]) -> None:
    assert kinds(streamed([odd, *TEXT]))[-1] == "completed"


def test_an_event_that_was_given_does_not_change() -> None:
    stream = ResponseEvents(asked(stream=True), "resp_1", 0)
    given = [event for each in CALLS[:3] for event in stream.feed(each)]
    before = json.dumps(given)
    for each in CALLS[3:]:
        stream.feed(each)
    stream.finish()
    assert json.dumps(given) == before


def test_a_stream_ends_as_the_response_that_is_not_streamed() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    completion = a_completion(
        choices=[
            {
                "index": 0,
                "message": {"role": "assistant", "content": "I look.", "tool_calls": [call]},
                "finish_reason": "tool_calls",
            }
        ]
    )
    request = asked(tools=[WEATHER])
    events = ResponseEvents(request, "resp_1", 5)
    for chunk in as_chunks(completion):
        events.feed(chunk)
    last = events.finish()[-1]
    assert last["response"] == response_of(request, completion, "resp_1", 5)


# The SDK reads it.


def wire(chunks: list[dict[str, Any]]) -> httpx.MockTransport:
    """Answers as Fareway's door would: what was asked is parsed, the answer is streamed or not."""

    def answer(request: httpx.Request) -> httpx.Response:
        parsed = parse_response(request.content)
        if not parsed.stream:
            return httpx.Response(200, json=response_of(parsed, a_completion(), "resp_1", 5))

        voice = ResponseFrames(ResponseEvents(parsed, "resp_1", 5))
        frames = [voice.chunk(Chunk(json.dumps(each), each)) or b"" for each in chunks]

        return httpx.Response(
            200,
            content=b"".join([*frames, voice.done()]),
            headers={"content-type": "text/event-stream"},
        )

    return httpx.MockTransport(answer)


def sync_client(chunks: list[dict[str, Any]]) -> OpenAI:
    return OpenAI(
        api_key="k", base_url="http://f/v1", http_client=httpx.Client(transport=wire(chunks))
    )


def async_client(chunks: list[dict[str, Any]]) -> AsyncOpenAI:
    http = httpx.AsyncClient(transport=wire(chunks))
    return AsyncOpenAI(api_key="k", base_url="http://f/v1", http_client=http)


class Weather(BaseModel):
    place: str


def test_the_sdk_reads_a_response() -> None:
    with sync_client([]) as client:
        response = client.responses.create(model="fareway/auto", input="Capital of France?")
    assert response.output_text == "Paris."


def test_the_sdk_accumulates_a_stream() -> None:
    with (
        sync_client(TEXT) as client,
        client.responses.stream(model="fareway/auto", input="Capital of France?") as stream,
    ):
        snapshots = [e.snapshot for e in stream if e.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert snapshots == ["Pa", "Paris."]
    assert (final.output_text, final.usage and final.usage.total_tokens) == ("Paris.", 10)


async def test_the_sdk_accumulates_a_stream_of_calls_async() -> None:
    async with async_client(CALLS) as client:
        tools: Any = [WEATHER]
        async with client.responses.stream(
            model="fareway/auto", input="Weather?", tools=tools
        ) as stream:
            final = await stream.get_final_response()
    calls = [item for item in final.output if item.type == "function_call"]
    assert [json.loads(call.arguments)["place"] for call in calls] == ["Oslo", "Rome"]


async def test_the_sdk_sees_each_raw_event_async() -> None:
    async with async_client(TEXT) as client:
        stream = await client.responses.create(model="fareway/auto", input="Hi", stream=True)
        seen = [event.type async for event in stream]
    assert (seen[0], seen[-1], len(seen)) == ("response.created", "response.completed", 10)


def test_the_sdk_parses_an_answer_by_a_schema() -> None:
    chunks = [chunk({"content": '{"place":"Oslo"}'}), chunk(finish_reason="stop"), USAGE]
    with (
        sync_client(chunks) as client,
        client.responses.stream(
            model="fareway/auto", input="Where?", text_format=Weather
        ) as stream,
    ):
        parsed = stream.get_final_response().output_parsed
    assert parsed == Weather(place="Oslo")


def test_a_conversation_goes_on_with_what_the_sdk_was_given() -> None:
    """The loop of an agent: the output's items go back in as they came."""
    with (
        sync_client(CALLS) as client,
        client.responses.stream(model="fareway/auto", input="Weather?") as stream,
    ):
        output = stream.get_final_response().output
    items = [item.model_dump(mode="json", exclude_none=True) for item in output]
    results = [
        {"type": "function_call_output", "call_id": item["call_id"], "output": "4 C"}
        for item in items
        if item["type"] == "function_call"
    ]
    messages = messages_of({"role": "user", "content": "Weather?"}, *items, *results)
    assert [m["role"] for m in messages] == ["user", "assistant", "tool", "tool"]
    assert [c["id"] for c in messages[1]["tool_calls"]] == ["c1", "c2"]
