"""A user's log of prompts -> its requests, one by one, and what their answers used.

A line of JSON is a chat request's body; a pair `{"request": ..., "response": ...}`; a line of a
batch's input; or an object with `messages`, `prompt`, `text` or `input`. A CSV file has such
columns; a cell of JSON is read as such. Tokens come from a response's `usage` or from columns;
where there is the answer alone, its text is there to be counted. A line is read up to 4 MiB, so
that memory stays flat; one that is broken is a row with a fault, and the next is read.

Sources: the `openai` SDK's types/chat/completion_create_params.py and types/batch_create_params.py.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from fareway.body import MAX_BODY_BYTES
from fareway.errors import BadRequest
from fareway.prices import Usage
from fareway.responses.input import chat_messages
from fareway.usage import read_usage
from fareway.wire import parse_messages, words

#: Where a prompt may be, as it is told to whom none was found.
PROMPTS = ("messages", "prompt", "text", "input", "request", "body")
#: Columns of counts -> what `read_usage` calls them.
_COUNTS = {
    "prompt_tokens": "prompt_tokens",
    "input_tokens": "prompt_tokens",
    "completion_tokens": "completion_tokens",
    "output_tokens": "completion_tokens",
    "cached_tokens": "prompt_cache_hit_tokens",
}
_ANSWERS = ("response", "completion", "answer", "output")
#: Columns of a CSV file that are words, also where these look like JSON.
_WORDS = ("prompt", "text", "completion", "answer", "output")
#: Fields of a request -> whether they have a request's form; else they are somebody's notes.
_FORMS: Mapping[str, Callable[[Any], bool]] = {
    "tools": lambda tools: isinstance(tools, list) and all(isinstance(t, dict) for t in tools),
    "response_format": lambda format_: isinstance(format_, dict),
    "modalities": lambda modalities: isinstance(modalities, list),
}


@dataclass(frozen=True, slots=True)
class Logged:
    """One request of the log.

    Args:
        line: where it begins in the file, from 1.
        body: the request, `messages` always among it; empty where the row is faulty.
        usage: what the log says of its tokens; a count of 0 is not known.
        answer: the answer's text where its tokens are not told; empty: not in the log.
        fields: where prompt and tokens were found: `request.messages`, `response.usage`.
        fault: why it cannot be read, with the line; else empty.
    """

    line: int
    body: Mapping[str, Any]
    usage: Usage | None = None
    answer: str = ""
    fields: tuple[str, ...] = ()
    fault: str = ""


def read_log(file: IO[bytes], name: str) -> Iterator[Logged]:
    """A file -> its rows, the faulty ones too.

    Args:
        file: opened in binary, at its beginning.
        name: its name, whose ending tells CSV (.csv, .tsv); all else has to be JSON lines.

    Raises:
        BadRequest: it is empty, of no known format, or a CSV file without a column of prompts.
    """
    head = file.read(4096)
    file.seek(0)
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start:
        raise BadRequest(f"{name} is empty.")
    if b"\0" in head or head[:2] in (b"\x1f\x8b", b"PK", b"\xff\xfe", b"\xfe\xff"):
        raise BadRequest(f"{name} is no text in UTF-8; unpack or convert it first.")
    if name.lower().endswith((".csv", ".tsv")):
        return _csv(file, name)
    if start.startswith(b"["):
        raise BadRequest(f"{name} is a JSON array. Write an object a line: jq -c '.[]' {name}")
    if name.lower().endswith((".jsonl", ".ndjson")) or start.startswith(b"{"):
        return _jsonl(file)
    raise BadRequest(f"{name} is neither .csv or .tsv, nor JSON with one object a line.")


def _lines(file: IO[bytes]) -> Iterator[bytes | None]:
    """Lines; None is one that is too long, which is passed over."""
    while line := file.readline(MAX_BODY_BYTES):
        if len(line) < MAX_BODY_BYTES or line.endswith(b"\n"):
            yield line
            continue
        while (rest := file.readline(MAX_BODY_BYTES)) and not rest.endswith(b"\n"):
            pass
        yield None


def _jsonl(file: IO[bytes]) -> Iterator[Logged]:
    for number, raw in enumerate(_lines(file), start=1):
        if raw is None:
            yield _faulty(number, f"it has over {MAX_BODY_BYTES:,} bytes")
        elif raw.strip():
            try:
                entry = json.loads(raw.decode("utf-8-sig"))
            except (ValueError, RecursionError) as error:
                yield _faulty(number, f"it is not JSON: {error}")
            else:
                yield _row(number, entry)


def _csv(file: IO[bytes], name: str) -> Iterator[Logged]:
    """Checks the header at once; the rows are read as they are asked for."""
    csv.field_size_limit(MAX_BODY_BYTES)
    lines = _Text(file)
    first = next(lines)
    semicolons = ";" in first and "," not in first
    mark = "\t" if name.lower().endswith(".tsv") else ";" if semicolons else ","
    try:
        columns = [c.strip().lower() for c in next(csv.reader([first], delimiter=mark), [])]
    except csv.Error as error:
        raise BadRequest(f"{name} is not CSV: {error}") from error
    if not set(PROMPTS) & set(columns):
        raise BadRequest(
            f"{name}: no column is called {', '.join(PROMPTS)}; it has {', '.join(columns)[:200]}."
        )
    return _records(lines, columns, mark)


class _Text:
    """Lines as text for the csv reader; an overlong one is empty, and its number kept."""

    def __init__(self, file: IO[bytes]) -> None:
        self._lines = _lines(file)
        self.number = 0  # of the line read last
        self.overlong: list[int] = []

    def __iter__(self) -> _Text:
        return self

    def __next__(self) -> str:
        raw = next(self._lines)
        self.number += 1
        if raw is None:
            self.overlong.append(self.number)
            return "\n"
        return raw.decode("utf-8-sig" if self.number == 1 else "utf-8", "replace")


def _records(lines: _Text, columns: Sequence[str], mark: str) -> Iterator[Logged]:
    reader = csv.reader(lines, delimiter=mark, strict=True)
    cells: list[str] | None = []
    while cells is not None:
        begins = lines.number + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield _faulty(begins, f"it is not CSV: {error}")
            continue
        for number in lines.overlong:
            yield _faulty(number, f"it has over {MAX_BODY_BYTES:,} bytes")
        lines.overlong.clear()
        if cells and len(cells) > len(columns):
            yield _faulty(begins, f"it has {len(cells)} cells, the header {len(columns)}")
        elif cells and any(cells):
            yield _row(begins, dict(zip(columns, map(_cell, columns, cells), strict=False)))


def _cell(column: str, text: str) -> Any:
    """A cell: an object or a list where it is one, else its text; None where it is empty."""
    if column not in _WORDS and text.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text or None


def _faulty(line: int, why: str) -> Logged:
    return Logged(line, {}, fault=f"line {line}: {why}")


def _row(line: int, entry: object) -> Logged:
    try:
        if not isinstance(entry, dict):
            raise BadRequest("it is not a JSON object")
        where, body = _request(entry)
        messages, field = _messages(body)
        usage, answer, told = _answer(entry)
    except BadRequest as error:
        return _faulty(line, error.message)
    fields = [where + field, *told]
    if not told and where == "" and len(messages) > 1 and messages[-1].get("role") == "assistant":
        answer = " ".join(words(messages[-1]))
        messages, fields = messages[:-1], [*fields, "messages: the last one is the answer"]
    body = {k: v for k, v in body.items() if k not in _FORMS or _FORMS[k](v)}
    return Logged(line, {**body, "messages": messages}, usage, answer, tuple(fields))


def _request(entry: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Where the request is, `request.body.`, and its fields."""
    where, body = "", entry
    for name in ("request", "body"):
        if isinstance(inner := body.get(name), dict):
            where, body = f"{where}{name}.", inner
    if not where and "custom_id" in entry and "response" in entry:
        raise BadRequest("it is a line of a batch's output, without the prompt; give its input")
    if "embedding" in f"{entry.get('url')} {body.get('model')}":
        raise BadRequest("it asks for embeddings, which are not routed")
    return where, body


def _messages(body: Mapping[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """The messages, checked as a request's are, and the field that they were in."""
    if body.get("messages") is not None:
        return parse_messages(body["messages"]), "messages"
    for name in ("prompt", "text"):
        if isinstance(prompt := body.get(name), str) and prompt.strip():
            return [{"role": "user", "content": prompt}], name
    given = body.get("input")
    items = isinstance(given, list) and all(isinstance(item, dict) for item in given)
    if given and (items or isinstance(given, str)):
        told = body.get("instructions")
        return chat_messages(given, told if isinstance(told, str) else None), "input"
    raise BadRequest(f"it has no prompt: none of {', '.join(PROMPTS)}")


def _answer(entry: Mapping[str, Any]) -> tuple[Usage | None, str, tuple[str, ...]]:
    """Tokens, else the answer's text, and the field that told."""
    name = next((n for n in _ANSWERS if isinstance(entry.get(n), dict)), "")
    where, response = f"{name}.", entry.get(name)
    if isinstance(response, dict) and isinstance(inner := response.get("body"), dict):
        where, response = f"{where}body.", inner
    if isinstance(response, dict) and (usage := read_usage(response.get("usage"))):
        return usage, "", (f"{where}usage",)
    if usage := read_usage(entry.get("usage")):
        return usage, "", ("usage",)
    counts = {name: n for name in _COUNTS if (n := count(entry.get(name)))}
    if usage := read_usage({_COUNTS[name]: n for name, n in counts.items()}):
        return usage, "", tuple(counts)
    for field, said in _said(entry, where, response):
        if answer := " ".join(words(said)):
            return None, answer, (field,)
    return None, "", ()


def _said(
    entry: Mapping[str, Any], where: str, response: Mapping[str, Any] | None
) -> Iterator[tuple[str, object]]:
    """Where an answer's words may be: in choices, a response's output, a message, or alone."""
    for place, within in ((where, response or {}), ("", entry)):
        choices = within.get("choices")
        if isinstance(choices, list):
            told = (choice for choice in choices if isinstance(choice, dict))
            yield f"{place}choices", [choice.get("message") or choice for choice in told]
    if response:
        yield f"{where}output", response.get("output")
    for name in _ANSWERS:
        yield name, entry.get(name)


def count(value: object) -> int:
    """A count, also as a CSV file's text; 0 where it is none."""
    text = str(value).removesuffix(".0")
    return int(text) if text.isdecimal() and len(text) < 10 else 0
