"""What a simulated model fills in: JSON by its schema, calls of tools, log probabilities."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def example(schema: Mapping[str, Any], text: str) -> Any:
    """A value that a JSON schema allows; strings hold the text."""
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            return {k: example(v, text) for k, v in schema.get("properties", {}).items()}
        case "array":
            return [example(schema.get("items", {}), text)]
        case "integer" | "number":
            return max(1, schema.get("minimum", 1))
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return text


def as_json(body: Mapping[str, Any], text: str) -> str:
    """The text in the form that `response_format` asks for."""
    format_ = body.get("response_format") or {}
    if format_.get("type") == "json_schema":
        return json.dumps(example(format_["json_schema"].get("schema", {}), text))
    return json.dumps({"answer": text}) if format_.get("type") == "json_object" else text


def tool_calls(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A call of each function that is offered, of one where only one may be; none once called."""
    tools = [t["function"] for t in body.get("tools") or () if t.get("type") == "function"]
    choice = body.get("tool_choice")
    if not tools or choice == "none" or body["messages"][-1]["role"] == "tool":
        return []
    if isinstance(choice, dict):
        tools = [t for t in tools if t["name"] == choice["function"]["name"]]
    if body.get("parallel_tool_calls") is False:
        tools = tools[:1]
    return [
        {
            "id": f"call_{hashlib.sha256(f'{i}{tool}'.encode()).hexdigest()[:12]}",
            "type": "function",
            "function": {
                "name": tool["name"],
                "arguments": json.dumps(example(tool.get("parameters") or {}, "Paris")),
            },
        }
        for i, tool in enumerate(tools)
    ]


def logprobs(body: Mapping[str, Any], text: str) -> dict[str, Any] | None:
    """Log probabilities of the first word, as OpenAI writes them."""
    if not body.get("logprobs"):
        return None
    word = text.split(" ")[0]
    said = {"token": word, "logprob": -0.1, "bytes": list(word.encode())}
    top = [said] * min(1, body.get("top_logprobs") or 0)
    return {"content": [said | {"top_logprobs": top}], "refusal": None}
