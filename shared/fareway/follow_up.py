"""Chat messages -> what the last turn says of the answer before it: complaint, satisfied, neutral.

Phrases of 16 languages (`follow_up.toml`) and a question that is asked again. Precision comes
first: what is not plainly a complaint is neutral. Phrases lie in a trie of words, so that a turn
costs one look-up a word, however many phrases there are, and no input makes it slow.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal
from unicodedata import normalize

from fareway.render import text_of

FollowUp = Literal["complaint", "satisfied", "neutral"]

#: Characters of a turn from which on only its opening counts: the rest is pasted text, or a task.
LONG, OPENING = 400, 200
#: Sentences that may doubt an answer, and characters where words are not spaced.
DOUBT, DOUBT_UNSPACED = 2, 60
#: Characters that are read of an earlier question and of the answer.
EARLIER = 1_500
#: Words and characters at most of a turn that may end in thanks; else the first characters count.
SHORT, SHORT_CHARACTERS, OPENING_CHARACTERS = 12, 80, 20
#: Words at most of a question asked again.
AGAIN = 40
#: Words that a gap in a phrase may hold.
GAP = 3

_QUOTED = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*`|\"[^\"\n]*\"|“[^”\n]*”|«[^»\n]*»|„[^“”\n]*[“”]", re.S
)
_DROPPED = re.compile("['’‘`\u0300-\u036f\u0610-\u061a\u064b-\u065f\u0670\u0640]")
_WORD = re.compile(r"\w+|\?|[.!\n;:]+|,")
_UNSPACED = re.compile("[\u0900-\u097f\u0e00-\u0e7f\u1100-\u11ff\u3040-\u30ff\u4e00-\u9fff]")
_ONLY_ASKS = re.compile(r"[\s.!]*\?[\s.!?]*")
_MARKS = re.compile(r"[\W_]+")
#: Signs and letters of other scripts -> what the phrases have for them.
_ALIKE = {"؟": "?", "。": ".", "¿": " ", "¡": " ", "ı": "i", "،": ",", "ß": "ss"}


def follow_up(messages: Sequence[Mapping[str, Any]]) -> FollowUp | None:
    """What the last turn says of the answer before it. Never raises, whatever the messages hold.

    Args:
        messages: OpenAI chat messages, the oldest first.

    Returns:
        None where the last message is not the user's, or no assistant's turn is before it;
        "satisfied" for thanks and a success, with no "but"; else "neutral".
    """
    turns = [m for m in messages if isinstance(m, Mapping)] if _is_list(messages) else []
    if not turns or turns[-1].get("role") != "user":
        return None
    answers = [i for i, turn in enumerate(turns) if turn.get("role") == "assistant"]
    if not answers:
        return None
    answer = _plain(text_of(turns[answers[-1]].get("content"))[-EARLIER:])
    asked = [t for t in turns[: answers[-1]] if t.get("role") == "user"]
    earlier = [_plain(text_of(turn.get("content"))[:EARLIER]) for turn in asked[-2:]]
    said = text_of(turns[-1].get("content"))
    turn = _Turn.of(said if len(said) <= LONG else said[:OPENING])
    rest = _without_harmless(turn)
    if len(said) > LONG:
        return "complaint" if rest in _lexicon().told else "neutral"
    if _complains(rest, answer) or _asks_again(turn, earlier, answer):
        return "complaint"
    return "satisfied" if _is_satisfied(rest) else "neutral"


@dataclass(frozen=True, slots=True)
class _Turn:
    """A turn without quotations and code: plain text, and sentences as ("^", words..., "$")."""

    plain: str
    sentences: tuple[tuple[str, ...], ...]
    unspaced: bool

    @classmethod
    def of(cls, text: str) -> _Turn:
        plain = _plain(_QUOTED.sub(" _ ", text))
        return cls(plain, tuple(_sentences(plain)), bool(_UNSPACED.search(plain)))

    @property
    def words(self) -> list[str]:
        return [w for sentence in self.sentences for w in sentence if w not in ("^", "$", ",")]


@dataclass(slots=True)
class _Node:
    """Where the words so far lead: by the next word, by its beginning, over a gap, or nowhere."""

    ends: bool = False
    next: dict[str, tuple[_Node, ...]] = field(default_factory=dict)
    starts: tuple[tuple[str, _Node], ...] = ()
    gap: _Node | None = None
    made: dict[str, _Node] = field(default_factory=dict)

    def grow(self, line: str) -> None:
        """Takes a phrase in; phrases that begin alike share their nodes."""
        nodes = [self]
        for words in line.split():
            nodes = [node._child(words) for node in nodes] + (nodes if words[-1] == "/" else [])
        for node in nodes:
            node.ends = True

    def _child(self, words: str) -> _Node:
        if (child := self.made.get(words)) is None:
            child = self.made[words] = _Node()
            for word in filter(None, words.split("/")):
                if word == "~":
                    self.gap = child
                elif word[-1] == "*":
                    self.starts += ((word[:-1], child),)
                else:
                    self.next[word] = (*self.next.get(word, ()), child)
        return child

    def end(self, words: Sequence[str], at: int) -> int | None:
        """Where a phrase ends that begins at a word; None if none does."""
        if self.ends:
            return at
        if at == len(words):
            return None
        word = words[at]
        for child in self.next.get(word, ()):
            if (end := child.end(words, at + 1)) is not None:
                return end
        for start, child in self.starts:
            if word.startswith(start) and (end := child.end(words, at + 1)) is not None:
                return end
        if self.gap:
            for skipped in range(min(GAP, len(words) - 1 - at) + 1):
                if (end := self.gap.end(words, at + skipped)) is not None:
                    return end
        return self.end(words, at + 1) if word == "," and self.made else None


@dataclass(slots=True)
class _Phrases:
    """What is looked for: phrases of words as a trie, phrases of unspaced scripts as they are."""

    trie: _Node = field(default_factory=_Node)
    pieces: list[str] = field(default_factory=list)

    def __contains__(self, turn: object) -> bool:
        if not isinstance(turn, _Turn):
            return False
        if turn.unspaced and any(piece in turn.plain for piece in self.pieces):
            return True
        return any(
            word in self.trie.next and self.trie.end(sentence, at) is not None
            for sentence in turn.sentences
            for at, word in enumerate(sentence)
        )


@dataclass(slots=True)
class _Lexicon:
    """All languages together. `told` always complains; `doubted` unless the answer asked back."""

    told: _Phrases = field(default_factory=_Phrases)
    doubted: _Phrases = field(default_factory=_Phrases)
    satisfied: _Phrases = field(default_factory=_Phrases)
    but: _Phrases = field(default_factory=_Phrases)
    harmless: _Phrases = field(default_factory=_Phrases)
    whole: set[str] = field(default_factory=set)
    common: set[str] = field(default_factory=set)
    particles: list[str] = field(default_factory=list)


@cache
def _lexicon() -> _Lexicon:
    found = _Lexicon()
    text = Path(__file__).with_name("follow_up.toml").read_text(encoding="utf-8")
    for language in tomllib.loads(_plain(text)).values():
        unspaced = "unspaced" in language
        for name in ("told", "doubted", "satisfied", "but", "harmless"):
            phrases: _Phrases = getattr(found, name)
            for line in filter(None, language.get(name, "").splitlines()):
                phrases.pieces.append(line) if unspaced else phrases.trie.grow(line)
        found.whole.update(language["whole"].splitlines())
        common = language["common"].split()
        found.particles.extend(common) if unspaced else found.common.update(common)
    found.particles.sort(key=len, reverse=True)
    return found


def _without_harmless(turn: _Turn) -> _Turn:
    """The turn without "not bad", "what is wrong with" and their like."""
    harmless, plain, sentences = _lexicon().harmless, turn.plain, []
    if turn.unspaced:
        for piece in harmless.pieces:
            plain = plain.replace(piece, " ")
    for sentence in turn.sentences:
        kept, at = [], 0
        while at < len(sentence):
            known = sentence[at] in harmless.trie.next
            end = harmless.trie.end(sentence, at) if known else None
            kept.append(sentence[at] if end is None else "_")
            at = at + 1 if end is None else end
        sentences.append(tuple(kept))
    return _Turn(plain, tuple(sentences), turn.unspaced)


def _complains(turn: _Turn, answer: str) -> bool:
    lexicon = _lexicon()
    if turn in lexicon.told:
        return True
    if _asks(answer):
        return False
    if " ".join(turn.words).strip("? _") in lexicon.whole or _ONLY_ASKS.fullmatch(turn.plain):
        return True
    opening = _Turn(turn.plain[:DOUBT_UNSPACED], turn.sentences[:DOUBT], turn.unspaced)
    return opening in lexicon.doubted


def _asks_again(turn: _Turn, earlier: Sequence[str], answer: str) -> bool:
    """Whether all that the turn speaks of was in an earlier question, and not all in the answer."""
    if _asks(answer) or not turn.words or len(turn.words) > AGAIN:
        return False
    if turn.unspaced:
        said = _bare(turn.plain)
        pairs = {said[i : i + 2] for i in range(len(said) - 1)}
        return (
            bool(pairs)
            and said not in _bare(answer)
            and any(all(pair in question for pair in pairs) for question in map(_bare, earlier))
        )
    said_words = _content(turn.words)
    return (
        bool(said_words)
        and any(said_words <= _content(_WORD.findall(question)) for question in earlier)
        and (len(said_words) > 2 or not said_words <= _content(_WORD.findall(answer)))
    )


def _is_satisfied(turn: _Turn) -> bool:
    """Thanks or a success in the opening sentence, or in a short turn that asks for nothing."""
    lexicon = _lexicon()
    if turn in lexicon.but:
        return False
    short = (
        len(turn.words) <= SHORT and "?" not in turn.plain and len(turn.plain) < SHORT_CHARACTERS
    )
    opening = _Turn(turn.plain[:OPENING_CHARACTERS], turn.sentences[:1], turn.unspaced)
    return (turn if short else opening) in lexicon.satisfied


def _content(words: Sequence[str]) -> set[str]:
    """Words that carry meaning, without their endings."""
    common = _lexicon().common
    return {word[:6] for word in words if word not in common and word[0].isalnum()}


def _bare(plain: str) -> str:
    for particle in _lexicon().particles:
        plain = plain.replace(particle, "")
    return _MARKS.sub("", plain)


def _asks(answer: str) -> bool:
    return answer.rstrip(' \n*_)"”').endswith("?")


def _sentences(plain: str) -> Iterator[tuple[str, ...]]:
    words = ["^"]
    for word in _WORD.findall(plain):
        if word == "?" or word[0] in ".!\n;:":
            if len(words) > 1:
                yield (*words, "?", "$") if word == "?" else (*words, "$")
            words = ["^"]
        elif word != "," or words[-1] != ",":  # a run of them is one
            words.append(word)
    if len(words) > 1:
        yield (*words, "$")


def _plain(text: str) -> str:
    """Lower case, without accents, vowel points and apostrophes."""
    if not text.isascii():
        for sign, plain in _ALIKE.items():
            text = text.replace(sign, plain)
        text = normalize("NFKD", text)
    return _DROPPED.sub("", text.lower())


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)
