"""A scorer and pieces of text -> what to add to a prompt so that it scores lowest.

What an adversary can do who may ask for scores, but sees no weights: a beam search that grows the
addition piece by piece, then swaps single pieces for better ones. Seeded, and bounded in scores.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

#: What is added -> the log-odds of the prompt with it.
Score = Callable[[str], float]
#: The sign of a word's begin in SentencePiece's pieces.
_SPACE = "▁"


@dataclass(frozen=True, slots=True)
class Addition:
    """What was found: the text, and the log-odds with it."""

    text: str
    log_odds: float


def search(
    score: Score,
    pieces: Sequence[str],
    chance: random.Random,
    *,
    length: int = 8,
    width: int = 3,
    budget: int = 300,
) -> Addition:
    """The lowest of what was tried, nothing at all among it.

    Args:
        pieces: what an addition is put together from, spaces and all.
        length: pieces at most.
        width: of the beam.
        budget: scores at most, half of them to grow and half to swap.
    """
    beam: list[tuple[float, tuple[str, ...]]] = [(score(""), ())]
    best = beam[0]
    for _ in range(length):
        grown = {
            (*said, piece)
            for _, said in beam
            for piece in chance.choices(pieces, k=budget // (2 * length * len(beam)))
        }
        beam = sorted((score("".join(said)), said) for said in sorted(grown))[:width]
        best = min(best, *beam)
    for _ in range(budget // 2):
        said = best[1]
        at = chance.randrange(max(1, len(said)))
        other = (*said[:at], chance.choice(pieces), *said[at + 1 :])
        best = min(best, (score("".join(other)), other))
    return Addition("".join(best[1]), best[0])


def lowest(pieces: Sequence[str], scores: Sequence[float], keep: int) -> list[str]:
    """The pieces that score lowest, the lowest first."""
    return [piece for _, piece in sorted(zip(scores, pieces, strict=True))[:keep]]


def vocabulary(tokenizer: Path) -> list[str]:
    """A `tokenizer.json` -> the text of each of its pieces that shows, in the order of the ids."""
    pieces: dict[str, int] = json.loads(tokenizer.read_text(encoding="utf-8"))["model"]["vocab"]
    ordered = sorted(pieces, key=pieces.__getitem__)
    texts = (piece.replace(_SPACE, " ") for piece in ordered if not _is_mark(piece))
    return [text for text in texts if text.strip() and text.isprintable()]


def _is_mark(piece: str) -> bool:
    """Whether a piece is a control mark or a byte: `<s>`, `[INST]`, `<0x0A>`."""
    return len(piece) > 2 and (piece[0], piece[-1]) in (("<", ">"), ("[", "]"))
