"""Public data and our own templates -> one training table of (text, complexity, sensitivity).

    python -m models.training.prepare --data ../shared/data --out table.jsonl.gz

What complexity means: the least tier that would have satisfied the user. It is a level from 1.0
to 5.0, learned from models' outcomes where a source has them, from the source's own difficulty,
or from the kind of task; train.py's `spread` turns it into a soft distribution. What a source does
not know is null and does not count. Inside one source all models meet all prompts, so the mean
outcome orders the prompts as a Rasch model does (the raw score is its sufficient statistic,
Rasch 1960); each source's line then sets that order on the scale of 1 to 5.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from fareway.render import render, render_prompt

SEED = 20261124
#: Rows taken of the largest sources, so that none of them is the classifier's whole world.
CAPS = {
    "banking77": 3_500,
    "clinc150": 4_500,
    "gsm8k_train": 3_000,
    "mmlu_pro": 6_000,
    "routellm_mmlu": 6_500,
    "webquestions": 4_000,
    "issuebench_prompts": 1_000,
    "nq_open_dev": 1_000,
}
#: Never trained on: whole sources and whole subjects, to see what generalises. Share-alike ones
#: (nq, dolly, xquad) may not be trained on at all.
UNSEEN_SOURCES = re.compile(
    r"strongreject|humaneval|agieval_sat-math|mgsm_sw|self_instruct_seed|nq_open|dolly|xquad"
)
UNSEEN_KINDS = re.compile(
    r"/(virology|college_mathematics|high_school_psychology|jurisprudence|philosophy|engineering)$"
)
UNSEEN = 10  # the fold of those
#: Level of a source whose kind of task says it all.
LEVELS = {
    "banking77": 1.1,
    "clinc150": 1.1,
    "webquestions": 1.2,
    "nq_open_dev": 1.2,
    "xquad": 1.8,
    "dolly_sample": 1.8,
    "humaneval": 2.9,
    "self_instruct_seed": 2.2,
    "user_oriented_instructions": 2.2,
    "arena_hard_v0.1": 4.3,
    "mt_bench_101": 2.1,
    "belle_eval": 2.1,
    "belle_seed": 2.0,
    "qmsum_test": 3.5,
    "awesome_chatgpt_prompts": 2.9,
    "issuebench_prompts": 4.0,
    "agieval_sat-math": 2.7,
    "agieval_gaokao-mathqa": 3.5,
    "agieval_gaokao-mathcloze": 3.8,
    "agieval_gaokao-physics": 3.3,
    "agieval_gaokao-chemistry": 3.0,
}
MATH_LEVELS = {"1": 2.2, "2": 2.7, "3": 3.3, "4": 3.9, "5": 4.6}
TEMPLATE_LEVELS = {1: 1.1, 2: 2.0, 3: 3.1, 4: 4.0, 5: 4.8}
SYSTEMS = (
    "You are a helpful assistant.",
    "You are the support agent of an online shop. Be brief and polite.",
    "You are an expert programmer.",
    "Answer in the user's language.",
    "You are a careful assistant. Think step by step and give the answer at the end.",
    "Respond in JSON with the keys answer and confidence.",
    "You help the customers of a bank. Never give advice on investments.",
    "You are a friendly tutor for students of all ages.",
)


@dataclass(frozen=True)
class Row:
    """One example. Folds: 0 to 7 train, 8 calibrates, 9 tests, 10 is unseen."""

    text: str
    level: float | None
    sensitive: float | None
    source: str
    kind: str
    fold: int
    need_strong: int | None = None  # a weak model failed and a strong one did not; test only


def level_of(row: dict[str, Any]) -> float | None:
    """The level of one public row, 1.0 to 5.0, or None where nothing tells it."""
    source, outcomes = row["source"], row.get("outcomes") or {}
    if source == "routellm_mmlu":
        weak, strong = outcomes["mixtral-8x7b-instruct"], outcomes["gpt-4-1106-preview"]
        return {(1, 1): 1.9, (0, 1): 3.7, (0, 0): 4.0, (1, 0): 2.7}[(int(weak), int(strong))]
    if source == "mmlu_pro":
        return 4.9 - 3.2 * fmean(outcomes.values())
    if source == "llmrouter_dc":  # models of 7 to 70 B; what they do not know by heart is no task
        ease = fmean(outcomes.values())
        return 2.4 - 1.2 * ease if row["kind"].endswith("_qa") else 4.4 - 2.8 * ease
    if source == "zeroeval_math_l5":
        return 5.0 - 1.2 * fmean(outcomes.values())
    if source in ("gsm8k_train", "gsm8k_test", "routellm_gsm8k"):
        steps = re.search(r"(\d+) steps", row.get("difficulty") or "")
        return 1.4 + 0.16 * int(steps[1]) if steps else 1.9
    if source == "math_test":
        return MATH_LEVELS[row["difficulty"][-1]]
    if source.startswith("mgsm"):
        return 1.9
    if source.startswith("agieval"):
        return LEVELS.get(source, 2.5)
    if source == "belle_eval" and "code" in row["kind"]:
        return 2.5
    return LEVELS.get(source.partition("_")[0] if source.startswith("xquad") else source)


def sensitive_of(row: dict[str, Any]) -> float | None:
    """1 or 0, or None: exam questions on medicine and law are neither."""
    if row.get("sensitive") is not None:
        return float(row["sensitive"])
    kind = row.get("kind", "")
    if re.search(r"math|code|coding|physics|chem|comput|engineer|gsm|logic|factoid", kind):
        return 0.0
    return 0.0 if row["source"] in ("webquestions", "belle_eval", "mt_bench_101") else None


def need_strong_of(row: dict[str, Any]) -> int | None:
    outcomes = row.get("outcomes") or {}
    if {"mixtral-8x7b-instruct", "gpt-4-1106-preview"} <= set(outcomes):
        weak, strong = outcomes["mixtral-8x7b-instruct"], outcomes["gpt-4-1106-preview"]
        return int(weak < 0.5 <= strong)
    return None


def unwrap(text: str, chance: random.Random) -> str:
    """Exam wrappers tell the source, not the difficulty: `Answer:` and `Options:` go or vary."""
    text = re.sub(r"\n?Answer:\s*$", "", text)
    if chance.random() < 0.5:
        text = text.replace("\nOptions:\n", "\n")
    if chance.random() < 0.3:
        text = re.sub(r"(?m)^\(?([A-J])[.)]\)? ?", lambda m: f"{m[1].lower()}) ", text)
    return text


def dressed(text: str, chance: random.Random) -> str:
    """Now and then a system prompt or earlier turns, which do not change what is asked."""
    roll = chance.random()
    if roll > 0.15:
        return render_prompt(text)
    turns = [{"role": "system", "content": chance.choice(SYSTEMS)}]
    if roll < 0.04:
        turns += [
            {"role": "user", "content": chance.choice(("Hi", "I have a question", "hello there"))},
            {"role": "assistant", "content": "Hello! How can I help you today?"},
        ]
    return render([*turns, {"role": "user", "content": text}])


def public_rows(data: Path, chance: random.Random) -> Iterator[Row]:
    taken: dict[str, int] = {}
    for name in ("outcomes", "prompts", "sensitive", "sa/prompts"):
        with gzip.open(data / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        chance.shuffle(rows)
        for row in rows:
            source, kind = row["source"], row.get("kind", "")
            taken[source] = taken.get(source, 0) + 1
            if taken[source] > CAPS.get(source, 10**9):
                continue
            unseen = UNSEEN_SOURCES.match(source) or UNSEEN_KINDS.search(kind)
            messages = row.get("messages")
            yield Row(
                text=render(messages) if messages else dressed(unwrap(row["text"], chance), chance),
                level=level_of(row),
                sensitive=sensitive_of(row),
                source=source,
                kind=kind,
                fold=UNSEEN if unseen else row["fold"],
                need_strong=need_strong_of(row),
            )


def template_rows(chance: random.Random, copies: int) -> Iterator[Row]:
    """Our own prompts, filled and slightly disturbed; whole templates are held out."""
    with (Path(__file__).parent / "templates.toml").open("rb") as file:
        book = tomllib.load(file)
    slots = book.pop("slots")

    def fill(template: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda m: chance.choice(slots[m[1]]), template)

    for language, kinds in book.items():
        entries = [(None, t) for t in kinds["sensitive"]] + [(c, t) for c, t in kinds["plain"]]
        for position, (level, template) in enumerate(entries):
            fold = (9, 8)[position % 2] if position % 7 == 3 else 0
            times = copies if "{" in template else max(4, copies * 3 // 4)
            for _ in range(times):
                yield Row(
                    text=dressed(disturb(fill(template), chance), chance),
                    level=None if level is None else TEMPLATE_LEVELS[level],
                    sensitive=float(level is None),
                    source=f"template_{language}",
                    kind="sensitive" if level is None else f"complexity {level}",
                    fold=fold,
                )


OPENINGS = (
    "",
    "",
    "",
    "",
    "Please help: ",
    "Hi, ",
    "Question: ",
    "hey, ",
    "Quick one: ",
    "Hello! ",
)
ENDINGS = ("", "", "", "", " Thanks!", " please", " Thank you in advance.", " Be brief.", " ...")


def disturb(text: str, chance: random.Random) -> str:
    """A greeting, an ending, another case or a typo: none of them changes what is asked."""
    text = chance.choice(OPENINGS) + text + chance.choice(ENDINGS)
    roll = chance.random()
    if roll < 0.12:
        return text.lower()
    if roll < 0.15:
        return text.upper()
    if roll < 0.25 and len(text) > 8:
        at = chance.randrange(1, len(text) - 1)
        return text[:at] + text[at + 1 :]
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--copies", type=int, default=24, help="of each template with slots")
    args = parser.parse_args()
    chance = random.Random(SEED)
    rows = [*public_rows(args.data, chance), *template_rows(chance, args.copies)]
    rows = [row for row in rows if row.text.strip()]
    chance.shuffle(rows)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(args.out, "wt", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(asdict(row), ensure_ascii=False) + "\n")
    known = sum(row.level is not None for row in rows)
    positive = sum(row.sensitive == 1 for row in rows)
    print(f"{len(rows)} rows, {known} with a level, {positive} sensitive -> {args.out}")


if __name__ == "__main__":
    main()
