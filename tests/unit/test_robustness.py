"""What `models.evaluation` measures: disturbances, flips, odd texts, and words that are sought."""

from __future__ import annotations

import json
import random
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pytest

from fareway.classify import Classifier
from fareway.policy import load_policy
from fareway.settings import PACKAGE
from models.evaluation import additions, robustness
from models.evaluation.disturbances import DISTURBANCES, HARMLESS, ODD_TEXTS, Disturbance, benign
from models.evaluation.robustness import Flips, Place, Prompt

ROOT = Path(__file__).parents[2]
CLASSIFIER = ROOT / "models" / "classifier"
TEXT = 'Où est le café "Exposé", please? It opens at nine, says my sister Anna.'
CHANGES = {disturbance.name: disturbance.change for disturbance in DISTURBANCES}


def changed(name: str, text: str = TEXT) -> str:
    return CHANGES[name](text, random.Random(1))


@pytest.fixture(scope="module")
def judge() -> robustness.Judge:
    classifier = Classifier.load(CLASSIFIER)
    return robustness.judge_of(classifier, load_policy(PACKAGE / "policy.toml"))


def test_every_disturbance_has_a_name_of_its_own() -> None:
    assert len(CHANGES) == len(DISTURBANCES)


@pytest.mark.parametrize("name", CHANGES)
def test_a_disturbance_changes_a_text_and_its_seed_tells_how(name: str) -> None:
    assert changed(name) != TEXT
    assert changed(name) == changed(name)


@pytest.mark.parametrize("text", ["", "?", "a", "说", "two words"])
def test_every_disturbance_takes_the_shortest_texts(text: str) -> None:
    assert all(isinstance(changed(name, text), str) for name in CHANGES)


@pytest.mark.parametrize(
    ("name", "undone"),
    [
        ("spaces doubled", lambda text: text.replace("  ", " ")),
        ("line breaks", lambda text: " ".join(text.split())),
        ("zero-width characters", lambda text: "".join(c for c in text if c.isprintable())),
        ("in JSON", lambda text: json.loads(text)["prompt"]),
    ],
)
def test_what_is_only_looks_can_be_taken_off_again(name: str, undone) -> None:
    assert undone(changed(name)) == TEXT


def test_only_what_the_name_says_is_lost() -> None:
    assert changed("spaces lost").replace(" ", "") == TEXT.replace(" ", "")
    assert changed("no accents") == TEXT.replace("ù", "u").replace("é", "e")
    assert changed("no punctuation") == "".join(c for c in TEXT if c not in '",?.')
    assert changed("no accents", "हिन्दी мой が") == "हिन्दी мой が"


def test_homoglyphs_look_like_latin_and_are_not() -> None:
    pairs = [(a, b) for a, b in zip(TEXT, changed("homoglyphs"), strict=True) if a != b]
    assert pairs
    assert all(unicodedata.name(b).startswith("CYRILLIC") for _, b in pairs)


def test_more_typos_are_more_typos() -> None:
    def harm(name: str) -> int:
        text = TEXT * 10
        other = changed(name, text).split()
        return sum(word not in text.split() for word in other)

    assert 0 < harm("typos, 2 % of letters") < harm("typos, 5 % of letters")


def test_harmless_words_stand_where_the_name_says_and_are_as_many() -> None:
    assert changed("100 words before").endswith(f"\n\n{TEXT}")
    assert changed("100 words after").startswith(f"{TEXT}\n\n")
    before, after = changed("middle of 3,000 words").split(TEXT)
    assert len(before.split()) >= 1_500 <= len(after.split())
    assert 30 <= len(benign(30, random.Random(0)).split()) < 30 + max(map(len, HARMLESS))


def test_flips_are_counted_by_what_the_prompt_is_and_where_it_was() -> None:
    rows = [
        # sensitive, before, after
        (True, Place("premium", True, 2.0), Place("cheap", False, -1.0)),  # leaves, down
        (True, Place("premium", True, 1.0), Place("premium", True, 2.0)),  # stays
        (True, Place("cheap", False, -1.0), Place("premium", True, 1.0)),  # was never found
        (False, Place("mid", False, -3.0), Place("premium", True, 0.5)),  # enters, up
        (False, Place("premium", True, 0.1), Place("cheap", False, -9.0)),  # was an alarm; down
        (False, Place("mid", False, -3.0), Place("mid", False, -4.0)),
    ]
    prompts = [Prompt("", sensitive) for sensitive, _, _ in rows]
    found = robustness.flips(prompts, [a for _, a, _ in rows], [b for _, _, b in rows])
    assert found == Flips(
        prompts=6, tier=4, down=2, found=2, left=1, quiet=2, entered=1, mean=-1.0, worst=-3.0
    )


def shy(texts: Sequence[str]) -> list[Place]:
    """In the lane is what shouts of a secret; a text's length is its log-odds."""
    return [
        Place("premium", True, len(text)) if "SECRET" in text else Place("cheap", False, -1.0)
        for text in texts
    ]


def test_the_table_tells_each_disturbance_apart_and_leaves_prompts_out_where_told() -> None:
    prompts = [Prompt("SECRET", True), Prompt("secret", False), Prompt("SECRET?", True)]
    lower = Disturbance("lower", lambda text, _: text.lower())
    upper = Disturbance("upper", lambda text, _: text.upper(), every=2)
    found = robustness.table(prompts, shy, [lower, upper])
    assert (found["lower"].left, found["lower"].down, found["lower"].worst) == (2, 2, -8.0)
    assert found["upper"].prompts == 2
    assert (found["upper"].tier, found["upper"].entered) == (0, 0)


def test_the_search_finds_a_weak_word_and_no_more_than_it_may_ask() -> None:
    asked: list[str] = []

    def score(added: str) -> float:
        asked.append(added)
        return 3.0 - added.count(" zebra") + 0.1 * len(added.split())

    pieces = [f" word{i}" for i in range(40)] + [" zebra"]
    best = additions.search(score, pieces, random.Random(0), length=4, budget=400)
    assert best.text.count(" zebra") >= 3
    assert len(asked) <= 401
    assert best.log_odds == min(map(score, asked.copy()))


def test_the_search_adds_nothing_where_nothing_helps() -> None:
    best = additions.search(lambda added: len(added), ["a", "b"], random.Random(0))
    assert best == additions.Addition("", 0)


def test_an_attack_is_told_by_its_worst_case() -> None:
    def weak(texts: Sequence[str]) -> list[Place]:
        return [
            Place("cheap", False, -2.0) if "lullaby" in text else Place("premium", True, 1.0)
            for text in texts
        ]

    prompts = [Prompt("one", True), Prompt("two", True), Prompt("three", False)]
    found = robustness.attacks(prompts, weak, [" lullaby", " drum"], budget=400)
    assert found["suffix"]["searches"] == found["suffix"]["left"] == 2
    assert found["prefix"]["worst"] == found["prefix"]["mean"] == -3.0
    assert "lullaby" in found["prefix"]["worst_text"]


def test_the_vocabulary_is_text_without_marks() -> None:
    pieces = additions.vocabulary(CLASSIFIER / "tokenizer.json")
    assert {" the", "ing"} < set(pieces)
    assert not {"<s>", "[INST]", "<0x0A>", " "} & set(pieces)


def test_any_text_gets_a_verdict(judge: robustness.Judge) -> None:
    places = robustness.odd(judge)
    assert set(places) == set(ODD_TEXTS)
    assert all(-14 < place.log_odds < 14 for place in places.values())


def test_the_report_has_a_line_for_all_that_was_measured() -> None:
    place = asdict(Place("cheap", False, -1.0))
    side = {"searches": 30, "left": 2, "mean": -1.0, "worst": -2.0, "worst_text": "x"}
    row = asdict(Flips(9, 8, 7, 6, 5, 4, 3, -1.0, -2.0))
    said = {"flips": {"shouting": row}, "odd": {"void": place}, "suffix": side, "prefix": side}
    lines = robustness.report(said).splitlines()
    assert lines[1].split() == ["shouting", "9", "8", "7", "5/6", "3/4", "-1.00", "-2.00"]
    assert lines[-1].split() == ["prefix", "2/30", "-1.00", "-2.00"]
