"""Lists of common words -> `fareway/listed.bloom`, in which `fareway.slip` looks words up.

    pip install --no-deps --target DIR pyspellchecker==0.9.1   # MIT; word counts of film subtitles
    python -m models.training.words DIR/spellchecker/resources

Bloom filters: no list to load, and what is no word is taken for one in fifty times.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import fareway.slip
from fareway.canonical import sentences

#: Words of each language, the most frequent first, and slots of the filter for each of them.
MOST, SLOTS_A_WORD = 60_000, 8


def read(folder: Path, language: str) -> set[str]:
    """A language's canonical words of at least fareway.slip.SHORTEST letters."""
    with gzip.open(folder / f"{language}.json.gz", "rt", encoding="utf-8") as file:
        counts: dict[str, int] = json.load(file)
    common = sorted(counts, key=lambda w: (-counts[w], w))[:MOST]
    words = {word for text in common for part in sentences(text) for word in part.words}
    return {word for word in words if len(word) >= fareway.slip.SHORTEST and word.isalpha()}


def bloom(words: Mapping[str, Iterable[str]]) -> bytes:
    """Words by language -> a filter of a byte a slot and a bit a language."""
    slots = bytearray(MOST * SLOTS_A_WORD)
    for bit, language in enumerate(fareway.slip.LANGUAGES):
        for word in words[language]:
            for place in fareway.slip.places(word, len(slots)):
                slots[place] |= 1 << bit
    return bytes(slots)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lists", type=Path, help="the folder of LANGUAGE.json.gz")
    args = parser.parse_args()
    words = {language: read(args.lists, language) for language in fareway.slip.LANGUAGES}
    path = Path(fareway.slip.__file__).with_name("listed.bloom")
    path.write_bytes(bloom(words))
    print(f"{sum(map(len, words.values()))} words, {path.stat().st_size} bytes: {path}")


if __name__ == "__main__":
    main()
