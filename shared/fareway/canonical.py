"""A prompt -> its canonical words: what is left where case, marks and courtesy are taken off.

Two texts that ask for the same thing in almost the same words have the same canonical words.
Numbers are all one number; the names are told, so that they can be one name too.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

#: What every number is.
NUMBER = "0"
#: A text with more of its words capitalised than this share has no names that could be told.
CAPITALISED = 0.5

# Scripts that write no spaces: a character is a word. Kana, Han, Thai, Lao, Burmese, Khmer.
_GLYPHS = (
    "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
)
# Vowel signs and accents, which `\w` leaves out: Hebrew, Arabic, India's scripts (less the danda).
_SIGNS = (
    "\u0300-\u036f\u0483-\u0487\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    "\u0900-\u0963\u0971-\u0dff"
)
_TOKEN = re.compile(
    # The likeliest first: most of a text is runs of small letters, and spaces and commas, of which
    # none is tried.
    rf"(?P<word>(?:[a-zA-Z]|[^\W{_GLYPHS}]|[{_SIGNS}])"
    rf"(?:[a-z]++|[^\W{_GLYPHS}]|[{_SIGNS}]|['’ʼ`](?=\w))*+)"
    r"|(?=[^ ,\w])(?:"
    # `.` and the like, which are ASCII after NFKC, end a sentence before a space or a glyph.
    # A run is tried whole and once: six thousand dots would else take a second.
    rf"(?P<end>(?<![.!?…])[.!?…]++(?=[\"'”’»)\]*_]*(?:[\s{_GLYPHS}]|$))|[。।؟]+"
    r"|\n\s*\n|\n(?=[^\S\n]*[^\sa-zа-яα-ω]))"
    # Operators, which change a formula or a piece of code; `*` also marks up text.
    r"|(?P<operator>[+=<>^]|(?<=\w)#|(?<=\w)\*(?=[\w(])|(?<=\S )\*(?= \S)))"
    rf"|(?P<glyph>[{_GLYPHS}])"
)
_QUESTION = re.compile("[?؟]")
_DIGITS = re.compile(r"\d+(?:[.,:/\-]\d+)*")
_ORDINAL = re.compile(r"0(?:st|nd|rd|th|er|ere|e|o|a)")
_INVISIBLE = re.compile("[\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff]")
_ACCENTS = re.compile("(?<=[a-zα-ω])[\u0300-\u036f]+")
#: Letters of Vietnamese, in which the accents are not to be spared.
_VIETNAMESE = re.compile("[\u1ea0-\u1ef9]")
_APOSTROPHES = str.maketrans("", "", "'’ʼ`")
_BEFORE_NOT = (
    *("do", "does", "did", "is", "are", "was", "were", "has", "have", "had"),
    *("would", "could", "should", "must", "need"),
)
_ENDINGS = {"is": "s", "are": "re", "have": "ve", "will": "ll", "would": "d"}
_BEFORE = {
    "is": (
        "he",
        "she",
        "it",
        "that",
        "what",
        "who",
        "where",
        "how",
        "there",
        "here",
        "when",
        "why",
    ),
    "are": ("you", "we", "they"),
    "have": ("i", "you", "we", "they"),
    "will": ("i", "you", "he", "she", "it", "we", "they"),
    "would": ("i", "you", "he", "she", "it", "we", "they"),
}
#: Two words -> the one that they are contracted to, without its apostrophe.
_CLOSED = {
    ("i", "am"): "im",
    ("can", "not"): "cant",
    ("will", "not"): "wont",
    **{(verb, "not"): f"{verb}nt" for verb in _BEFORE_NOT},
    **{(word, verb): word + _ENDINGS[verb] for verb, words in _BEFORE.items() for word in words},
}
_SECOND = frozenset(second for _, second in _CLOSED)

#: By their first word, the longest first.
_Phrases = dict[str, list[tuple[str, ...]]]


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence's canonical words.

    Args:
        words: without courtesies and articles; every number is NUMBER.
        names: of each word, whether it is part of a name.
        asks: whether it ends in a question mark or begins as a question does.
    """

    words: tuple[str, ...]
    names: tuple[bool, ...]
    asks: bool


@dataclass(frozen=True, slots=True)
class _Lists:
    articles: frozenset[str]
    negations: frozenset[str]
    asks: frozenset[str]
    german: frozenset[str]
    no_names: frozenset[str]
    anywhere: _Phrases
    openers: _Phrases
    closers: _Phrases


def sentences(text: str) -> list[Sentence]:
    """A text -> its sentences; those of which nothing but courtesy is left are none."""
    lists = _lists()
    raw = [(_plain(pairs, lists), question) for pairs, question in _tokens(text)]
    raw = [(pairs, question) for pairs, question in raw if pairs]
    named = _has_names(raw, lists)
    later = {
        word for pairs, _ in raw for word, capital in pairs[1:] if capital and named
    } - lists.no_names
    return [
        Sentence(
            tuple(word for word, _ in pairs),
            tuple(capital and word in later for word, capital in pairs),
            question or pairs[0][0] in lists.asks,
        )
        for pairs, question in raw
    ]


def glued(word: str) -> Iterator[str]:
    """A canonical word without the article that it may be glued to."""
    for article in _lists().articles:
        if word.startswith(article):
            yield word[len(article) :]
        if word.endswith(article):
            yield word[: -len(article)]


def negates(word: str) -> bool:
    """Whether a canonical word says no."""
    return word in _lists().negations


def _tokens(text: str) -> Iterator[tuple[list[tuple[str, bool]], bool]]:
    """Of each sentence, its words, each with whether it begins with a capital."""
    text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
    accented = _VIETNAMESE.search(text) is not None
    words: list[tuple[str, bool]] = []
    for token in _TOKEN.finditer(_DIGITS.sub(NUMBER, text)):
        kind, said = token.lastgroup, token.group()
        if kind == "word":
            if word := _bare(said, accented):
                words.append((word, said[0].isupper() and (len(said) == 1 or not said.isupper())))
        elif kind == "end":
            yield words, _QUESTION.search(said) is not None
            words = []
        else:
            words.append((said, False))
    yield words, False


def _bare(word: str, accented: bool) -> str:
    """A word without case, accents of Latin and Greek letters, and apostrophes."""
    if word.isascii() and word.isalpha():
        return word.lower()
    word = word.casefold().translate(_APOSTROPHES).strip("_")
    if not (accented or word.isascii()):
        word = _ACCENTS.sub("", unicodedata.normalize("NFD", word)).replace("ё", "е")
        word = unicodedata.normalize("NFC", word)
    if NUMBER in word and (word.count(NUMBER) > 1 or _ORDINAL.fullmatch(word)):
        return NUMBER
    return word


def _plain(words: list[tuple[str, bool]], lists: _Lists) -> list[tuple[str, bool]]:
    """Without courtesies and articles; contractions closed, runs of numbers one number."""
    kept: list[tuple[str, bool]] = []
    for said, capital in words:
        word = "cant" if said == "cannot" else said
        if word in _SECOND and kept and (closed := _CLOSED.get((kept[-1][0], word))):
            kept[-1] = (closed, False)
        elif word not in lists.articles and not (word == NUMBER and kept and kept[-1][0] == NUMBER):
            kept.append((word, capital))
    for at in range(len(kept) - 1, -1, -1):
        if kept[at][0] in lists.anywhere:
            del kept[at : at + _phrase(kept, at, lists.anywhere)]
    while kept and (length := _phrase(kept[::-1], 0, lists.closers)):
        del kept[-length:]
    while kept and (length := _phrase(kept, 0, lists.openers)):
        del kept[:length]
    return kept


def _phrase(words: list[tuple[str, bool]], at: int, phrases: _Phrases) -> int:
    """How many words the longest of the phrases takes that stands there; 0: none does."""
    for phrase in phrases.get(words[at][0], ()):
        if phrase == tuple(word for word, _ in words[at : at + len(phrase)]):
            return len(phrase)
    return 0


def _has_names(raw: list[tuple[list[tuple[str, bool]], bool]], lists: _Lists) -> bool:
    """Whether a capital within a sentence tells a name."""
    later = [capital for pairs, _ in raw for _, capital in pairs[1:]]
    german = sum(word in lists.german for pairs, _ in raw for word, _ in pairs)
    return 0 < sum(later) <= CAPITALISED * len(later) and german < 2


@cache
def _lists() -> _Lists:
    said = tomllib.loads(Path(__file__).with_name("words.toml").read_text("utf-8"))
    groups = [group for group in said.values() if isinstance(group, dict)]
    names = ("articles", "negations", "asks", "german", "no_names")
    words = {name: frozenset[str](said[name]) for name in names}
    bare = _Lists(**words, anywhere={}, openers={}, closers={})

    def phrases(kind: str, step: int) -> _Phrases:
        found: _Phrases = {}
        for text in dict.fromkeys(text for group in groups for text in group[kind]):
            phrase = tuple(word for pairs, _ in _tokens(text) for word, _ in _plain(pairs, bare))
            found.setdefault(phrase[::step][0], []).append(phrase[::step])
        return {word: sorted(those, key=len, reverse=True) for word, those in found.items()}

    return _Lists(
        **words,
        anywhere=phrases("anywhere", 1),
        openers=phrases("openers", 1),
        closers=phrases("closers", -1),
    )
