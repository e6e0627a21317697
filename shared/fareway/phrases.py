"""Text -> words without case and accents; phrases of a small notation -> where they stand. Pure.

The notation is told at the head of `follow_up.toml`. Regular expressions of so many phrases are
slow to compile and to try at each character; here only those are tried that end in a word.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, product

#: Words that may stand where a phrase has a space, and characters where it is unspaced.
GAP, UNSPACED_GAP = 2, 12

_MARKS = ".!?…。！？؟।;\n"
_TOKEN = re.compile(rf"[\w\u0900-\u0963\u0966-\u097f]+|[{_MARKS}]+")
_LONG_DRAWN = re.compile(r"([^\W\d])\1{2,}")
_FOLD = str.maketrans(
    "àáâãäåāăąçćčďđèéêëēęěğìíîïīıłñńňòóôõöøōőřśşšșťțùúûüūůűýÿźžżёأإآىة",
    "aaaaaaaaacccddeeeeeeegiiiiiilnnnoooooooorssssttuuuuuuuyyzzzеااايه",
    "'’ʼ‘\u0307\u064b\u064c\u064d\u064e\u064f\u0650\u0651\u0652",
)

Words = list[str]
#: A place of a phrase: the words that may stand there, and how many others before them.
_Place = tuple[frozenset[str], int]
_Phrase = tuple[_Place, ...]
#: Phrases that end in a word: those whose last two words are tied, by the first of them; others.
_Ending = tuple[dict[str, list[tuple[str, _Phrase]]], list[tuple[str, _Phrase]]]


def fold(text: str) -> str:
    """Text without case, accents and apostrophes."""
    return text.casefold().translate(_FOLD)


def words_of(text: str) -> Words:
    """Words without case, accents and apostrophes, "." and "?" of its sentences, "^" before."""
    text = _LONG_DRAWN.sub(r"\1", fold(text))
    words = ["^"]
    for token in _TOKEN.findall(text):
        if token[0] not in _MARKS:
            words.append(token)
        elif words[-1] not in ".?":
            words.append("?" if "?" in token or "？" in token or "؟" in token else ".")
    return words if words[-1] in ".?" else [*words, "."]


class Phrases:
    """Phrases by their last word, which is mostly the rarest, and read back from there.

    A line of the file is parsed when its last word is first met: a process starts sooner.
    """

    def __init__(self, lines: Mapping[str, Sequence[str]]) -> None:
        self._lines: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        self._parsed: dict[str, _Ending] = {}
        for kind, of_kind in lines.items():
            for line in of_kind:
                entry = kind, line
                for last in line[max(line.rfind(" "), line.rfind("+")) + 1 :].split("|"):
                    self._lines[last[last.rfind("_") + 1 :]].append(entry)

    def spans(self, words: Words) -> Iterator[tuple[str, int, int]]:
        """The phrases that stand in words: kind, first word and last word of each."""
        for last, word in enumerate(words):
            if word in self._lines:
                after, anywhere = self._parsed.get(word) or self._parse(word)
                for kind, phrase in (*after.get(words[last - 1], ()), *anywhere):
                    first = _read_back(words, last, phrase)
                    if first >= 0:
                        yield kind, first, last

    def _parse(self, word: str) -> _Ending:
        after: dict[str, list[tuple[str, _Phrase]]] = {}
        anywhere = []
        for kind, line in self._lines[word]:
            for phrase in _phrases(line):
                choices, gap = phrase[0]
                if word not in choices:
                    continue
                if gap or len(phrase) == 1:
                    anywhere.append((kind, phrase))
                for before in () if gap or len(phrase) == 1 else phrase[1][0]:
                    after.setdefault(before, []).append((kind, phrase))
        self._parsed[word] = after, anywhere
        return self._parsed[word]


def _phrases(line: str) -> list[_Phrase]:
    """A line of the file -> its phrases, each from its last place to its first."""
    places = [
        _choices(place, 0 if tied else GAP)
        for group in line.split()
        for tied, place in enumerate(group.split("+"))
    ]
    return [tuple(chain.from_iterable(choice)) for choice in product(*reversed(places))]


def _choices(place: str, gap: int) -> list[_Phrase]:
    """The single words of a place together, and by itself each that is tied of several."""
    words = place.split("|")
    single = frozenset(word for word in words if "_" not in word)
    tied = [tuple(word.split("_")) for word in words if "_" in word]
    return ([((single, gap),)] if single else []) + [
        (*((frozenset((word,)), 0) for word in reversed(first)), (frozenset((last,)), gap))
        for last, *first in tied
    ]


def _read_back(words: Words, at: int, places: _Phrase) -> int:
    """The first word of a phrase whose last is at a place; -1 where it does not stand there."""
    if at >= (GAP + 1) * len(places) and "^" in places[-1][0]:
        return -1
    gap = places[0][1]
    for choices, next_gap in places[1:]:
        for skipped in range(gap + 1):
            at -= 1
            if at < 0:
                return -1
            if words[at] in choices:
                break
            if skipped == gap or words[at] in ".?":
                return -1
        gap = next_gap
    return at


def stands(phrase: Sequence[Sequence[str]], text: str) -> bool:
    """Whether the pieces of a phrase follow each other in a text."""
    for piece in phrase[0]:
        at = text.find(piece)
        rest = at + len(piece)
        if at >= 0 and (len(phrase) == 1 or stands(phrase[1:], text[rest : rest + UNSPACED_GAP])):
            return True
    return False
