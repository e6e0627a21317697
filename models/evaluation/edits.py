"""Edits of a prompt that leave what it asks, and edits that do not, to see which are told apart.

An edit takes a text, its language (ISO 639-1) and a seeded `random.Random`; it gives the other
text, or None where it has nothing to change. No word of `fareway/words.toml` is read here.
"""

from __future__ import annotations

import random
import re
import tomllib
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Edit = Callable[[str, str, random.Random], str | None]

_SAID: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
_GREETINGS, _REQUESTS, _THANKS = _SAID["greetings"], _SAID["requests"], _SAID["thanks"]
_WORDS = _SAID["words"]
_NOT = {"en": "not", "de": "nicht", "nl": "niet"}
#: Put before a verb or taken away.
_NOES = {"es": "no", "it": "non", "pt": "não", "ru": "не"}
_WORD = re.compile(r"[^\W\d_]+")
_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_BLANKLESS = {"zh", "ja", "th"}


def cased(text: str, _: str, chance: random.Random) -> str | None:
    """lower, UPPER or Title Case."""
    return _other(text, chance.choice((str.lower, str.upper, str.title))(text))


def spaced(text: str, _: str, chance: random.Random) -> str | None:
    """Spaces doubled, some a line break; a blank line at the end."""
    return _other(
        text, re.sub(" ", lambda _: chance.choice((" ", " ", "  ", "\t", "\n")), text) + "\n\n"
    )


def space_lost(text: str, _: str, chance: random.Random) -> str | None:
    """One space between two words is gone."""
    return _swap_one(text, list(re.finditer(r"(?<=\w\w) (?=\w\w)", text)), lambda _: "", chance)


def unmarked(text: str, _: str, __: random.Random) -> str | None:
    """No punctuation at all, apostrophes and hyphens too."""
    return _other(text, "".join(c for c in text if not unicodedata.category(c).startswith("P")))


def marked(text: str, _: str, chance: random.Random) -> str | None:
    """A comma somewhere, typographic quotes, another mark at the end."""
    text = text.replace("'", "’").replace('"', "“")
    end = chance.choice(("", "?", "??", "!", "...", " ?", "."))
    commas = re.sub(r"(?<=\w) (?=\w)", lambda _: ", " if chance.random() < 1 / 8 else " ", text)
    return _other(text, commas.rstrip(" .!?。？！") + end)


def unaccented(text: str, _: str, __: random.Random) -> str | None:
    """Latin letters without accents."""
    bare = re.sub(r"(?<=[A-Za-z])[\u0300-\u036f]+", "", unicodedata.normalize("NFD", text))
    return _other(unicodedata.normalize("NFC", text), unicodedata.normalize("NFC", bare))


def invisible(text: str, _: str, chance: random.Random) -> str | None:
    """Characters that nobody sees, and emoji."""
    marks = "\u200b\u200d\u2060\ufeff"
    shown = "".join(c + (chance.choice(marks) if chance.random() < 0.1 else "") for c in text)
    return shown + chance.choice((" 🙏", " 😀😀", ""))


def polite(text: str, language: str, chance: random.Random) -> str | None:
    """A greeting, a request, thanks: one to three of them."""
    if language not in _GREETINGS:
        return None
    parts = [
        chance.choice(said.get(language, ("",))) if chance.random() < 0.6 else ""
        for said in (_GREETINGS, _REQUESTS, _THANKS)
    ]
    first = text
    if any(parts[:2]) and re.match(r"[A-Z][a-z]+ [a-z]", text) and chance.random() < 1 / 2:
        first = text[:1].lower() + text[1:]
    return _other(text, parts[0] + parts[1] + first + parts[2])


def flowery(text: str, language: str, chance: random.Random) -> str | None:
    """A courtesy that is rarer."""
    said = _SAID["flowery"].get(language)
    return said and chance.choice(said) + text


def contracted(text: str, language: str, chance: random.Random) -> str | None:
    """A contraction opened or made."""
    if language != "en":
        return None
    pairs = [*_WORDS["contractions"], *((b, a) for a, b in _WORDS["contractions"])]
    chance.shuffle(pairs)
    for before, after in pairs:
        other = re.sub(rf"\b{before}\b", after, text, count=1, flags=re.IGNORECASE)
        if other != text:
            return other
    return None


def article_lost(text: str, language: str, chance: random.Random) -> str | None:
    """One article is gone."""
    if language != "en":
        return None
    found = list(re.finditer(r"\b(?:the|a|an) (?=\w)", text))
    return _swap_one(text, found, lambda _: "", chance)


def typo(text: str, language: str, chance: random.Random) -> str | None:
    """One slip in a word of at least four letters: lost, doubled, swapped, replaced or added."""
    if language in _BLANKLESS:
        return None
    words = [m for m in _WORD.finditer(text) if len(m.group()) >= 4]
    return _swap_one(text, words, lambda word: _slip(word, text, chance), chance)


def typos(text: str, language: str, chance: random.Random) -> str | None:
    """Two slips."""
    once = typo(text, language, chance)
    return once and typo(once, language, chance)


def numbered(text: str, _: str, chance: random.Random) -> str | None:
    """Every number is another."""
    return _other(text, re.sub(r"\d+", lambda _: str(chance.randint(1, 999)), text))


def renamed(text: str, language: str, chance: random.Random) -> str | None:
    """A name within a sentence is another, of as many words or not, wherever it stands."""
    if language in ("de", *_BLANKLESS):
        return None
    found = [
        m.group()
        for m in re.finditer(r"(?<=[a-z,] )[A-Z][a-z]+(?: [A-Z][a-z]+)*", text)
        if m.group() not in ("I", "What", "How", "Who", "Why", "When", "Where", "Which", "The")
    ]
    if not found:
        return None
    new = " ".join(chance.sample(_WORDS["names"], chance.choice((1, 1, 2))))
    return re.sub(rf"\b{re.escape(chance.choice(found))}\b", new, text)


def added(text: str, language: str, chance: random.Random) -> str | None:
    """One sentence more, before, behind or between."""
    said = _SAID["asides"].get(language)
    return said and with_sentence(text, chance.choice(said), chance)


def with_sentence(text: str, sentence: str, chance: random.Random) -> str:
    """A text with the sentence before it, behind it, or after one of its own."""
    text = text.strip()
    ends = [m.end() for m in re.finditer(r"[.!?] (?=[A-Z])|[。？！](?=.)", text)]
    at = chance.choice([0, len(text), *ends])
    if at == 0:
        return f"{sentence} {text}"
    if at == len(text):
        return f"{text if text[-1] in '.!?。？！:' else text + '.'} {sentence}"
    return f"{text[:at]}{sentence} {text[at:]}"


def both(first: Edit, second: Edit) -> Edit:
    """One edit after the other."""

    def edit(text: str, language: str, chance: random.Random) -> str | None:
        once = first(text, language, chance)
        return once and second(once, language, chance)

    return edit


POSITIVE: dict[str, Edit] = {
    "case": cased,
    "spacing": spaced,
    "a space lost": space_lost,
    "all marks gone": unmarked,
    "other marks": marked,
    "accents gone": unaccented,
    "invisible, emoji": invisible,
    "courtesy": polite,
    "courtesy, rare": flowery,
    "contraction": contracted,
    "article gone": article_lost,
    "typo": typo,
    "two typos": typos,
    "numbers": numbered,
    "name": renamed,
    "sentence added": added,
}
_PAIRS = (
    ("case", "typo"),
    ("case", "courtesy"),
    ("case", "sentence added"),
    ("other marks", "typo"),
    ("courtesy", "typo"),
    ("courtesy", "numbers"),
    ("name", "courtesy"),
    ("numbers", "typo"),
    ("name", "typo"),
    ("sentence added", "typo"),
    ("sentence added", "numbers"),
    ("name", "sentence added"),
    ("sentence added", "courtesy"),
    ("all marks gone", "case"),
)
POSITIVE |= {f"{a} + {b}": both(POSITIVE[a], POSITIVE[b]) for a, b in _PAIRS}


def replaced(words: Sequence[str]) -> Edit:
    """A content word is another of the source, of much the same length.

    Args:
        words: of the source, frequent ones as often as they are.
    """

    def edit(text: str, _: str, chance: random.Random) -> str | None:
        found = [m for m in _WORD.finditer(text) if len(m.group()) >= 4]

        def other(word: str) -> str:
            pool = [w for w in chance.sample(words, min(80, len(words))) if w != word.lower()]
            return min(pool, key=lambda w: abs(len(w) - len(word)), default=word)

        return _swap_one(text, found, other, chance)

    return edit


def near(neighbours: Mapping[str, Sequence[str]]) -> Edit:
    """A word is another that looks like it.

    Args:
        neighbours: of each word, the others at an edit distance of 1 or 2.
    """

    def edit(text: str, _: str, chance: random.Random) -> str | None:
        found = [m for m in _WORD.finditer(text) if neighbours.get(m.group().lower())]
        return _swap_one(text, found, lambda w: chance.choice(neighbours[w.lower()]), chance)

    return edit


def negated(text: str, language: str, chance: random.Random) -> str | None:
    """A negation more, or one less."""
    if language == "fr":
        found = list(re.finditer(r"\b(?:est|sont|a|peut|fait) ", text))
        return _swap_one(
            text,
            found,
            lambda verb: f"n'{verb}pas " if verb[0] in "ae" else f"ne {verb}pas ",
            chance,
        )
    if language in _NOES:
        no = _NOES[language]
        less = re.sub(rf"\b{no} ", "", text, count=1)
        found = list(re.finditer(r"(?<=\w) (?=\w)", text))
        return less if less != text else _swap_one(text, found, lambda _: f" {no} ", chance)
    if language not in _NOT:
        return None
    no = _NOT[language]
    less = re.sub(rf" {no}\b|n['’]t\b", "", text, count=1)
    if less != text:
        return less
    verbs = "|".join(_SAID["nots"][language])
    found = list(re.finditer(rf"\b(?:{verbs})\b", text))
    return _swap_one(text, found, lambda verb: f"{verb} {no}", chance)


def contrary(text: str, _: str, chance: random.Random) -> str | None:
    """A word is its opposite."""
    pairs = [*_WORDS["opposites"], *((b, a) for a, b in _WORDS["opposites"])]
    chance.shuffle(pairs)
    for before, after in pairs:
        other = re.sub(rf"\b{before}\b", after, text, count=1, flags=re.IGNORECASE)
        if other != text:
            return other
    return None


def inserted(words: Sequence[str]) -> Edit:
    """One content word more within a sentence."""

    def edit(text: str, _: str, chance: random.Random) -> str | None:
        found = list(re.finditer(r"(?<=\w) (?=\w)", text))
        return _swap_one(text, found, lambda _: f" {chance.choice(words)} ", chance)

    return edit


def removed(text: str, _: str, chance: random.Random) -> str | None:
    """A content word of at least five letters, and no name, is gone."""
    found = [
        m
        for m in re.finditer(r"(?<=\w )([^\W\d_]{5,}) (?=\w)", text)
        if not m[1].istitle()
        and m[1] not in ("please", "bitte", "kindly", "einen", "einer", "einem")
    ]
    return _swap_one(text, found, lambda _: "", chance)


def turned(text: str, _: str, chance: random.Random) -> str | None:
    """Two content words, no names, have changed places."""
    found = [m for m in _WORD.finditer(text) if len(m.group()) >= 4 and not m.group().istitle()]
    if len(found) < 2:
        return None
    first, second = sorted(chance.sample(found, 2), key=re.Match.start)
    if first.group().lower() == second.group().lower():
        return None
    return (
        text[: first.start()]
        + second.group()
        + text[first.end() : second.start()]
        + first.group()
        + text[second.end() :]
    )


def _slip(word: str, text: str, chance: random.Random) -> str:
    at = chance.randrange(len(word))
    head, letter, tail = word[:at], word[at], word[at + 1 :]
    kind = chance.choice(("lost", "doubled", "swapped", "replaced", "added"))
    if kind == "lost":
        return head + tail
    if kind == "doubled":
        return head + letter + letter + tail
    if kind == "swapped" and tail:
        return head + tail[0] + letter + tail[1:]
    other = _beside(letter, chance) or chance.choice([c for c in text if c.isalpha()])
    return head + other + ("" if kind == "replaced" else letter) + tail


def _beside(letter: str, chance: random.Random) -> str:
    """A key beside the letter's, or now and then any letter; nothing where it has no key."""
    for row, keys in enumerate(_KEYS):
        at = keys.find(letter.lower())
        if at >= 0:
            near = keys[max(0, at - 1) : at] + keys[at + 1 : at + 2]
            near += _KEYS[row - 1][at : at + 1] if row else ""
            anything = "abcdefghijklmnopqrstuvwxyz"
            return chance.choice(near if chance.random() < 0.75 else anything)
    return ""


def _swap_one(
    text: str,
    found: Sequence[re.Match[str]],
    change: Callable[[str], str],
    chance: random.Random,
) -> str | None:
    """The text with one of the matches changed; None where none is there or nothing changes."""
    if not found:
        return None
    at = chance.choice(found)
    return _other(text, text[: at.start()] + change(at.group()) + text[at.end() :])


def _other(text: str, other: str) -> str | None:
    return other if other != text else None
