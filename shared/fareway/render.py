"""Chat messages -> the text that the classifier reads. What is trained is what is served.

The last user turn comes first and weighs most; a little of what came before follows it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: Characters kept of the last user turn, of the system prompt, and of each earlier turn.
LAST_TURN, SYSTEM, EARLIER_TURN, EARLIER_TURNS = 12_000, 400, 300, 4

_MARKS = {
    "image_url": "[image]",
    "input_image": "[image]",
    "input_audio": "[audio]",
    "file": "[file]",
    "input_file": "[file]",
}


def render_prompt(text: str) -> str:
    """A bare prompt, as one user turn."""
    return render([{"role": "user", "content": text}])


def render(messages: Sequence[Mapping[str, Any]]) -> str:
    """OpenAI chat messages -> text, at most about 14,000 characters. Never raises.

    The last user turn as it is; then, where there are any, a line for the system prompt and
    one for each of the last turns before it.
    """
    last = _last_user(messages)
    lines = [shorten(_text(messages[last].get("content")), LAST_TURN)] if last >= 0 else []
    system = " ".join(
        _text(m.get("content")) for m in messages if m.get("role") in ("system", "developer")
    ).strip()
    if system:
        lines.append("System: " + shorten(system, SYSTEM))
    earlier = [
        m
        for position, m in enumerate(messages)
        if position != last and m.get("role") not in ("system", "developer")
    ]
    for message in earlier[-EARLIER_TURNS:]:
        text = _text(message.get("content")) or ("[tool call]" if message.get("tool_calls") else "")
        if text:
            role = str(message.get("role", "")).capitalize()
            lines.append(f"{role}: {shorten(text, EARLIER_TURN)}")
    return "\n".join(lines)


def _last_user(messages: Sequence[Mapping[str, Any]]) -> int:
    return next(
        (i for i in range(len(messages) - 1, -1, -1) if messages[i].get("role") == "user"), -1
    )


def _text(content: object) -> str:
    """The text of a message's content: a string, a list of parts, or nothing."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = []
    for part in content:
        if isinstance(part, Mapping):
            mark = _MARKS.get(str(part.get("type")))
            texts.append(mark or str(part.get("text") or ""))
    return " ".join(filter(None, texts))


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters of a text: its head and its tail, half each."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]} … {text[-half:]}"
