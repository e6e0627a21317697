"""Bytes -> a checked chat request. The formats are OpenAI's; unknown fields pass untouched.

Source: the `openai` SDK's types/chat/completion_create_params.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fareway.body import field_error, missing, parse_object
from fareway.errors import BadRequest

MAX_MESSAGES = 1_000
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")]
#: On a completion, tokens; no model gives nearly as many.
Limit = Annotated[int, Field(ge=1, lt=2**31)]


class _Open(BaseModel):
    """An object with fields that are none of our business; they stay as they are."""

    model_config = ConfigDict(extra="allow", strict=True)


class _Part(_Open):
    type: Annotated[str, Field(min_length=1)]
    text: str | None = None


class _CalledFunction(_Open):
    name: str
    arguments: str


class _ToolCall(_Open):
    id: str
    function: _CalledFunction | None = None


class _Message(_Open):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | Annotated[list[_Part], Field(min_length=1)] | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str | None = None


class _Named(_Open):
    name: Annotated[str, Field(min_length=1)]


class _Tool(_Open):
    type: Annotated[str, Field(min_length=1)]
    function: _Named | None = None
    custom: _Named | None = None


class _Format(_Open):
    type: Annotated[str, Field(min_length=1)]
    json_schema: _Named | None = None


class _StreamOptions(_Open):
    include_usage: bool | None = None


class _ChatBody(_Open):
    """What Fareway itself reads, and what would otherwise fail upstream for certain."""

    model: Name
    messages: Annotated[list[_Message], Field(min_length=1)]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: Limit | None = None
    max_completion_tokens: Limit | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    tools: list[_Tool] | None = None
    functions: list[_Named] | None = None
    tool_choice: str | dict[str, Any] | None = None
    function_call: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: _Format | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    logit_bias: dict[str, float] | None = None
    modalities: list[str] | None = None
    reasoning_effort: str | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """What is fit to be sent on.

    Args:
        body: the caller's JSON as it came, unknown fields too.
    """

    body: Mapping[str, Any]
    model: str
    stream: bool

    @property
    def named(self) -> tuple[str, ...]:
        """Every model that the request names: OpenRouter's `models` are where it would go on to."""
        others = self.body.get("models")
        return (self.model, *map(str, others if isinstance(others, list) else ()))

    def words(self) -> Iterator[str]:
        """What is asked, for counting."""
        return words([self.body.get("messages"), self.body.get("input")])


@dataclass(frozen=True, slots=True)
class ChatRequest(Request):
    """A chat completion request.

    Args:
        max_completion_tokens: the caller's limit on the answer, tokens.
    """

    messages: list[dict[str, Any]]
    include_usage: bool
    max_completion_tokens: int | None
    choices: int


def parse_chat(raw: bytes) -> ChatRequest:
    """A request body -> ChatRequest.

    Raises:
        PayloadTooLarge: over `MAX_BODY_BYTES`.
        BadRequest: no JSON object, nested too deep, too many messages, or a field of the
            wrong type; `param` names the field.
    """
    return chat_request(parse_object(raw))


def chat_request(body: dict[str, Any]) -> ChatRequest:
    """A request's JSON -> ChatRequest.

    Raises:
        BadRequest: as `parse_chat`.
    """
    messages = body.get("messages")
    if isinstance(messages, list) and len(messages) > MAX_MESSAGES:
        raise BadRequest(
            f"'messages' has {len(messages)} entries; at most {MAX_MESSAGES} are accepted. "
            "Drop or summarise the oldest turns.",
            param="messages",
            code="too_many_messages",
        )
    try:
        chat = _ChatBody.model_validate(body)
    except ValidationError as error:
        raise field_error(error) from error
    _check_messages(chat.messages)
    _check_tools(chat.tools or [])
    _check_answer(chat)
    return ChatRequest(
        body=body,
        model=chat.model,
        stream=bool(chat.stream),
        messages=body["messages"],
        include_usage=bool(chat.stream_options and chat.stream_options.include_usage),
        max_completion_tokens=chat.max_completion_tokens or chat.max_tokens,
        choices=chat.n or 1,
    )


class _Messages(BaseModel):
    messages: Annotated[list[_Message], Field(min_length=1, max_length=MAX_MESSAGES)]


def parse_messages(messages: object) -> list[dict[str, Any]]:
    """The `messages` of a line in a file, checked as a request's are.

    Raises:
        BadRequest: naming the message and the field.
    """
    try:
        checked = _Messages.model_validate({"messages": messages})
    except ValidationError as error:
        raise field_error(error) from error
    _check_messages(checked.messages)
    return cast("list[dict[str, Any]]", messages)


def _check_messages(messages: list[_Message]) -> None:
    """What one field alone does not tell: which message needs a content, or the call's id."""
    for i, message in enumerate(messages):
        if message.content is None and message.role not in ("assistant", "function"):
            raise missing(f"messages[{i}].content")
        if message.role == "tool" and message.tool_call_id is None:
            raise missing(f"messages[{i}].tool_call_id")


def _check_tools(tools: list[_Tool]) -> None:
    for i, tool in enumerate(tools):
        if tool.type == "function" and tool.function is None:
            raise missing(f"tools[{i}].function")
        if tool.type == "custom" and tool.custom is None:
            raise missing(f"tools[{i}].custom")


def _check_answer(chat: _ChatBody) -> None:
    format_ = chat.response_format
    if format_ is not None and format_.type == "json_schema" and format_.json_schema is None:
        raise missing("response_format.json_schema")
    if chat.top_logprobs and not chat.logprobs:
        raise BadRequest(
            "'top_logprobs' needs 'logprobs' to be true.",
            param="top_logprobs",
            code="invalid_value",
        )


#: Of a message, a delta, or a part of one: the fields that hold words.
_WORDS = (
    "content", "refusal", "reasoning", "reasoning_content", "text", "transcript",
    "tool_calls", "function_call", "function", "name", "arguments",
)  # fmt: skip


def words(value: object) -> Iterator[str]:
    """The words in messages, deltas or their parts; of pictures and sounds there are none."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from words(part)
    elif isinstance(value, dict):
        for name in _WORDS:
            yield from words(value.get(name))
