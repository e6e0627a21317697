"""A request of OpenAI's Responses API -> the chat request that asks the same, routed as any other.

Nothing is stored: what would need an earlier response, a stored image or a hosted tool is refused,
and the refusal says what to send instead. The way back is `response_output`, or `response_events`
for a stream.

Source: the `openai` SDK's types/responses/response_create_params.py, and
developers.openai.com/api/docs/guides/migrate-to-responses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fareway.body import field_error, parse_object
from fareway.errors import BadRequest
from fareway.responses.input import chat_messages, chat_tool_choice, chat_tools
from fareway.wire import ChatRequest, Limit, chat_request

#: Fields that mean the same in both protocols, under the same name.
_SAME = (
    "model",
    "temperature",
    "top_p",
    "parallel_tool_calls",
    "metadata",
    "user",
    "safety_identifier",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "moderation",
)
#: Fields that are translated, or that ask for what we do not do and may be left unasked.
_OWN = frozenset(
    {
        "input",
        "instructions",
        "tools",
        "tool_choice",
        "text",
        "reasoning",
        "max_output_tokens",
        "top_logprobs",
        "include",
        "stream",
        "stream_options",
        "store",
        "truncation",
        "background",
        "background_options",
        "max_tool_calls",
        "context_management",
        "access_programs",
        "image",
        "previous_response_id",
        "conversation",
        "prompt",
    }
)
#: Fields that a Response repeats, and what stands there where the request has none.
_ECHOED: Mapping[str, Any] = {
    "instructions": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "temperature": None,
    "top_p": None,
    "tool_choice": "auto",
    "tools": [],
    "max_output_tokens": None,
    "reasoning": {"effort": None, "summary": None},
    "text": {"format": {"type": "text"}},
    "top_logprobs": 0,
    "user": None,
    "safety_identifier": None,
    "prompt_cache_key": None,
}


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class _Format(_Open):
    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None


class _Text(_Open):
    format: _Format | None = None
    verbosity: str | None = None


class _Reasoning(_Open):
    effort: str | None = None


class _Body(_Open):
    """What is translated; the rest is checked as the chat request that it becomes."""

    model: str
    input: str | Annotated[list[dict[str, Any]], Field(min_length=1, max_length=1_000)]
    instructions: str | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    text: _Text | None = None
    reasoning: _Reasoning | None = None
    max_output_tokens: Limit | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    include: list[str] | None = None
    stream: bool | None = None
    store: bool | None = None
    background: bool | None = None


@dataclass(frozen=True, slots=True)
class ResponsesRequest(ChatRequest):
    """A request to `/v1/responses`, as the chat request that asks the same.

    Args:
        echo: the fields of the request that a Response repeats.
    """

    echo: Mapping[str, Any]


def parse_response(raw: bytes) -> ResponsesRequest:
    """The body of a request to `/v1/responses`.

    Raises:
        PayloadTooLarge: over the limit.
        BadRequest: not JSON, a wrong field (`param` names it as the caller wrote it), or
            something that Fareway does not serve.
    """
    body = parse_object(raw)
    try:
        asked = _Body.model_validate(body)
    except ValidationError as error:
        raise field_error(error) from error
    _refuse_what_is_stored(body)
    chat: dict[str, Any] = {name: body[name] for name in _SAME if body.get(name) is not None}
    chat["messages"] = chat_messages(asked.input, asked.instructions)
    chat |= _answer_fields(asked)
    if asked.tools:
        chat["tools"] = chat_tools(asked.tools)
        if asked.tool_choice is not None:
            chat["tool_choice"] = chat_tool_choice(asked.tool_choice)
    if asked.stream:
        chat |= {"stream": True, "stream_options": {"include_usage": True}}
    # What is no field of this API is a vendor's own; it goes on as it would in a chat request.
    known = _OWN.union(_SAME, chat)
    chat |= {name: value for name, value in body.items() if name not in known}
    echo = {
        name: body[name] if body.get(name) is not None else default
        for name, default in _ECHOED.items()
    }
    asks = chat_request(chat)
    fields = {name: getattr(asks, name) for name in ChatRequest.__dataclass_fields__}
    return ResponsesRequest(**fields, echo=echo)


def _refuse_what_is_stored(body: Mapping[str, Any]) -> None:
    for name in ("previous_response_id", "conversation", "background", "prompt"):
        if body.get(name):
            raise BadRequest(
                f"'{name}' is not served: Fareway keeps no responses, conversations or prompts. "
                "Send the whole input with each request.",
                param=name,
                code="unsupported_parameter",
            )


def _answer_fields(asked: _Body) -> dict[str, Any]:
    """What the answer is to be like: its length, format, effort and log probabilities."""
    fields: dict[str, Any] = {}
    if asked.max_output_tokens is not None:
        fields["max_completion_tokens"] = asked.max_output_tokens
    if asked.reasoning is not None and asked.reasoning.effort is not None:
        fields["reasoning_effort"] = asked.reasoning.effort
    if asked.text is not None and asked.text.verbosity is not None:
        fields["verbosity"] = asked.text.verbosity
    if asked.text is not None and asked.text.format is not None:
        fields |= _response_format(asked.text.format)
    if asked.top_logprobs or "message.output_text.logprobs" in (asked.include or ()):
        fields |= {"logprobs": True, "top_logprobs": asked.top_logprobs or 0}
    return fields


def _response_format(format_: _Format) -> dict[str, Any]:
    if format_.type == "text":
        return {}
    if format_.type == "json_object":
        return {"response_format": {"type": "json_object"}}
    for name, value in (("name", format_.name), ("schema", format_.schema_)):
        if value is None:
            path = f"text.format.{name}"
            raise BadRequest(
                f"Missing required parameter: '{path}'.",
                param=path,
                code="missing_required_parameter",
            )
    schema = format_.model_dump(by_alias=True, exclude={"type"}, exclude_none=True)
    return {"response_format": {"type": "json_schema", "json_schema": schema}}
