"""One job: its name, its options, and the keys under which its store has what was done.

job.json                       what was asked for; written first
rows/000000.jsonl              the file's rows, SLICE at a time
decided/000000.jsonl           where each of them goes
plan.json                      the request files and the estimate
requests/NAME.jsonl            one provider and model each, within the provider's limits
submissions/NAME/              claims of those who submit it, and the batch that it became
batches/NAME.json              how it ended
results/NAME.jsonl             an outcome a line, in no order
answered/NAME.json             answers of a real-time file that was interrupted; NAME/ has claims
cancelled.json                 nothing more is submitted
out/                           answers, errors, summary
events.jsonl                   the cost events
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import IO, Any

from fareway.batch.rows import Format, Row
from fareway.batch.store import Store, read, write

#: Rows of one slice: what one worker classifies, and what is in memory at a time.
SLICE = 1_000


@dataclass(frozen=True, slots=True)
class Asked:
    """What the job was asked to do, and with which rules; it does not change on the way.

    Args:
        sha256: of the input file.
        columns: the input's columns that are carried through, in order.
        dedupe: whether equal requests are paid once.
        file_requests: requests of one batch at most, where the provider's limit is not the least.
        expected_tokens: what a completion is expected to have at most, for the estimate.
        created_at: ISO 8601, UTC.
    """

    name: str
    format: Format
    sha256: str
    columns: list[str]
    dedupe: bool
    file_requests: int | None
    expected_tokens: int
    policy_version: str
    classifier_version: str
    created_at: str


class Job:
    """A job in its store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def begin(self, asked: Asked) -> Asked:
        """Writes down what is asked for, once -> what was asked for in the beginning."""
        self.store.create("job.json", json.dumps(asdict(asked), indent=1).encode())
        known = self.asked()
        assert known is not None
        return known

    def asked(self) -> Asked | None:
        told = self.document("job.json")
        return None if told is None else Asked(**told)

    def document(self, key: str) -> Any:
        """A JSON document; None where there is none."""
        data = read(self.store, key)
        return None if data is None else json.loads(data)

    def keep(self, key: str, document: Mapping[str, Any]) -> None:
        write(self.store, key, json.dumps(document, indent=1).encode())

    def lines(self, key: str) -> Iterator[bytes]:
        """The lines of an object. Raises: FileNotFoundError."""
        with closing(self.store.open(key)) as file:
            yield from file

    def slices(self) -> list[str]:
        """The keys of the slices of rows."""
        return self.store.keys("rows/")

    def rows(self) -> Iterator[Row]:
        return (Row.of(line) for key in self.slices() for line in self.lines(key))

    @property
    def cancelled(self) -> bool:
        return read(self.store, "cancelled.json") is not None


def digest(file: IO[bytes]) -> str:
    """The SHA-256 of a file, which is then back at its beginning."""
    hashed = hashlib.sha256()
    while block := file.read(1 << 20):
        hashed.update(block)
    file.seek(0)
    return hashed.hexdigest()


def name_of(key: str) -> str:
    """`requests/openai-gpt-5-0000.jsonl` -> `openai-gpt-5-0000`."""
    return key.rpartition("/")[2].removesuffix(".jsonl")


def put_line(file: IO[bytes], entry: Mapping[str, Any]) -> None:
    """One JSON line, in UTF-8; a lone surrogate, which a provider may answer with, becomes `?`."""
    line = json.dumps(entry, ensure_ascii=False, separators=(",", ":"))
    file.write(line.encode("utf-8", "replace") + b"\n")


def custom_id(name: str, row: Row) -> str:
    """A request's name at the provider, of job, line and content: the same at each repetition.

    Anthropic takes `[a-zA-Z0-9_-]{1,64}`; the line is read back by `line_of`.
    """
    job = hashlib.sha256(name.encode()).hexdigest()[:10]
    return f"fw-{job}-{row.line}-{row.content_hash[:16]}"


def line_of(custom_id: str) -> int | None:
    """The line of a `custom_id` of ours; None of any other."""
    parts = custom_id.split("-")
    return int(parts[2]) if len(parts) == 4 and parts[2].isdecimal() else None
