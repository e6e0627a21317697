"""Public data and prompts of our own -> one training table; a line a prompt.

    python -m models.training.prepare --data ../shared/data --out runs/table.jsonl.gz

What a source does not know is null and does not count. labels.py says what each source knows;
written/*.jsonl are prompts written for Fareway, templates.toml those with slots. The text is
what render.py makes of a request, so that what is trained is what is served.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import random
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fareway.render import render
from models.training import labels
from models.training.disturb import dressed, rough, unwrap, wrapped

SEED = 20261124
HERE = Path(__file__).parent
FOLDS = 5
#: Rows taken of the largest sources, so that none of them is the classifier's whole world.
CAPS = {
    "banking77": 4_000,
    "clinc150": 6_000,
    "gsm8k_train": 3_000,
    "webquestions": 4_000,
    "issuebench_prompts": 1_000,
}
#: Of each template with slots; of each written prompt, the first as it is and the rest disturbed.
TEMPLATE_COPIES, WRITTEN_COPIES = 8, 3
SLICE_WORDS = 24


@dataclass(frozen=True)
class Row:
    """One example.

    Args:
        complexity: 1.0 to 5.0, the least tier that would have satisfied.
        need_strong: share of its source's pairs of models of which only the strong one succeeded.
        pairs: of each outcome source, 1 or 0 for each of its pairs; null where one is not there.
        sensitive: 1 or 0.
        sensitive_kind: one of `labels.KINDS`.
        task: one of `labels.TASKS`.
        dissatisfied: 1 where the last turn says that the answer before it failed.
        group: rows of one group stay on one side of every split.
        fold: 0 to 4, from the group.
        shippable: false where a share-alike licence allows evaluation only.
        for_sensitivity: true of what is there for that head alone: wrapped prompts, slices.
        outcomes: 0.0 to 1.0 of each model that was asked.
    """

    text: str
    source: str
    group: str
    fold: int
    language: str
    complexity: float | None = None
    need_strong: float | None = None
    pairs: dict[str, list[int | None]] | None = None
    sensitive: int | None = None
    sensitive_kind: str | None = None
    task: str | None = None
    dissatisfied: int | None = None
    shippable: bool = True
    for_sensitivity: bool = False
    outcomes: dict[str, float] | None = None


def fold_of(group: str) -> int:
    return int(hashlib.sha256(group.encode()).hexdigest(), 16) % FOLDS


def group_of(row: dict[str, Any]) -> str:
    """The subject, benchmark or intent; else the text itself.

    MGSM is GSM8K in translation: a problem's numbers, the same in each language, are its group.
    """
    source, kind = row["source"], row.get("kind", "")
    if kind.startswith("math_word") or kind.endswith(("/gsm8k", "mgsm")):
        numbers = re.findall(r"\d+", re.sub(r"(?<=\d)[,.](?=\d{3})", "", row["text"]))
        return "gsm/" + "-".join(numbers[:8])
    by_kind = ("routellm_mmlu", "mmlu_pro", "llmrouter_dc", "banking77", "clinc150")
    return f"{source}/{kind}" if source in by_kind else row["id"]


def public_rows(data: Path, chance: random.Random) -> Iterator[Row]:
    taken: dict[str, int] = {}
    for name in ("outcomes", "prompts", "sensitive", "sa/prompts"):
        with gzip.open(data / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        chance.shuffle(rows)
        for row in rows:
            source = row["source"]
            taken[source] = taken.get(source, 0) + 1
            if taken[source] > CAPS.get(source, 10**9):
                continue
            group = group_of(row)
            messages = row.get("messages")
            yield Row(
                text=render(messages) if messages else dressed(unwrap(row["text"], chance), chance),
                source=source,
                group=group,
                fold=fold_of(group),
                language=row.get("language", "en"),
                complexity=labels.complexity_of(row),
                need_strong=labels.gain_of(row),
                pairs=labels.pairs_of(row) or None,
                sensitive=labels.sensitive_of(row),
                sensitive_kind=labels.kind_of(row),
                task=labels.task_of(row),
                shippable=not name.startswith("sa/"),
                outcomes=row.get("outcomes"),
            )


def written_rows(chance: random.Random) -> Iterator[Row]:
    """written/*.jsonl: as they are, and again with the small changes of people in a hurry."""
    for path in sorted((HERE / "written").glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            source = f"written_{path.stem}"
            if "messages" in entry:
                opening = next(m["content"] for m in entry["messages"] if m["role"] == "user")
                yield Row(
                    text=render(entry["messages"]),
                    source=source,
                    group=opening,  # which one line continues with thanks, another with a complaint
                    fold=fold_of(opening),
                    language=entry["language"],
                    dissatisfied=entry["dissatisfied"],
                )
                continue
            text = entry["text"]
            for copy in range(WRITTEN_COPIES):
                yield Row(
                    text=dressed(rough(text, chance), chance) if copy else dressed(text),
                    source=source,
                    group=text,
                    fold=fold_of(text),
                    language=entry["language"],
                    complexity=float(entry["complexity"]),
                    sensitive=int(entry["sensitive"] is not None),
                    sensitive_kind=entry["sensitive"],
                    task=entry["task"],
                    dissatisfied=0,
                )


def template_rows(chance: random.Random) -> Iterator[Row]:
    """templates.toml: filled and slightly disturbed; a template is a group."""
    with (HERE / "templates.toml").open("rb") as file:
        book = tomllib.load(file)
    slots = book.pop("slots")

    def fill(template: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda m: chance.choice(slots[m[1]]), template)

    for language, kinds in book.items():
        entries = [(None, t) for t in kinds["sensitive"]] + [(c, t) for c, t in kinds["plain"]]
        for level, template in entries:
            for _ in range(TEMPLATE_COPIES if "{" in template else WRITTEN_COPIES):
                yield Row(
                    text=dressed(rough(fill(template), chance), chance),
                    source="templates",
                    group=template,
                    fold=fold_of(template),
                    language=language,
                    complexity=None if level is None else float(level),
                    sensitive=int(level is None),
                )


def wrapped_rows(rows: Sequence[Row], chance: random.Random) -> Iterator[Row]:
    """Our own prompts again, each in the midst of something else: it is as grave as it was."""
    harmless = [row.text for row in rows if row.sensitive == 0 and row.shippable]
    seen: set[str] = set()
    for row in rows:
        if row.source.startswith("written") and row.sensitive is not None and row.group not in seen:
            seen.add(row.group)
            yield Row(
                text=wrapped(row.group, harmless, chance),
                source=row.source,
                group=row.group,
                fold=row.fold,
                language=row.language,
                sensitive=row.sensitive,
                sensitive_kind=row.sensitive_kind,
                for_sensitivity=True,
            )


def slices(rows: Sequence[Row], chance: random.Random) -> Iterator[Row]:
    """Parts of long harmless texts, as a window of the served graph sees them."""
    for row in rows:
        words = row.text.split()
        if row.sensitive == 0 and row.shippable and len(words) > 3 * SLICE_WORDS:
            start = chance.randrange(len(words) - SLICE_WORDS)
            yield Row(
                text=" ".join(words[start : start + SLICE_WORDS]),
                source=f"slices_{row.source}",
                group=row.group,
                fold=row.fold,
                language=row.language,
                sensitive=0,
                for_sensitivity=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    chance = random.Random(SEED)
    rows = [*public_rows(args.data, chance), *written_rows(chance), *template_rows(chance)]
    rows = [row for row in rows if row.text.strip()]
    chance.shuffle(rows)
    rows += [*wrapped_rows(rows, chance), *slices(rows, chance)]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(args.out, "wt", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(asdict(row), ensure_ascii=False) + "\n")
    counts = {
        "complexity": sum(row.complexity is not None for row in rows),
        "outcomes": sum(row.need_strong is not None for row in rows),
        "sensitive": sum(row.sensitive == 1 for row in rows),
        "task": sum(row.task is not None for row in rows),
        "follow-ups": sum(row.source == "written_followups" for row in rows),
    }
    print(f"{len(rows)} rows, of which with {counts} -> {args.out}")


if __name__ == "__main__":
    main()
