"""How well `fareway.fingerprint` tells a prompt's derivatives from other prompts, on public data.

    python -m models.evaluation.derivatives --data ../shared/data [--half chosen] [--show KIND]

Prompts of many sources and languages are kept one by one; each is then asked again with an edit
that leaves it the same, and with one that does not. It counts as reused where one of its keys is
found and the signature is repeated: right for the first, wrong for the second. Half of the
prompts are there to choose rules and thresholds on; the other half is what is told. Seeded.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fareway.fingerprint import Fingerprint, fingerprint
from models.evaluation import edits
from models.evaluation.likenesses import Half, Index, Prompt, look_alikes, words_of

FILES = ("prompts.jsonl.gz", "sa/prompts.jsonl.gz", "sensitive.jsonl.gz")
#: Prompts of each source and half.
EACH = 60
#: Passages rather than prompts, one template for all, or as long as a book.
LEFT_OUT = ("openai_moderation", "issuebench_prompts", "qmsum_test", "gsm8k_test")
#: Sources of one kind in several files.
TOGETHER = ("agieval", "belle", "ailuminate")
WRITTEN = ("languages_tasks", "world_everyday", "support_and_documents", "en_everyday")
HALVES = {"chosen": "the half to choose on", "told": "the half on which nothing was chosen"}
DOCS = Path(__file__).parents[2] / "docs" / "evaluation"


@dataclass(frozen=True, slots=True)
class Pair:
    """A prompt that is kept, one that asks, and what was made of it."""

    kind: str
    language: str
    same: bool | None  # None: not for one's judgement, told apart
    kept: str
    asked: str
    found: bool
    repeats: bool

    @property
    def reused(self) -> bool:
        return self.found and self.repeats


def read(data: Path) -> list[Prompt]:
    """The public prompts, and those that the project has written in languages they lack."""
    prompts = []
    for name in FILES:
        with gzip.open(data / name, "rt", encoding="utf-8") as file:
            prompts += [_prompt(json.loads(line)) for line in file]
    written = Path(__file__).parents[1] / "training" / "written"
    for name in WRITTEN:
        lines = (written / f"{name}.jsonl").read_text("utf-8").splitlines()
        prompts += [_prompt({"source": "written", **json.loads(line)}) for line in lines]
    return list({p.text: p for p in prompts if p.text and p.source not in LEFT_OUT}.values())


def _prompt(row: Mapping[str, Any]) -> Prompt:
    text = row.get("text") or ""
    if not text and row.get("messages"):
        text = next((m["content"] for m in row["messages"][::-1] if m["role"] == "user"), "")
    source = next((name for name in TOGETHER if row["source"].startswith(name)), row["source"])
    language = row.get("language") or "en"
    if source in (*TOGETHER, "written"):
        source = f"{source}_{language}"
    half: Half = "chosen" if random.Random(text).random() < 1 / 2 else "told"
    return Prompt(text.strip(), source, language, half, row.get("kind") or "")


def judged(prompts: Sequence[Prompt], half: Half, each: int = EACH) -> Iterator[Pair]:
    """All pairs of one half."""
    by_source = defaultdict(list)
    for prompt in prompts:
        by_source[prompt.source].append(prompt)
    words = {
        s: [w for p in some for w in words_of(p.text) if len(w) > 3]
        for s, some in by_source.items()
    }
    near = {language: look_alikes(prompts, language) for language in {p.language for p in prompts}}
    for source, some in sorted(by_source.items()):
        here = sorted((p for p in some if p.half == half), key=lambda p: p.text)
        chance = random.Random(f"{source} {half}")
        chance.shuffle(here)
        index = Index(some)
        for prompt in here[:each]:
            kept = fingerprint(prompt.text, "", b"evaluation")
            negative: dict[str, edits.Edit] = {
                "word replaced": edits.replaced(words[source] or ["word"]),
                "near word": edits.near(near[prompt.language]),
                "negation": edits.negated,
                "contrary": edits.contrary,
                "word inserted": edits.inserted(words[source] or ["word"]),
                "word removed": edits.removed,
                "words turned round": edits.turned,
            }
            for kind, edit in edits.POSITIVE.items():
                yield from _pair(
                    kind, True, prompt, edit(prompt.text, prompt.language, chance), kept
                )
            for kind, edit in negative.items():
                yield from _pair(
                    kind, False, prompt, edit(prompt.text, prompt.language, chance), kept
                )
            for other in index.nearest(prompt, 2):
                yield from _pair("most similar prompt", False, prompt, other.text, kept)
            question = edits.with_sentence(prompt.text, chance.choice(some).text, chance)
            yield from _pair("another prompt added", None, prompt, question, kept)


def _pair(
    kind: str, same: bool | None, prompt: Prompt, asked: str | None, kept: Fingerprint | None
) -> Iterator[Pair]:
    if asked is None or asked == prompt.text:
        return
    asking = fingerprint(asked, "", b"evaluation")
    found = bool(kept and asking and not set(asking.reads).isdisjoint(kept.writes))
    repeats = bool(kept and asking and asking.repeats(kept.signature))
    yield Pair(kind, prompt.language, same, prompt.text, asked, found, repeats)


def summary(pairs: Iterable[Pair]) -> dict[str, Any]:
    """Pairs -> the shares of each kind that are reused, and what they come to together."""
    pairs = list(pairs)
    kinds: dict[str, Any] = {}
    for pair in pairs:
        row = kinds.setdefault(
            pair.kind, {"same": pair.same, "pairs": 0, "found": 0, "repeats": 0, "reused": 0}
        )
        row["pairs"] += 1
        row["found"] += pair.found
        row["repeats"] += pair.repeats
        row["reused"] += pair.reused
    languages = sorted({pair.language for pair in pairs})
    return {
        "together": _rates(pairs),
        "kinds": kinds,
        "languages": {
            language: _rates([p for p in pairs if p.language == language]) for language in languages
        },
    }


def _rates(pairs: Sequence[Pair]) -> dict[str, float | int]:
    """Recall, the share of others reused, and the precision with as many of them as positives."""
    yes = [p.reused for p in pairs if p.same]
    no = [p.reused for p in pairs if p.same is False]
    recall, wrong = sum(yes) / max(1, len(yes)), sum(no) / max(1, len(no))
    precision = recall / (recall + wrong) if recall + wrong else 0.0
    return {
        "positives": len(yes),
        "negatives": len(no),
        "recall": round(recall, 4),
        "wrong": round(wrong, 4),
        "precision": round(precision, 4),
    }


def report(said: Mapping[str, Any]) -> str:
    """What was measured, as a Markdown page."""
    together = said["together"]
    lines = [
        "# Derivative prompts: what is told apart",
        "",
        f"`python -m models.evaluation.derivatives`: {said['prompts']} prompts of {said['sources']}"
        f" sources in {len(said['languages'])} languages, {HALVES[said['half']]}.",
        "",
        "Each is kept; edits of it ask. *Reused*: one of its keys is found and the signature is"
        " repeated. Precision: with as many negatives as positives.",
        "",
        f"**Precision {together['precision']:.4f}, recall {together['recall']:.3f}**"
        f" ({together['positives']} positive and {together['negatives']} negative pairs;"
        f" {together['wrong']:.2%} of the negatives are reused)."
        f" {said['none']:.1%} of the prompts are too short or too long to have a fingerprint,"
        " and count as missed.",
        "",
    ]
    for same, title in (
        (True, "The same, edited"),
        (False, "Another prompt"),
        (None, "Neither: more is asked"),
    ):
        lines += [f"| {title} | pairs | found | reused |", "|---|--:|--:|--:|"]
        lines += [
            f"| {kind} | {row['pairs']} | {row['found'] / row['pairs']:.1%}"
            f" | {row['reused'] / row['pairs']:.1%} |"
            for kind, row in said["kinds"].items()
            if row["same"] is same
        ]
        lines.append("")
    lines += ["| language | positives | recall | negatives | reused | precision |"]
    lines += ["|---|--:|--:|--:|--:|--:|"]
    lines += [
        f"| {language} | {row['positives']} | {row['recall']:.3f} | {row['negatives']}"
        f" | {row['wrong']:.2%} | {row['precision']:.4f} |"
        for language, row in said["languages"].items()
    ]
    lines += [
        "",
        "*Near word*: another real word that looks like it, the hardest there is; in languages"
        " without a list of words, and where a list lacks a form (`debe`, `deben`), it costs most."
        " Slips are the least found: a slip that makes a word of the language is not forgiven, and"
        " where no list says what is a word, only one in the middle of a long word is. The lists:"
        " German, English, Spanish, French, Italian, Dutch, Portuguese, Russian. *Another prompt"
        " added* is reused where it is no question: a sentence added may be a wish.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--half", choices=("chosen", "told"), default="told")
    parser.add_argument("--each", type=int, default=EACH, help="prompts of each source")
    parser.add_argument("--show", help="print pairs of this kind that were judged wrongly")
    args = parser.parse_args()
    prompts = read(args.data)
    begun = time.monotonic()
    pairs = list(judged(prompts, args.half, args.each))
    used = {p.kept for p in pairs}
    said = {
        "half": args.half,
        "prompts": len(used),
        "sources": len({p.source for p in prompts if p.text in used}),
        "none": round(sum(fingerprint(t, "", b"") is None for t in used) / len(used), 4),
        **summary(pairs),
    }
    if args.show:
        wrong = [p for p in pairs if p.kind == args.show and p.reused is not p.same]
        for pair in random.Random(0).sample(wrong, min(25, len(wrong))):
            print(f"{pair.language} found {pair.found:d} repeats {pair.repeats:d}")
            print(f"  {pair.kept[:400]!r}\n  {pair.asked[:400]!r}")
    print(report(said))
    print(f"{time.monotonic() - begun:.0f} s")
    if args.half == "told" and args.each == EACH:
        DOCS.mkdir(exist_ok=True)
        (DOCS / "derivatives.json").write_text(json.dumps(said, indent=1) + "\n", "utf-8")
        (DOCS / "derivatives.md").write_text(report(said), "utf-8")


if __name__ == "__main__":
    main()
