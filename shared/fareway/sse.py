"""A finished completion -> the server-sent events that a streaming client expects.

Source: the `openai` SDK's types/chat/chat_completion_chunk.py; frames are `data: JSON\\n\\n` and
the last is `data: [DONE]`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

DONE = "data: [DONE]\n\n"


def frame(data: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(data, separators=(',', ':'))}\n\n"


def as_events(completion: Mapping[str, Any], include_usage: bool) -> Iterator[str]:
    """One completion as a stream: for each choice its message, then its end; then the usage.

    Args:
        completion: a `chat.completion` body.
        include_usage: the caller's `stream_options.include_usage`: a last chunk with no
            choices and the usage, and `usage: null` on all before it.
    """
    head = {
        "id": completion.get("id", ""),
        "object": "chat.completion.chunk",
        "created": completion.get("created", 0),
        "model": completion.get("model", ""),
    }
    head |= {
        name: completion[name]
        for name in ("system_fingerprint", "service_tier", "provider")
        if name in completion
    }
    no_usage = {"usage": None} if include_usage else {}
    for choice in completion["choices"]:
        delta = {k: v for k, v in choice["message"].items() if v is not None}
        delta.setdefault("role", "assistant")
        if delta.get("tool_calls"):
            delta["tool_calls"] = [
                {"index": index, **call} for index, call in enumerate(delta["tool_calls"])
            ]
        shared = {"index": choice.get("index", 0), "logprobs": choice.get("logprobs")}
        yield frame(
            head | {"choices": [shared | {"delta": delta, "finish_reason": None}]} | no_usage
        )
        end = {"index": shared["index"], "logprobs": None, "delta": {}}
        end["finish_reason"] = choice.get("finish_reason") or "stop"
        yield frame(head | {"choices": [end]} | no_usage)
    if include_usage:
        yield frame(head | {"choices": [], "usage": completion.get("usage")})
    yield DONE
