"""Whether a word is another one with a slip of a finger, where of the other only a hash is known.

Every word that one slip leads to is made and tried. A slip makes a word that there is not: where
both are words of the prompt's language, somebody meant the other one.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

from fareway.canonical import glued, negates

#: Letters of a word that may have a slip.
SHORTEST, LONGEST = 3, 20
#: Of a word that is on no list: letters at least, and how many at its begin and end must stand.
UNLISTED, HEAD, TAIL = 6, 1, 2
#: Whose common words are listed; each has a bit of a slot of the filter.
LANGUAGES = ("de", "en", "es", "fr", "it", "nl", "pt", "ru")
#: A prompt may be in a language where of the first SAMPLE of its words this share is listed, and
#: this share of those that are in the likeliest.
SAMPLE, SHARE, CLOSE = 16, 0.5, 0.9
#: A word that is common in so many of them may be one of any.
ANYWHERE = 3
_PLACES = struct.Struct("<5I")
_ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz",
    "абвгдежзийклмнопрстуфхцчшщъыьэюяіїєґ",
    "αβγδεζηθικλμνξοπρστυφχψω",
)


def is_slip(word: str, there: bytes, prompt: Sequence[str], hashed: Callable[[str], bytes]) -> bool:
    """Whether a word is one with this hash but for one slip, and no other word was meant.

    Args:
        word: canonical, of the prompt.
        prompt: its canonical words.
    """
    if not SHORTEST <= len(word) <= LONGEST or not word.isalpha() or negates(word):
        return False
    apart = hashed(word)[-1] ^ there[-1]  # a constant in both does not matter
    if not may_slip(apart):
        return False
    letters = next((a for a in _ALPHABETS if word[0] in a), None)
    others = slips(word, letters or "".join(sorted(set("".join(prompt)))), apart)
    other = next((other for other in others if hashed(other) == there), None)
    return other is not None and _slipped(word, other, languages(prompt))


def _slipped(word: str, other: str, spoken: int) -> bool:
    """Whether one of the two is a word and the other is none, in the languages `spoken`.

    Where neither is one that is listed, a long word may still have a slip in its middle.
    """
    if len(other) < SHORTEST or negates(other):
        return False
    one, two = listed(word) & spoken, listed(other) & spoken
    if one or two:
        return not one & two
    ends = word[:HEAD] == other[:HEAD] and word[-TAIL:] == other[-TAIL:]
    return ends and len(word) >= UNLISTED


def shape(word: str) -> int:
    """Of a word 3 bits each of its first and last letter and 2 of its length."""
    return ord(word[0]) % 8 << 5 | ord(word[-1]) % 8 << 2 | len(word) % 4


def may_slip(apart: int) -> bool:
    """Whether one slip could lead from a word to another whose shape is so far apart (by XOR).

    It changes the length by one at most and one end at most.
    """
    return (apart & 0xE0 == 0 or apart & 0x1C == 0) and apart & 3 != 2


def slips(word: str, letters: str, apart: int) -> Iterator[str]:
    """What one letter lost, swapped with the next, replaced or added makes of a word.

    Args:
        apart: how far the other's shape is from the word's, by XOR: of its ends and its length
            follows where the slip must be, and of which kind, so that few words are tried.
    """
    count = len(word)
    longer = (((count ^ apart) - count) % 4) if apart & 3 else 0
    first, last = bool(apart & 0xE0), bool(apart & 0x1C)

    def parts(until: int) -> list[tuple[str, str]]:
        """The word in two, at each place before `until` where the slip may be."""
        begin = until - 1 if last else 0
        return [(word[:at], word[at:]) for at in range(begin, 1 if first else until)]

    if longer == 0:
        yield from [head + tail[1] + tail[0] + tail[2:] for head, tail in parts(count - 1)]
        yield from [head + letter + tail[1:] for head, tail in parts(count) for letter in letters]
    elif longer == 1:
        yield from [head + letter + tail for head, tail in parts(count + 1) for letter in letters]
    else:
        yield from [head + tail[1:] for head, tail in parts(count)]
        yield from glued(word)


def languages(words: Sequence[str]) -> int:
    """The bits of the languages that the words may be in; 0: none that is listed."""
    sample = [listed(word) for word in words if len(word) >= SHORTEST][:SAMPLE]
    counts = [sum(bits >> place & 1 for bits in sample) for place in range(len(LANGUAGES))]
    least = max(SHARE * len(sample), CLOSE * max(counts), 1)
    return sum(1 << place for place, count in enumerate(counts) if count >= least)


def listed(word: str) -> int:
    """A bit for each of the LANGUAGES of which a canonical word is a common word."""
    slots, bits = _slots(), 0xFF
    for place in places(word, len(slots)):
        bits &= slots[place]
    return 0xFF if bits.bit_count() >= ANYWHERE else bits


def places(word: str, size: int) -> list[int]:
    """A word's places in a Bloom filter of so many slots."""
    digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=_PLACES.size)
    return [place % size for place in _PLACES.unpack(digest.digest())]


@cache
def _slots() -> bytes:
    """The Bloom filters of all languages, side by side, that `models.training.words` makes."""
    return Path(__file__).with_name("listed.bloom").read_bytes()
