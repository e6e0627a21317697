"""A prompt -> a fingerprint under which a later prompt that repeats it is found, and known.

Two prompts are derivatives where they differ in case, spacing, marks, courtesy, numbers, names, a
slip of a finger or two, or a sentence that one adds. They are found by keys that such changes
leave whole, and known by the keyed hashes of their words: of the text itself nothing is kept.
Another content word, a word more or a word less is another prompt.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice, zip_longest
from typing import TypeVar

from fareway.canonical import Sentence, sentences
from fareway.slip import is_slip, shape

#: Characters of a text that is looked at, and of canonical words that it has at least.
LONGEST, FEWEST = 6_000, 3
#: A text of more words is known as a whole alone: it has no bands, and no hashes of its words.
MOST_WORDS = 300
#: Keys to look under, all in one batch.
MOST_READS = 10
#: Sentences that are tried as the added one: so many of the first and so many of the last.
TRIED = 3
#: An added sentence has at most so many times the words of the question that it is added to.
MOST_ADDED = 2
BANDS = 3
#: From so many words on two slips are forgiven and a band is every third word; below, one slip,
#: and a band leaves every third word out. From so many on a slip is forgiven at all.
TWO_SLIPS, ONE_SLIP = 9, 4
#: Words other than names that a text must have to be known by them whatever the names are.
FEWEST_UNNAMED = 4
#: What every name is.
NAME = "@"
#: Bytes of a hash: of a whole text; of a word, its shape included, and a bit more tells a name.
_WHOLE, _WORD = 8, 5
_BYTES = [bytes([value]) for value in range(256)]

_Words = tuple[str, ...]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Reading:
    """The words of a prompt, or of all of it but one sentence.

    Args:
        words: the canonical words.
        names: of each whether it is part of a name.
        unnamed: the words with each name one NAME; the words where too few others are left.
    """

    words: _Words
    names: tuple[bool, ...]
    unnamed: _Words


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a prompt is kept and looked for under.

    Args:
        writes: at most 5 keys, 32 hex digits each, that its entry is kept under.
        reads: at most MOST_READS keys to look under, the most telling first.
        signature: what is kept beside the entry, for `repeats`: base64, of 5 bytes a word.
    """

    writes: tuple[str, ...]
    reads: tuple[str, ...]
    signature: str
    _readings: tuple[_Reading, ...] = field(repr=False, compare=False)
    _hashes: _Hashes = field(repr=False, compare=False)

    def repeats(self, signature: str) -> bool:
        """Whether this prompt is a derivative of the one whose signature that is.

        Never raises: what is no signature, or another secret's or partition's, is not repeated.
        """
        try:
            kept = b64decode(signature, validate=True)
        except ValueError:
            return False
        wholes = {kept[:_WHOLE], kept[_WHOLE : 2 * _WHOLE]}
        if any(not wholes.isdisjoint(self._hashes.wholes(reading)) for reading in self._readings):
            return True
        words, names = _unpacked(kept[2 * _WHOLE :])
        return any(self._slipped(reading, words, names) for reading in self._readings)

    def _slipped(self, reading: _Reading, kept: Sequence[bytes], names: Sequence[bool]) -> bool:
        """Whether the words are those that were kept but for slips of a finger."""
        if not names or reading.unnamed == reading.words:
            return self._near(reading.words, kept)
        return self._near(reading.unnamed, [*_merged(kept, names, self._hashes.word(NAME))])

    def _near(self, words: _Words, kept: Sequence[bytes]) -> bool:
        if len(words) != len(kept):
            return False
        here = map(self._hashes.word, words)
        slips = [at for at, (one, there) in enumerate(zip(here, kept, strict=True)) if one != there]
        return len(slips) <= forgiven(len(words)) and all(
            is_slip(words[at], kept[at], words, self._hashes.other) for at in slips
        )


def fingerprint(text: str, partition: str, secret: bytes) -> Fingerprint | None:
    """The last user turn of a request -> its fingerprint; None where it is too short or too long.

    Args:
        partition: what must be the same for one prompt to stand for another: the tenant, the
            versions of policy and classifier, a hash of all else that the request holds.
        secret: key of every hash, so that nobody who reads the table can try words on them.
    """
    if len(text) > LONGEST:
        return None
    parts = sentences(text)
    reading = _reading(parts)
    if len(reading.words) < FEWEST:
        return None
    hashes = _Hashes(partition, secret)
    less = [_reading([*parts[:place], *parts[place + 1 :]]) for place in _droppable(parts)]
    wholes, bands = _whole_keys(hashes, reading), _band_keys(hashes, reading.words)
    reads = dict.fromkeys(chain(wholes, _reads(hashes, bands, less)))
    return Fingerprint(
        (*wholes, *bands),
        tuple(islice(reads, MOST_READS)),
        b64encode(_signature(hashes, reading)).decode(),
        (reading, *less),
        hashes,
    )


def _signature(hashes: _Hashes, reading: _Reading) -> bytes:
    """Of the whole text with and without names, of each word, and which words are names."""
    wholes = b"".join(hashes.wholes(reading))
    if len(reading.words) > MOST_WORDS:
        return wholes
    bits = sum(1 << place for place, named in enumerate(reading.names) if named)
    names = bits.to_bytes(-(-len(reading.words) // 8), "little")
    return wholes + b"".join(map(hashes.word, reading.words)) + names


def _unpacked(kept: bytes) -> tuple[list[bytes], list[bool]]:
    """Of a signature what follows its wholes -> the words' hashes, and which are names."""
    count = len(kept) * 8 // (_WORD * 8 + 1)
    end = count * _WORD
    bits = int.from_bytes(kept[end:], "little")
    names = [bool(bits >> place & 1) for place in range(count)] if bits else []
    return [kept[at : at + _WORD] for at in range(0, end, _WORD)], names


def forgiven(words: int) -> int:
    """How many slips of a finger are forgiven in a text of so many words."""
    return 0 if words > MOST_WORDS else (words >= ONE_SLIP) + (words >= TWO_SLIPS)


def _reads(hashes: _Hashes, bands: Sequence[str], less: Sequence[_Reading]) -> Iterator[str]:
    """The keys after the prompt's own whole, the most telling first."""
    for other in less:
        yield _whole_keys(hashes, other)[-1]
    yield from bands
    for other in less:
        yield from _whole_keys(hashes, other)
    yield from chain.from_iterable(zip_longest(*(_band_keys(hashes, o.words) for o in less)))


def _reading(parts: Sequence[Sentence]) -> _Reading:
    words = tuple(word for part in parts for word in part.words)
    names = tuple(name for part in parts for name in part.names)
    named = 0 < sum(names) <= len(words) - FEWEST_UNNAMED
    return _Reading(words, names, tuple(_merged(words, names, NAME)) if named else words)


def _droppable(parts: Sequence[Sentence]) -> list[int]:
    """The sentences that could have been added: none that asks, nor one that says most of it.

    Where what is left asks, it may be the shorter part.
    """
    total, asking = sum(len(part.words) for part in parts), [part.asks for part in parts]
    fit = [
        place
        for place, part in enumerate(parts)
        if not asking[place]
        and total - len(part.words) >= FEWEST
        and len(part.words) <= (MOST_ADDED if any(asking) else 1) * (total - len(part.words))
    ]
    last, first = fit[: -TRIED - 1 : -1], fit[:-TRIED][:TRIED]
    return [place for pair in zip_longest(last, first) for place in pair if place is not None]


def _whole_keys(hashes: _Hashes, reading: _Reading) -> list[str]:
    """Joined without spaces, so that a space too many or too few changes nothing."""
    keys = [hashes.key("whole", "".join(reading.words)).hex()]
    if reading.unnamed != reading.words:
        keys.append(hashes.key("whole", "".join(reading.unnamed)).hex())
    return keys


def _band_keys(hashes: _Hashes, words: _Words) -> list[str]:
    """BANDS keys of which so many slips as are forgiven leave one whole."""
    count = len(words)
    if not forgiven(count):
        return []
    bands = [words[band::BANDS] for band in range(BANDS)]
    if forgiven(count) < BANDS - 1:
        bands = [bands[band] + bands[band - 1] for band in range(BANDS)]
    return [
        hashes.key(f"band {i} of {count}", " ".join(band)).hex() for i, band in enumerate(bands)
    ]


class _Hashes:
    """The keyed hashes of one partition."""

    __slots__ = ("_key", "_known", "_salt", "_wholes", "_word")

    def __init__(self, partition: str, secret: bytes) -> None:
        secret = hashlib.blake2b(secret, digest_size=32).digest()
        inner = hashlib.blake2b(partition.encode("utf-8", "surrogatepass"), key=secret)
        self._key = hashlib.blake2b(key=inner.digest(), digest_size=16, person=b"key")
        self._word = hashlib.blake2b(key=inner.digest(), digest_size=_WORD - 1, person=b"word")
        self._salt = inner.digest()[0]
        self._known: dict[str, bytes] = {}
        self._wholes: dict[_Reading, tuple[bytes, bytes]] = {}

    def word(self, word: str) -> bytes:
        """Of a word of the prompt: it comes in several readings, and is hashed once."""
        if (known := self._known.get(word)) is None:
            known = self._known[word] = self.other(word)
        return known

    def other(self, word: str) -> bytes:
        """The same of any word."""
        state = self._word.copy()
        state.update(word.encode("utf-8", "surrogatepass"))
        return state.digest() + _BYTES[shape(word) ^ self._salt]

    def key(self, kind: str, text: str) -> bytes:
        state = self._key.copy()
        state.update(f"{kind} {text}".encode("utf-8", "surrogatepass"))
        return state.digest()

    def wholes(self, reading: _Reading) -> tuple[bytes, bytes]:
        """Of the words, and of the words with names all one; made once."""
        if (known := self._wholes.get(reading)) is not None:
            return known
        words, unnamed = ("".join(some) for some in (reading.words, reading.unnamed))
        first = self.key("text", words)[:_WHOLE]
        second = first if words == unnamed else self.key("text", unnamed)[:_WHOLE]
        self._wholes[reading] = first, second
        return first, second


def _merged(items: Sequence[_T], names: Sequence[bool], name: _T) -> Iterator[_T]:
    """The items with each run of names one `name`."""
    before = False
    for item, named in zip(items, names, strict=True):
        if not named:
            yield item
        elif not before:
            yield name
        before = named
