"""Texts -> vectors of a model that is slow to ask; what it once said is kept in a file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float32]]
Ask = Callable[[list[str]], Any]
AT_A_TIME = 50_000  # texts between two writings of the file: what a killed run loses at most


def vectors(texts: Sequence[str], ask: Ask, path: Path | None) -> Floats:
    """(N, C) vectors of N texts, as fp16 keeps them: a table that has grown costs what is new.

    Args:
        ask: texts, each once -> their (M, C) vectors.
        path: an `.npz` file, made where it is not there; None keeps nothing.
    """
    keys = [hashlib.sha256(text.encode()).digest()[:16] for text in texts]
    known, said = _read(path)
    new = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
    for start in range(0, len(new), AT_A_TIME):
        part = [*new][start : start + AT_A_TIME]
        answers = np.asarray(ask([new[key] for key in part]), np.float16)
        said = answers if said is None else np.concatenate((said, answers))
        known |= {key: len(known) + place for place, key in enumerate(part)}
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            flat = np.frombuffer(b"".join(known), np.uint8).reshape(-1, 16)
            np.savez(path, keys=flat, vectors=said)
    assert said is not None
    return np.asarray(said[[known[key] for key in keys]], np.float32)


def _read(path: Path | None) -> tuple[dict[bytes, int], Any]:
    if path is None or not path.exists():
        return {}, None
    with np.load(path) as kept:
        return {key.tobytes(): place for place, key in enumerate(kept["keys"])}, kept["vectors"]
