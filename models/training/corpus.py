"""The texts that the encoder is distilled on: the table's, changed ones, and bags of words.

The teachers answer for any text, so that texts need not make sense: a prompt with other words in
it shows how the meaning turns on each, and a bag of words what words mean that no prompt has.
"""

from __future__ import annotations

import gzip
import json
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.training.teachers import TEACHERS

SWAPPED, DROPPED = 0.2, 0.05  # of a changed text's words
SPAN = 12  # words at least of the part of a text that a changed one begins from


@dataclass(frozen=True)
class Amount:
    """How much is read.

    Args:
        characters: of a text, head and tail; of every tenth text three times that.
        copies: of each text, changed.
        bag: words at most in one bag.
        bags_per_word: bags in which each word of the teachers' vocabularies is.
        texts: of the table, and words of each vocabulary; all by default.
    """

    characters: int = 320
    copies: int = 1
    bag: int = 4
    bags_per_word: int = 3
    texts: int | None = None


def corpus(table: Path, teachers: Sequence[str], amount: Amount, seed: int) -> dict[str, str]:
    """Texts, each once, and the language of each; only of what may be trained on."""
    chance, texts = random.Random(seed), dict[str, str]()
    with gzip.open(table, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row["shippable"] and not row["for_sensitivity"]:
                long = len(texts) % 10 == 0
                limit = amount.characters * (3 if long else 1)
                texts[clip(row["text"], limit)] = row["language"]
            if len(texts) == amount.texts:
                break
    more = dict(changed(texts, amount.copies, chance))
    for teacher in map(TEACHERS.__getitem__, teachers):
        for bag in bags(teacher.words()[: amount.texts], amount, chance):
            more[bag] = teacher.language_of_words
    return {**more, **texts}


def clip(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit * 2 // 3]} {text[-limit // 3 :]}"


def changed(texts: dict[str, str], copies: int, chance: random.Random) -> Iterator[tuple[str, str]]:
    """Parts of texts, some of whose words are gone or those of other texts in their language."""
    spoken: dict[str, list[str]] = defaultdict(list)
    for text, language in texts.items():
        spoken[language] += dict.fromkeys(text.split())
    for _ in range(copies):
        for text, language in texts.items():
            said = text.split()
            start = chance.randrange(max(1, len(said) - SPAN))
            part = said[start : start + chance.randint(SPAN, 4 * SPAN)]
            kept = [word for word in part if chance.random() >= DROPPED]
            yield " ".join(_other(word, spoken[language], chance) for word in kept), language


def _other(word: str, spoken: Sequence[str], chance: random.Random) -> str:
    return chance.choice(spoken) if chance.random() < SWAPPED else word


def bags(vocabulary: Sequence[str], amount: Amount, chance: random.Random) -> Iterator[str]:
    """Each word in some texts of 1 to `bag` words, in other company each time."""
    order = [*vocabulary]
    for _ in range(amount.bags_per_word):
        chance.shuffle(order)
        start = 0
        while start < len(order):
            size = chance.randint(1, amount.bag)
            yield " ".join(order[start : start + size])
            start += size
