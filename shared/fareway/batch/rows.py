"""A file's records -> rows that can be asked, each checked; a faulty one says what to mend."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import IO, Any, Literal

from fareway.batch.records import MAX_CELL, Record, csv_records, jsonl_records
from fareway.decide import AUTO, PREFIX, pinned_tier
from fareway.errors import BadRequest
from fareway.wire import parse_messages

Format = Literal["csv", "jsonl"]
#: The columns that are the request; `text` is another word for `prompt`, as elsewhere.
REQUEST = ("prompt", "text", "messages", "system", "max_tokens", "model")
PROMPTS = ("prompt", "text", "messages")
MAX_TOKENS = 1_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """One record, as it will be asked.

    Args:
        line: where it begins in the file, from 1; unique.
        id: as it was given; where the file has none, its line; empty where it cannot be read.
        messages: empty where the row is faulty.
        max_tokens: its limit on the completion, tokens.
        model: `fareway/auto`, a tier's, or an upstream model's own name.
        carried: the other columns, which come out as they went in.
        fault: why it cannot be asked; else empty.
    """

    line: int
    id: str
    messages: list[dict[str, Any]] = field(default_factory=list)
    max_tokens: int | None = None
    model: str = AUTO
    carried: dict[str, Any] = field(default_factory=dict)
    fault: str = ""

    @property
    def content_hash(self) -> str:
        """Of all that the answer depends on; equal requests have equal hashes: 64 hex digits."""
        asked = json.dumps([self.messages, self.max_tokens, self.model], sort_keys=True)
        return hashlib.sha256(asked.encode()).hexdigest()

    def json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def of(cls, line: bytes) -> Row:
        return cls(**json.loads(line))


def read(file: IO[bytes], format_: Format) -> tuple[list[str], Iterator[Row]]:
    """A file -> the columns that are carried through, and its rows, one by one.

    Args:
        file: opened in binary; it can be sought in.

    Raises:
        BadRequest: a CSV file that is empty, or without a column of prompts.
    """
    if format_ == "jsonl":
        return [], _rows(jsonl_records(file), {})
    columns, records = csv_records(file)
    known = {name: name.lower() for name in columns if name.lower() in ("id", *REQUEST)}
    if twice := {name for name in known.values() if list(known.values()).count(name) > 1}:
        raise BadRequest(f"Two columns are called {min(twice)!r}, in whatever case.")
    if not set(PROMPTS) & set(known.values()):
        raise BadRequest(
            f"No column is called {', '.join(PROMPTS[:-1])} or {PROMPTS[-1]}; the file has "
            f"{', '.join(columns)}."
        )
    return [name for name in columns if name not in known], _rows(records, known)


def _rows(records: Iterable[Record], known: Mapping[str, str]) -> Iterator[Row]:
    named = "id" in known.values()
    for record in records:
        cells = {known.get(name, name): cell for name, cell in record.cells.items()}
        id_ = cells.get("id")
        if id_ in (None, ""):
            # in a file of ids the line's number may be another row's id
            id_ = "" if named or not (known or cells) else record.line
        id_ = str(id_)
        carried = {k: v for k, v in cells.items() if k != "id" and k not in REQUEST}
        if record.fault:
            yield Row(record.line, id_, carried=carried, fault=record.fault)
            continue
        try:
            model = _model(cells.get("model"))
            limit = _limit(cells.get("max_tokens"))
            yield Row(record.line, id_, _messages(cells), limit, model, carried)
        except (BadRequest, RecursionError) as error:
            reason = error.message if isinstance(error, BadRequest) else "it is nested too deep"
            yield Row(record.line, id_, carried=carried, fault=reason)


def _messages(cells: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The chat messages of a row: `messages`, else `prompt`; with `system` before them."""
    given = cells.get("messages")
    prompt = cells.get("prompt") or cells.get("text")
    if isinstance(given, str):
        try:
            given = json.loads(given) if given.strip() else None
        except ValueError as error:
            raise BadRequest(f"'messages' is not JSON: {error}") from error
    if given:
        messages = parse_messages(given)
    elif isinstance(prompt, str) and prompt.strip():
        messages = [{"role": "user", "content": prompt}]
    else:
        raise BadRequest("It has no prompt: 'prompt' and 'messages' are empty.")
    system = cells.get("system")
    if system in (None, ""):
        return _bounded(messages)
    if not isinstance(system, str):
        raise BadRequest("'system' is not a text.")
    return _bounded([{"role": "system", "content": system}, *messages])


def _bounded(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As they are, if they can be sent: in UTF-8, and not too long."""
    try:
        size = len(json.dumps(messages, ensure_ascii=False, allow_nan=False).encode())
    except UnicodeEncodeError as error:
        raise BadRequest("It has a lone surrogate, which is no character.") from error
    except ValueError as error:  # one such number, and the provider refuses the whole file
        raise BadRequest("It has a number that JSON does not know: NaN or Infinity.") from error
    if size > 4 * MAX_CELL:
        raise BadRequest(f"Its messages have {size:,} bytes; at most {4 * MAX_CELL:,} are sent.")
    return messages


def _limit(value: object) -> int | None:
    if value in (None, ""):
        return None
    try:
        limit = int(str(value)) if not isinstance(value, bool) else 0
    except ValueError:
        limit = 0
    if not 1 <= limit <= MAX_TOKENS:
        raise BadRequest(f"'max_tokens' is a whole number from 1, not {str(value)[:40]!r}.")
    return limit


def _model(value: object) -> str:
    if value in (None, ""):
        return AUTO
    name = value.strip() if isinstance(value, str) else ""
    if not 0 < len(name) <= 200 or not name.isascii() or not name.isprintable() or " " in name:
        raise BadRequest(f"'model' is not a model's name: {str(value)[:40]!r}.")
    if name.startswith(PREFIX):
        pinned_tier(name)  # which knows the names
    return name
