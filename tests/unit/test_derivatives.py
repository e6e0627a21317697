"""The edits do what they are named for, and the evaluation counts what it says."""

from __future__ import annotations

import random

import pytest

from models.evaluation import edits
from models.evaluation.derivatives import Pair, judged, report, summary
from models.evaluation.likenesses import Prompt

TEXT = "Does Anna Miller know what 12 cards cost before the trip? It is not for me."


@pytest.mark.parametrize("kind", edits.POSITIVE)
def test_every_edit_changes_the_text_and_is_seeded(kind: str) -> None:
    edit = edits.POSITIVE[kind]
    text = f"Café? {TEXT}"
    once = edit(text, "en", random.Random(1))
    assert once not in (None, text)
    assert once == edit(text, "en", random.Random(1))


def test_an_edit_with_nothing_to_change_says_so() -> None:
    assert edits.numbered("no digits", "en", random.Random(0)) is None
    assert edits.contrary("quux", "en", random.Random(0)) is None
    assert edits.typo("你好世界", "zh", random.Random(0)) is None


def test_negation_and_contraries_change_what_is_said() -> None:
    assert edits.negated(TEXT, "en", random.Random(0)) == TEXT.replace(" not", "")
    assert "after" in (edits.contrary("the day before it", "en", random.Random(0)) or "")


def test_rates_count_a_pair_that_is_found_and_known() -> None:
    def pair(same: bool | None, found: bool, repeats: bool) -> Pair:
        return Pair(f"kind {same}", "en", same, "a", "b", found, repeats)

    said = summary(
        [
            pair(True, True, True),
            pair(True, False, True),
            pair(False, True, True),
            *[pair(False, True, False)] * 3,
            pair(None, True, True),
        ]
    )
    assert said["together"] == {
        "positives": 2,
        "negatives": 4,
        "recall": 0.5,
        "wrong": 0.25,
        "precision": 0.6667,
    }
    assert said["kinds"]["kind None"]["reused"] == 1
    page = report({"half": "told", "prompts": 1, "sources": 1, "none": 0, **said})
    assert "| kind True | 2 | 50.0% | 50.0% |" in page


def test_the_halves_are_judged_apart() -> None:
    texts = [f"how do i pay my {word} bill online" for word in ("gas", "phone", "water", "power")]
    prompts = [
        Prompt(text, "bills", "en", "told" if i % 2 else "chosen", str(i))
        for i, text in enumerate(texts)
    ]
    pairs = list(judged(prompts, "told"))
    assert {p.kept for p in pairs} == {texts[1], texts[3]}
    assert not any(p.reused for p in pairs if p.kind == "most similar prompt")
    assert all(p.reused for p in pairs if p.kind == "case")
