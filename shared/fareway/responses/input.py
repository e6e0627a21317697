"""What a Responses request gives -> what a chat request gives: items, tools and tool choice. Pure.

Source: the `openai` SDK's types/responses/response_input_item_param.py, function_tool_param.py and
tool_choice_*_param.py, and the chat types that they become.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fareway.body import missing
from fareway.errors import BadRequest

_ROLES = ("user", "assistant", "system", "developer")


def chat_messages(
    given: str | Sequence[Mapping[str, Any]], instructions: str | None
) -> list[dict[str, Any]]:
    """`input` and `instructions` -> messages. Reasoning items are left out.

    Raises:
        BadRequest: naming the item that has no counterpart in a chat, or what it lacks.
    """
    messages = [] if instructions is None else [{"role": "system", "content": instructions}]
    if isinstance(given, str):
        return [*messages, {"role": "user", "content": given}]
    for i, item in enumerate(given):
        kind = item.get("type") or ("message" if "role" in item else None)
        path = f"input[{i}]"
        if kind == "message":
            messages.append(_message(item, path))
        elif kind == "function_call":
            _add_call(messages, item, path)
        elif kind == "function_call_output":
            messages.append(_result(item, path))
        elif kind is None:
            raise missing(f"{path}.type")
        elif kind != "reasoning":
            raise _unserved(path, f"items of type '{kind}'", "Send messages and function calls")
    if not any(message["role"] != "system" for message in messages):
        raise BadRequest("'input' has nothing to answer.", param="input", code="invalid_value")
    return messages


def _message(item: Mapping[str, Any], path: str) -> dict[str, Any]:
    role, content = item.get("role"), item.get("content")
    if role not in _ROLES:
        raise BadRequest(
            f"Invalid value for '{path}.role': one of {', '.join(_ROLES)}.",
            param=f"{path}.role",
            code="invalid_value",
        )
    return {"role": role, "content": _content(content, f"{path}.content")}


def _content(content: object, path: str) -> str | list[dict[str, Any]]:
    """A string or parts; one part of text alone is the string, which every model takes."""
    if content is None:
        raise missing(path)
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        raise BadRequest(
            f"Invalid value for '{path}': a string or a list of parts.",
            param=path,
            code="invalid_value",
        )
    parts = [_part(part, f"{path}[{i}]") for i, part in enumerate(content)]
    if len(parts) == 1 and parts[0]["type"] == "text":
        return str(parts[0]["text"])
    return parts


def _part(part: object, path: str) -> dict[str, Any]:
    if not isinstance(part, Mapping) or "type" not in part:
        raise missing(f"{path}.type")
    kind = part["type"]
    if kind in ("input_text", "output_text", "text"):
        return {"type": "text", "text": _text(part, "text", path)}
    if kind == "refusal":
        return {"type": "refusal", "refusal": _text(part, "refusal", path)}
    if kind == "input_image":
        if not isinstance(part.get("image_url"), str):
            raise _unserved(path, "images without 'image_url'", "Give a URL or a data URL")
        image = {"url": part["image_url"], "detail": part.get("detail")}
        return {"type": "image_url", "image_url": {k: v for k, v in image.items() if v is not None}}
    if kind == "input_file":
        file = {k: part[k] for k in ("file_data", "file_id", "filename") if part.get(k) is not None}
        if not file.keys() & {"file_data", "file_id"}:
            raise _unserved(path, "files without 'file_data'", "Give the file itself, in base64")
        return {"type": "file", "file": file}
    if kind == "input_audio":
        return dict(part)
    raise _unserved(path, f"parts of type '{kind}'", "Send text, images, files or audio")


def _add_call(messages: list[dict[str, Any]], item: Mapping[str, Any], path: str) -> None:
    """A call belongs to the assistant's turn that stands before it; else it is a turn."""
    call = {
        "id": _text(item, "call_id", path),
        "type": "function",
        "function": {
            "name": _text(item, "name", path),
            "arguments": _text(item, "arguments", path),
        },
    }
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": None})
    messages[-1].setdefault("tool_calls", []).append(call)


def _result(item: Mapping[str, Any], path: str) -> dict[str, Any]:
    content = _content(item.get("output"), f"{path}.output")
    if not isinstance(content, str) and any(part["type"] != "text" for part in content):
        raise _unserved(f"{path}.output", "results that are not text", "Send it as a user message")
    return {"role": "tool", "tool_call_id": _text(item, "call_id", path), "content": content}


def chat_tools(tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Functions in the flat shape of Responses -> the nested one of chat.

    Raises:
        BadRequest: a tool that someone else would have to run.
    """
    return [_tool(tool, f"tools[{i}]") for i, tool in enumerate(tools)]


def _tool(tool: Mapping[str, Any], path: str) -> dict[str, Any]:
    if tool.get("type") != "function":
        raise _unserved(path, f"tools of type '{tool.get('type')}'", "Give functions of your own")
    function: dict[str, Any] = {"name": _text(tool, "name", path)}
    for name in ("description", "parameters", "strict"):
        if tool.get(name) is not None:
            function[name] = tool[name]
    return {"type": "function", "function": function}


def chat_tool_choice(choice: str | Mapping[str, Any]) -> str | dict[str, Any]:
    """`tool_choice` in the flat shape -> the nested one.

    Raises:
        BadRequest: a tool that someone else would have to run.
    """
    if isinstance(choice, str):
        return choice
    kind = choice.get("type")
    if kind == "allowed_tools":
        given = choice.get("tools")
        if not isinstance(given, list):
            raise BadRequest(
                "Invalid value for 'tool_choice.tools': Input should be a valid list.",
                param="tool_choice.tools",
                code="invalid_value",
            )
        tools = [_named(tool, f"tool_choice.tools[{i}]") for i, tool in enumerate(given)]
        allowed = {"mode": choice.get("mode", "auto"), "tools": tools}
        return {"type": "allowed_tools", "allowed_tools": allowed}
    return _named(choice, "tool_choice")


def _named(tool: object, path: str) -> dict[str, Any]:
    if not isinstance(tool, Mapping):
        raise missing(f"{path}.type")
    if tool.get("type") != "function":
        raise _unserved(path, f"tools of type '{tool.get('type')}'", "Name a function of your own")
    return {"type": "function", "function": {"name": _text(tool, "name", path)}}


def _text(table: Mapping[str, Any], name: str, path: str) -> str:
    value = table.get(name)
    if value is None:
        raise missing(f"{path}.{name}")
    if not isinstance(value, str):
        raise BadRequest(
            f"Invalid value for '{path}.{name}': Input should be a valid string.",
            param=f"{path}.{name}",
            code="invalid_value",
        )
    return value


def _unserved(path: str, what: str, instead: str) -> BadRequest:
    return BadRequest(
        f"'{path}': {what} are not served by Fareway. {instead}.",
        param=path,
        code="unsupported_parameter",
    )
