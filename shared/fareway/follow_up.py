"""Messages -> whether the user's last turn complains of the answer before it. Pure.

Phrases of `follow_up.toml`, and what the turn shares with the question and the answer before it:
whoever asks again what the answer left out, or sets it right, complains without a word of blame.
Where the answer ended in a question, "no" is an answer, and only open blame counts. Measured in
docs/evaluation/follow_ups.md.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from fareway.phrases import Phrases, Words, fold, stands, words_of

FollowUp = Literal["complaint", "satisfied", "neutral"]

#: Characters at the head and at the tail of a turn that are read; the rest is mostly pasted.
HEAD, TAIL = 400, 200
#: Words at most of a turn that is read beyond its opening, of one that complains without open
#: blame, and of one that asks again.
LONG, SHORT, TERSE = 100, 50, 14
#: Words before a complaint, unless it opens a sentence: later ones are of other things.
EARLY = 8
#: New words of matter at most in a complaint: with more, it is about something else.
FRESH = 5
#: The first character of the unspaced scripts; characters at most of a complaint in one.
UNSPACED, UNSPACED_SHORT = "\u3040", 60
#: Characters in an unspaced script that are no question yet.
FEW = 2
#: Letters of a word by which two are taken for one.
STEM = 6
#: Earlier turns of the user that may be asked again.
EARLIER = 3

_QUOTED = re.compile(r'```.*?(?:```|$)|(["`])[^"`]{2,}\1|[“„«「][^“”»」]{2,}[“”»」]', re.DOTALL)
_OPENING_WORD = re.compile(r"[^\w\s]*\s*(\w+)\s*(?:[,.!…;:、，。！-]|$)")
_FAILURE = re.compile(r"\s*(?:Traceback|[\w.]*(?:[Ee]rror|Exception) ?[:\[(])")
_SHOUTED = re.compile(r"\b[^\W\d_a-z]{3,}\b")


class _Book:
    """follow_up.toml."""

    def __init__(self, text: str) -> None:
        tables = tomllib.loads(text)
        unspaced = tables.pop("unspaced")

        def lines(kind: str) -> list[str]:
            return [line for t in tables.values() for line in t.get(kind, "").splitlines() if line]

        def words(kind: str) -> frozenset[str]:
            return frozenset(word for t in tables.values() for word in t.get(kind, "").split())

        self.harmless = Phrases({"harmless": lines("harmless")})
        self.says = Phrases({k: lines(k) for k in ("blame", "complaint", "satisfied")})
        self.courtesy = Phrases({"courtesy": lines("courtesy")})
        self.unspaced = {
            kind: [
                [piece.split("|") for piece in line.split()] for line in text.splitlines() if line
            ]
            for kind, text in unspaced.items()
        }
        self.no, self.but, self.denies, self.common = map(words, ("no", "but", "not", "common"))


_BOOK = _Book(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


def follow_up(messages: Sequence[Mapping[str, Any]]) -> FollowUp | None:
    """What the user's last turn says of the answer before it. Never raises.

    Args:
        messages: of OpenAI's chat; content is text or a list of parts, of which texts are read.

    Returns:
        "complaint": that it is wrong, unclear, incomplete, not what was asked or did not work, or
        the same question again. "satisfied": thanks, praise, or that it worked. "neutral": all
        else. None where the last turn is not the user's or follows no answer.
    """
    turns = [turn for turn in messages if isinstance(turn, Mapping)] if _is_list(messages) else []
    if not turns or turns[-1].get("role") != "user":
        return None
    before = range(len(turns) - 2, -1, -1)
    at = next((i for i in before if turns[i].get("role") == "assistant" and _ends(turns[i])), -1)
    if at < 0:
        return None
    asked = (_ends(turns[i]) for i in range(at, -1, -1) if turns[i].get("role") == "user")
    return _Turn(_ends(turns[-1]), _ends(turns[at]), list(islice(asked, EARLIER))).judge()


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _ends(turn: Mapping[str, Any]) -> str:
    """The head and the tail of a turn's text."""
    content = turn.get("content")
    if isinstance(content, list):
        texts = (part.get("text") for part in content if isinstance(part, Mapping))
        content = "\n".join(text for text in texts if isinstance(text, str))
    if not isinstance(content, str):
        return ""
    content = content.strip()
    return content if len(content) <= HEAD + TAIL else f"{content[:HEAD]} … {content[-TAIL:]}"


class _Turn:
    """The user's last turn, beside the answer before it and what had been asked."""

    def __init__(self, said: str, answer: str, asked: Sequence[str]) -> None:
        self.said, self.answer, self.asked = said, answer, asked
        self.own = _QUOTED.sub(" ", said)
        self.words = words_of(self.own)
        self._asked = [words_of(text) for text in asked]

    def judge(self) -> FollowUp:
        says, left = self._says()
        if "blame" in says:
            return "complaint"
        wants_answer = _asks(self.answer)
        if not wants_answer and "complaint" in says and self._is_of_the_answer(left):
            return "complaint"
        thanked = "satisfied" in says
        if thanked and (wants_answer or not self._takes_back()):
            return "satisfied"
        if wants_answer or "harmless" in says:
            return "neutral"
        return "complaint" if thanked or self._complains_untold() else "neutral"

    def _says(self) -> tuple[set[str], Words]:
        """What the phrases say, and the words that none of them covers."""
        says, left = set(), self.words
        if max(self.own, default="") >= UNSPACED:
            says = _unspaced("".join(self.words))
        harmless = list(_BOOK.harmless.spans(left))
        if harmless:
            says.add("harmless")
            left = _without(left, harmless)
        spans = [
            (kind, first, last)
            for kind, first, last in _BOOK.says.spans(left)
            if first < EARLY
            or (kind == "complaint" and _opens_sentence(left, first))
            or (kind != "complaint" and len(left) <= LONG)
        ]
        return says.union(kind for kind, _, _ in spans), _without(left, spans)

    def _is_of_the_answer(self, left: Words) -> bool:
        if len(self.words) > SHORT:
            return self._opens_with_it()
        return len(_content(left) - self._before() - _content(words_of(self.answer))) <= FRESH

    def _opens_with_it(self) -> bool:
        """Whether a short sentence that complains stands at the head of a longer turn."""
        ends = next((at for at, word in enumerate(self.words) if word in ".?"), 0)
        opening = self.words[: ends + 1]
        spans = _BOOK.says.spans(opening) if ends <= EARLY else ()
        return any(kind == "complaint" for kind, _, _ in spans)

    def _before(self) -> set[str]:
        return set().union(*(_content(words) for words in self._asked))

    def _takes_back(self) -> bool:
        return not (_BOOK.but.isdisjoint(self.words) or _BOOK.denies.isdisjoint(self.words))

    def _complains_untold(self) -> bool:
        if not re.search(r"\w", self.said):
            return "?" in self.said or "？" in self.said
        opening = _OPENING_WORD.match(self.own)
        return (
            (opening is not None and fold(opening[1]) in _BOOK.no)
            or ("`" in self.answer and _FAILURE.match(self.said) is not None)
            or self._comes_back()
        )

    def _comes_back(self) -> bool:
        """Whether it asks again what was asked, insists on a word of it, or sets it right."""
        own, before = _content(self.words), self._before()
        if max(self.own, default="") >= UNSPACED:
            bare = "".join(self.words).strip("^.?")
            return (
                len(bare) > FEW and bare not in self.answer and any(bare in q for q in self.asked)
            )
        if len(self.words) > TERSE or own.isdisjoint(before) or self.own != self.said:
            return False
        answered = _content(words_of(self.answer))
        left_out = (own & before) - answered
        again = (left_out or len(own) > 1) and any(
            own <= _content(words) for words in self._asked if len(words) <= SHORT
        )
        loud = {word.casefold()[:STEM] for word in _SHOUTED.findall(self.said)}
        insists = bool(loud & before) and not any(map(_SHOUTED.search, self.asked))
        corrects = left_out and (own & answered) - before
        return bool(again or insists or (corrects and not _BOOK.denies.isdisjoint(self.words)))


def _content(words: Words) -> set[str]:
    """The words that carry a turn's matter, by their stems."""
    return {
        word[:STEM]
        for word in words
        if (len(word) > 3 or word.isdigit()) and word not in _BOOK.common
    }


def _without(words: Words, spans: Sequence[tuple[str, int, int]]) -> Words:
    """Words with those of spans blotted out; the opening mark stays."""
    left = list(words)
    for _, first, last in spans:
        left[max(first, 1) : last + 1] = ["-"] * (last + 1 - max(first, 1))
    return left


def _opens_sentence(words: Words, at: int) -> bool:
    return not {".", "?"}.isdisjoint(words[max(at - 2, 0) : at])


def _asks(answer: str) -> bool:
    """Whether an answer ends in a question that wants one."""
    words = words_of(_QUOTED.sub(" ", answer[-TAIL:]))
    ends = [word for word in words if word in ".?"]
    return "?" in ends[-2:] and not any(_BOOK.courtesy.spans(words))


def _unspaced(text: str) -> set[str]:
    """What is said in a text of a script without spaces."""
    says = set()
    for phrase in _BOOK.unspaced["harmless"]:
        for string in phrase[0]:
            if string in text:
                says.add("harmless")
                text = text.replace(string, "-")
    for kind, most in (
        ("blame", 2 * UNSPACED_SHORT),
        ("complaint", UNSPACED_SHORT),
        ("satisfied", UNSPACED_SHORT),
    ):
        if len(text) <= most and any(stands(phrase, text) for phrase in _BOOK.unspaced[kind]):
            says.add(kind)
    return says
