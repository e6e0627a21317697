"""Bytes -> a checked request for embeddings. They are passed through: no model stands for another.

Source: the `openai` SDK's types/embedding_create_params.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fareway.body import field_error, parse_object
from fareway.wire import Name, Request

MAX_INPUTS = 2_048  # of one request, as OpenAI has it


class _EmbeddingsBody(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)
    model: Name
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

    Raises:
        PayloadTooLarge, BadRequest: as `parse_chat`.
    """
    body = parse_object(raw)
    try:
        asked = _EmbeddingsBody.model_validate(body)
    except ValidationError as error:
        raise field_error(error) from error
    return EmbeddingsRequest(body, asked.model, False, _tokens(asked.input))


def _tokens(value: Any) -> int:
    """Four characters a token; a number is a token already."""
    if isinstance(value, list):
        return sum(map(_tokens, value))
    return len(value) // 4 + 1 if isinstance(value, str) else 1
