"""The results of all files, which come in no order -> what came of a line, found on disk."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from fareway.batch.job import Job, line_of, name_of
from fareway.batch.rows import Row
from fareway.batch.submit import RETRY

#: A line, and its row or one that asks the same -> what came of it; None where nothing did yet.
Find = Callable[[int, Row], dict[str, Any] | None]


@contextmanager
def by_line(job: Job) -> Iterator[Find]:
    """Sorts the results by line. A second try's outcome stands in place of the first's."""
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(sqlite3.connect(Path(folder) / "results.sqlite")) as table,
    ):
        table.execute("PRAGMA journal_mode = OFF")
        table.execute("PRAGMA synchronous = OFF")
        table.execute("CREATE TABLE results (line INTEGER PRIMARY KEY, tries INTEGER, told BLOB)")
        for key in sorted(job.store.keys("results/"), key=name_of):  # second tries come after
            known = job.document(f"batches/{name_of(key)}.json") or {}
            ended_at = known.get("ended_at")
            again = _asked_again(job, name_of(key))
            table.executemany(
                "INSERT INTO results VALUES (?, 1, ?) ON CONFLICT (line) "
                "DO UPDATE SET told = excluded.told, tries = tries + 1",
                _keyed(job, key, ended_at, again),
            )
        table.commit()

        def outcome_of(line: int, row: Row) -> dict[str, Any] | None:
            found = table.execute("SELECT told, tries FROM results WHERE line = ?", (line,))
            if (kept := found.fetchone()) is None:
                return None
            told: dict[str, Any] = json.loads(kept[0])
            # of a file that was changed under way it would be another prompt's answer
            return (
                {"tries": kept[1]} | told
                if told["custom_id"].endswith(row.content_hash[:16])
                else None
            )

        yield outcome_of


def _asked_again(job: Job, name: str) -> bool:
    """Whether what can be tried again of a file is being tried, so that nothing came of it yet."""
    retry = f"{name}{RETRY}"
    planned = job.store.keys(f"requests/{retry}.jsonl")
    if not planned or job.store.keys(f"results/{retry}.jsonl"):
        return False
    return not job.cancelled or bool(job.store.keys(f"submissions/{retry}/"))


def _keyed(job: Job, key: str, ended_at: str | None, again: bool) -> Iterator[tuple[int, str]]:
    for line in job.lines(key):
        told = json.loads(line)
        if again and told["retryable"]:
            continue
        number = line_of(told["custom_id"])
        if number is not None:
            yield number, json.dumps({"ended_at": ended_at} | told)
