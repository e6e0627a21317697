"""Chat messages -> the text that the classifier reads. What is trained is what is served.

The last user turn comes first and whole: it is what has to be answered. What came before
follows in the room that it leaves: a follow-up such as "and why?" takes its meaning from there,
while a long question needs none. The classifier keeps a text's head and tail, so a long last
turn must not be pushed out by its context.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: Characters at most of the last user turn, of the system prompt, and of each earlier turn.
LAST_TURN, SYSTEM, EARLIER_TURN = 6_000, 400, 300
EARLIER_TURNS = 4
#: Characters that the last turn and its context share; the context always has the least of them.
ROOM, LEAST_CONTEXT = 1_600, 200

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
    """OpenAI chat messages -> text of at most about 8,000 characters. Never raises.

    The last user turn, then a line for the system prompt and one for each of the last turns
    before or after it, the oldest first. Content that is neither text nor a known part is empty.
    """
    turns = [message for message in messages if isinstance(message, Mapping)]
    last = last_user(turns)
    asked = shorten(text_of(turns[last].get("content")), LAST_TURN) if last >= 0 else ""
    context = _context(turns, last, max(LEAST_CONTEXT, ROOM - len(asked)))
    return "\n".join(filter(None, [asked, *context]))


def _context(turns: Sequence[Mapping[str, Any]], last: int, room: int) -> list[str]:
    """Lines of the system prompt and of the turns around the last question, within the room."""
    system = " ".join(text_of(turn.get("content")) for turn in turns if is_system(turn)).strip()
    lines = ["System: " + shorten(system, min(SYSTEM, room))] if system else []
    room -= sum(map(len, lines))
    earlier: list[str] = []
    for turn in reversed([t for i, t in enumerate(turns) if i != last and not is_system(t)]):
        text = text_of(turn.get("content")) or ("[tool call]" if turn.get("tool_calls") else "")
        line = f"{str(turn.get('role', ''))[:20].capitalize()}: {shorten(text, EARLIER_TURN)}"
        if len(earlier) == EARLIER_TURNS or len(line) > room:
            break
        if text:
            earlier.insert(0, line)
            room -= len(line)
    return lines + earlier


def is_system(turn: Mapping[str, Any]) -> bool:
    """Whether a turn is the system's or the developer's."""
    return turn.get("role") in ("system", "developer")


def last_user(turns: Sequence[Mapping[str, Any]]) -> int:
    """The position of the last user turn, -1 where there is none."""
    return next((i for i in range(len(turns) - 1, -1, -1) if turns[i].get("role") == "user"), -1)


def text_of(content: object) -> str:
    """The text of a message's content: a string, a list of parts, or nothing."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = []
    for part in content:
        if isinstance(part, Mapping):
            words = part.get("text")
            texts.append(
                _MARKS.get(str(part.get("type"))) or (words if isinstance(words, str) else "")
            )
    return " ".join(filter(None, texts))


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters of a text: its head and its tail, half each, and a mark."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]} … {text[-half:]}"


def utf8_size(text: str) -> int:
    """Bytes of UTF-8: four are about a token in any script, where four characters are not."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
