"""Prompts and words that are like one another and are not the same, to see what is told apart."""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from models.evaluation import edits

Half = Literal["chosen", "told"]
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt: `intent` is what its source says that it asks, where it says so."""

    text: str
    source: str
    language: str
    half: Half
    intent: str


def words_of(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


def look_alikes(prompts: Sequence[Prompt], language: str) -> dict[str, list[str]]:
    """Of the words that a language's prompts use often, those that lose a letter to the same.

    Two that differ in accents alone are one word that is typed in two ways.
    """
    counts: Counter[str] = Counter()
    sources = defaultdict(set)
    for prompt in prompts:
        if prompt.language == language:
            counts.update(words_of(prompt.text))
            for word in words_of(prompt.text):
                sources[word].add(prompt.source)
    # A misspelling is seldom made by the people of three sources.
    least = 3 if language == "en" else 1
    common = [w for w, n in counts.items() if n > 3 and len(w) > 3 and len(sources[w]) >= least]
    by_part = defaultdict(set)
    for word in common:
        for part in (word, *(word[:i] + word[i + 1 :] for i in range(len(word)))):
            by_part[part].add(word)
    found: dict[str, set[str]] = defaultdict(set)
    for some in by_part.values():
        for word in some:
            found[word] |= {other for other in some if _unaccented(other) != _unaccented(word)}
    return {word: sorted(others) for word, others in found.items() if others}


def _unaccented(word: str) -> str:
    return edits.unaccented(word, "", random.Random(0)) or word


class Index:
    """The prompts of a source by their words."""

    def __init__(self, prompts: Sequence[Prompt]) -> None:
        self._prompts = [(p, frozenset(words_of(p.text))) for p in prompts]
        self._by_word = defaultdict(list)
        for place, (_, words) in enumerate(self._prompts):
            for word in words:
                self._by_word[word].append(place)

    def nearest(self, prompt: Prompt, count: int) -> list[Prompt]:
        """The prompts that share most of its words and ask for something else."""
        words = frozenset(words_of(prompt.text))
        rare = sorted(words, key=lambda w: (len(self._by_word[w]), w))[:6]
        places = {place for word in rare for place in self._by_word[word][:2_000]}
        several = len({p.intent for p, _ in self._prompts}) > 20
        others = [
            (len(words & theirs) / len(words | theirs), other.text, other)
            for other, theirs in (self._prompts[place] for place in sorted(places))
            if _mask(other.text) != _mask(prompt.text)
            and not (several and other.intent == prompt.intent)
        ]
        return [other for *_, other in sorted(others, key=lambda o: (-o[0], o[1]))[:count]]


def _mask(text: str) -> str:
    """A text without its numbers, marks, case, and the capitalised words within its sentences."""
    text = re.sub(r"(?<=[\w,] )[A-Z][\w'’]*(?: [A-Z][\w'’]*)*", "@", text)
    return " ".join(re.sub(r"[\W\d_]+", " ", text.replace("@", " xnamex ").lower()).split())
