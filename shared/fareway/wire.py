"""Bytes -> a checked chat request. The formats are OpenAI's; unknown fields pass untouched.

Source: the `openai` SDK's types/chat/completion_create_params.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from fareway.errors import BadRequest, PayloadTooLarge

MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_MESSAGES = 1_000
MAX_DEPTH = 64
MAX_INPUTS = 2_048  # of one request for embeddings, as OpenAI has it
_Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)
    type: Annotated[str, Field(min_length=1)]
    text: str | None = None


class _Message(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | Annotated[list[_Part], Field(min_length=1)] | None = None


class _StreamOptions(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)
    include_usage: bool | None = None


class _ChatBody(BaseModel):
    """What Fareway itself reads, and what would otherwise fail upstream for certain."""

    model_config = ConfigDict(extra="allow", strict=True)
    model: _Name
    messages: Annotated[list[_Message], Field(min_length=1)]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    stop: str | list[str] | None = None
    tools: list[dict[str, Any]] | None = None
    response_format: dict[str, Any] | None = None
    logprobs: bool | None = None
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


class _EmbeddingsBody(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)
    model: _Name
    input: (
        Annotated[str, Field(min_length=1)]
        | Annotated[list[str], Field(min_length=1, max_length=MAX_INPUTS)]
        | Annotated[list[int], Field(min_length=1)]
        | Annotated[list[list[int]], Field(min_length=1, max_length=MAX_INPUTS)]
    )


@dataclass(frozen=True, slots=True)
class EmbeddingsRequest(Request):
    """A request for embeddings. Units: `prompt_tokens` tokens, an estimate where there is text."""

    prompt_tokens: int


def parse_embeddings(raw: bytes) -> EmbeddingsRequest:
    """A request body -> EmbeddingsRequest.

    Source: the `openai` SDK's types/embedding_create_params.py.

    Raises:
        PayloadTooLarge, BadRequest: as `parse_chat`.
    """
    body = parse_object(raw)
    try:
        asked = _EmbeddingsBody.model_validate(body)
    except ValidationError as error:
        raise _field_error(error) from error
    return EmbeddingsRequest(body, asked.model, False, _tokens(asked.input))


def _tokens(value: Any) -> int:
    """Four characters a token; a number is a token already."""
    if isinstance(value, list):
        return sum(map(_tokens, value))
    return len(value) // 4 + 1 if isinstance(value, str) else 1


def parse_chat(raw: bytes) -> ChatRequest:
    """A request body -> ChatRequest.

    Raises:
        PayloadTooLarge: over `MAX_BODY_BYTES`.
        BadRequest: no JSON object, nested too deep, too many messages, or a field of the
            wrong type; `param` names the field.
    """
    body = parse_object(raw)
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
        raise _field_error(error) from error
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
        _Messages.model_validate({"messages": messages})
    except ValidationError as error:
        raise _field_error(error) from error
    return cast("list[dict[str, Any]]", messages)


def parse_object(raw: bytes) -> dict[str, Any]:
    """A body of UTF-8 JSON -> its object, within the limits on size and depth.

    Raises:
        PayloadTooLarge: over `MAX_BODY_BYTES`.
        BadRequest: it is not one JSON object, or nested deeper than `MAX_DEPTH`.
    """
    if len(raw) > MAX_BODY_BYTES:
        raise PayloadTooLarge(
            f"The request body is over the limit of {MAX_BODY_BYTES} bytes. "
            "Shorten 'messages', or send files by reference."
        )
    too_deep = BadRequest(
        f"The JSON body is nested more than {MAX_DEPTH} levels deep. Flatten it.",
        code="json_too_deep",
    )
    try:
        body = json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise BadRequest(
            f"The request body is not UTF-8 (byte {error.start}).", code="invalid_json"
        ) from error
    except RecursionError as error:
        raise too_deep from error
    except ValueError as error:
        raise BadRequest(f"The request body is not JSON: {error}.", code="invalid_json") from error
    if not isinstance(body, dict):
        raise BadRequest("The request body must be a JSON object.", code="invalid_json")
    if _depth(body) > MAX_DEPTH:
        raise too_deep
    return body


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _depth(body: object) -> int:
    depth, layer = 0, [body]
    while layer:
        depth += 1
        layer = [
            child
            for node in layer
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
    return depth


def _field_error(error: ValidationError) -> BadRequest:
    """The first fault, under the path that the caller wrote: `messages[3].content`."""
    faults = error.errors(include_url=False, include_input=False)
    # A union reports a fault for each of its branches; the deepest is the one that was meant.
    branches = [f for f in faults if _path(f) == _path(faults[0])] + [
        f for f in faults if len(f["loc"]) > len(faults[0]["loc"]) and _same_field(f, faults[0])
    ]
    first = max(branches, key=lambda fault: len(fault["loc"]))
    path = _path(first)
    if first["type"] == "missing":
        return BadRequest(
            f"Missing required parameter: '{path}'.", param=path, code="missing_required_parameter"
        )
    reasons = dict.fromkeys(f["msg"] for f in branches if len(f["loc"]) == len(first["loc"]))
    return BadRequest(
        f"Invalid value for '{path}': {', or: '.join(reasons)}.", param=path, code="invalid_value"
    )


def _path(fault: ErrorDetails) -> str:
    """Where a fault is, as the caller wrote it; a union's branch names are left out."""
    path = ""
    for step in fault["loc"]:
        if isinstance(step, int):
            path += f"[{step}]"
        elif step != "str" and not step.startswith(("list[", "constrained-")):
            path += f".{step}" if path else step
    return path


def _same_field(fault: ErrorDetails, other: ErrorDetails) -> bool:
    return _path(fault).startswith(_path(other))


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
