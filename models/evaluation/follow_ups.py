"""How well `fareway.follow_up` tells a complaint: python -m models.evaluation.follow_ups.

On 347 conversations by a writer who saw no phrase, written before them
(`tests/models/follow_ups.jsonl`); and on the 800 that we wrote for the classifier
(`models/training/written/followups.jsonl`), in two halves: the phrases were tuned on one and never
on the other. With --data also how often an ordinary prompt,
put as a second turn after an unrelated question and its answer, passes for a complaint.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fareway.follow_up import follow_up

ROOT = Path(__file__).parents[2]
WRITTEN = ROOT / "models" / "training" / "written" / "followups.jsonl"
BLIND = ROOT / "tests" / "models" / "follow_ups.jsonl"
OUT = ROOT / "docs" / "evaluation" / "follow_ups.md"
HALVES = ("development", "test")
#: Prompts of each source that stand as second turns, and what was said before them.
SAMPLE, SEED = 300, 7
BEFORE = (
    {"role": "user", "content": "How tall is the Eiffel Tower?"},
    {"role": "assistant", "content": "The Eiffel Tower is 330 metres tall, its antennas included."},
)


@dataclass(frozen=True, slots=True)
class Found:
    """Complaints: rightly found, falsely found, missed; and the turns that they are of."""

    right: int
    false: int
    missed: int
    turns: int

    @property
    def precision(self) -> float:
        return self.right / (self.right + self.false) if self.right + self.false else 1.0

    @property
    def recall(self) -> float:
        return self.right / (self.right + self.missed) if self.right + self.missed else 1.0


def written(half: str) -> list[dict[str, Any]]:
    """The conversations of a half: by the SHA-256 of the first message, even or odd."""
    rows = map(json.loads, WRITTEN.read_text(encoding="utf-8").splitlines())
    return [row for row in rows if half == HALVES[_number(row["messages"][0]["content"]) % 2]]


def blind() -> list[dict[str, Any]]:
    """The conversations whose writer saw no phrase; labels as `measured` takes them."""
    rows = map(json.loads, BLIND.read_text(encoding="utf-8").splitlines())
    return [row | {"dissatisfied": row["label"] == "complaint"} for row in rows]


def measured(rows: Iterable[Mapping[str, Any]]) -> Found:
    """Conversations with `dissatisfied` 0 or 1 -> how many complaints were found in them."""
    seen = Counter(
        (follow_up(row["messages"]) == "complaint", bool(row["dissatisfied"])) for row in rows
    )
    return Found(seen[True, True], seen[True, False], seen[False, True], seen.total())


def false_complaints(data: Path) -> Iterator[tuple[str, int, int]]:
    """A folder with prompts.jsonl.gz -> of each source: its name, false complaints, prompts."""
    prompts: dict[str, list[str]] = defaultdict(list)
    with gzip.open(data / "prompts.jsonl.gz", "rt", encoding="utf-8") as file:
        for row in map(json.loads, file):
            prompts[row["source"]].append(row["text"])
    for source, texts in sorted(prompts.items()):
        taken = random.Random(SEED).sample(texts, min(SAMPLE, len(texts)))
        yield source, sum(map(passes_for_complaint, taken)), len(taken)


def passes_for_complaint(prompt: str) -> bool:
    """Whether a prompt does so after an unrelated question and its answer."""
    return follow_up([*BEFORE, {"role": "user", "content": prompt}]) == "complaint"


def microseconds(rows: Sequence[Mapping[str, Any]], times: int = 20) -> float:
    """What one conversation takes on average."""
    begun = time.perf_counter()
    for _ in range(times):
        for row in rows:
            follow_up(row["messages"])
    return (time.perf_counter() - begun) / times / len(rows) * 1e6


def report(data: Path | None) -> Iterator[str]:
    """The lines of docs/evaluation/follow_ups.md."""
    yield from ("# What a follow-up says of the answer before it", "")
    yield "Made by `python -m models.evaluation.follow_ups`"
    yield "from three sets. The blind one was written before the phrases, by one who saw none"
    yield "(`tests/models/follow_ups.jsonl`). The halves are of the classifier's conversations"
    yield "(`models/training/written/followups.jsonl`), where many complaints can be told only by"
    yield 'who knows the subject ("he died in 2015"); phrases were tuned on the development half.'
    sets = {"Blind": blind()} | {f"{half.capitalize()} half": written(half) for half in HALVES}
    for name, rows in sets.items():
        yield from ("", f"## {name}", "")
        yield "| language | turns | complaints | found | false | precision | recall |"
        yield "|---|---|---|---|---|---|---|"
        yield _line("all", measured(rows))
        for language in sorted({row["language"] for row in rows}):
            yield _line(language, measured(r for r in rows if r["language"] == language))
    if data is None:
        return
    found = list(false_complaints(data))
    false, turns = (sum(row[i] for row in found) for i in (1, 2))
    yield from ("", "## Ordinary prompts as second turns", "")
    yield f"At most {SAMPLE} of each source, after an unrelated question and its answer. Phrases"
    yield "that gave false alarms on another sample were mended; the samples share some prompts."
    yield "MT-Bench-101's are later turns of conversations: what is found there are complaints"
    yield '("Are you sure about that?", "That doesn\'t sound right").'
    yield from ("", "| source | prompts | false complaints |", "|---|---|---|")
    for source, wrong, count in [("all", false, turns), *found]:
        yield f"| {source} | {count} | {wrong} ({wrong / count:.1%}) |"


def _line(name: str, found: Found) -> str:
    counts = f"{found.turns} | {found.right + found.missed} | {found.right} | {found.false}"
    return f"| {name} | {counts} | {found.precision:.2f} | {found.recall:.2f} |"


def _number(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest(), 16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, help="a folder with prompts.jsonl.gz")
    text = "\n".join(report(parser.parse_args().data)) + "\n"
    OUT.write_text(text, encoding="utf-8")
    print(text)
    print(f"{microseconds(written('development')):.0f} microseconds a conversation")


if __name__ == "__main__":
    main()
