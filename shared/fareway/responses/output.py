"""A chat completion -> the Response object that OpenAI's Responses API would answer with. Pure.

Source: the `openai` SDK's types/responses/response.py, response_output_item.py and
response_usage.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fareway.responses.request import ResponsesRequest
from fareway.sse import objects

_SERVICE_TIERS = ("auto", "default", "flex", "scale", "priority", "fast", "ultrafast")


def response_id(decision_id: str) -> str:
    """A response and the decision behind it share their digits."""
    return decision_id.replace("dec_", "resp_", 1)


def response_of(
    request: ResponsesRequest,
    completion: Mapping[str, Any],
    response_id: str,
    created_at: int,
) -> dict[str, Any]:
    """A chat completion -> the Response object.

    Args:
        completion: an upstream's `chat.completion` body; its first choice is the answer.
        response_id: `resp_...`; the ids of its items are made from it.
        created_at: Unix seconds.
    """
    choice = completion["choices"][0]
    status, details = ending(choice.get("finish_reason"))
    output = _output(choice, response_id, status)
    return envelope(
        request,
        response_id,
        created_at,
        model=completion.get("model"),
        status=status,
        incomplete_details=details,
        output=output,
        usage=response_usage(completion.get("usage")),
        service_tier=completion.get("service_tier"),
    )


def envelope(
    request: ResponsesRequest, response_id: str, created_at: int, **fields: Any
) -> dict[str, Any]:
    """A Response with the request's own fields in it; `fields` are what came of it so far."""
    told = {name: value for name, value in fields.items() if value is not None}
    if told.get("service_tier") not in _SERVICE_TIERS:
        told.pop("service_tier", None)
    return {
        "id": response_id,
        "object": "response",
        "created_at": created_at,
        "status": "in_progress",
        "model": request.model,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "output": [],
        "previous_response_id": None,
        "store": False,
        "truncation": "disabled",
        "usage": None,
        **request.echo,
        **told,
    }


def ending(finish_reason: object) -> tuple[str, dict[str, str] | None]:
    """A chat completion's `finish_reason` -> a Response's status and incomplete_details."""
    reason = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(
        str(finish_reason)
    )
    return ("incomplete", {"reason": reason}) if reason else ("completed", None)


def _output(choice: Mapping[str, Any], response_id: str, status: str) -> list[dict[str, Any]]:
    """The message, if it says anything, then the function calls."""
    message = choice["message"]
    parts: list[dict[str, Any]] = []
    text, refusal = message.get("content"), message.get("refusal")
    calls = [
        call
        for call in objects(message.get("tool_calls"))
        if isinstance(call.get("function"), Mapping)
    ]
    if isinstance(text, str) and (text or not (refusal or calls)):
        parts.append(text_part(text, logprobs_of(choice.get("logprobs"))))
    if isinstance(refusal, str) and refusal:
        parts.append({"type": "refusal", "refusal": refusal})
    output = [message_item(response_id, 0, parts)] if parts else []
    for call in calls:
        function = call["function"]
        item = call_item(response_id, len(output), call.get("id"), function.get("name"))
        output.append(item | {"arguments": function.get("arguments") or ""})
    return [item | {"status": status} for item in output]


def message_item(response_id: str, place: int, parts: list[dict[str, Any]]) -> dict[str, Any]:
    """A message of the output; `place` is its index there."""
    return {
        "id": f"msg_{response_id.removeprefix('resp_')}_{place}",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": parts,
    }


def call_item(response_id: str, place: int, call_id: object, name: object) -> dict[str, Any]:
    """A call of a function, with no arguments yet; `place` is its index in the output."""
    own = f"{response_id.removeprefix('resp_')}_{place}"
    return {
        "id": f"fc_{own}",
        "type": "function_call",
        "status": "completed",
        "call_id": str(call_id or f"call_{own}"),
        "name": str(name or ""),
        "arguments": "",
    }


def text_part(text: str, logprobs: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


def logprobs_of(logprobs: object) -> list[dict[str, Any]]:
    """A choice's `logprobs` -> an output text's: there each token has its bytes."""
    content = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    return [
        _token(token)
        | {"top_logprobs": [_token(top) for top in _tokens(token.get("top_logprobs"))]}
        for token in _tokens(content)
    ]


def _tokens(given: object) -> list[dict[str, Any]]:
    """Those that have a text and a value: part of the list comes from an upstream."""
    tokens = given if isinstance(given, list) else []
    return [
        token
        for token in tokens
        if isinstance(token, dict)
        and isinstance(token.get("token"), str)
        and isinstance(token.get("logprob"), int | float)
    ]


def _token(token: Mapping[str, Any]) -> dict[str, Any]:
    text, raw = token["token"], token.get("bytes")
    return {
        "token": text,
        "bytes": list(text.encode("utf-8", "surrogatepass")) if raw is None else raw,
        "logprob": token["logprob"],
    }


def response_usage(usage: object) -> dict[str, Any] | None:
    """A chat completion's `usage` -> a Response's; None where the upstream told none."""
    if not isinstance(usage, Mapping):
        return None

    def count(table: object, name: str) -> int:
        value = table.get(name) if isinstance(table, Mapping) else None
        return value if isinstance(value, int) else 0

    inputs, outputs = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    prompt, completion = count(usage, "prompt_tokens"), count(usage, "completion_tokens")
    return {
        "input_tokens": prompt,
        "input_tokens_details": {
            "cached_tokens": count(inputs, "cached_tokens")
            or count(usage, "prompt_cache_hit_tokens"),
            "cache_write_tokens": count(inputs, "cache_write_tokens"),
        },
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": count(outputs, "reasoning_tokens")},
        "total_tokens": count(usage, "total_tokens") or prompt + completion,
    }
