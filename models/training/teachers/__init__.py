"""Sentence encoders that distil.py teaches the student: texts -> vectors.

Each reads some languages: the student is told nothing of a text by one that cannot read it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.training import kept
from models.training.teachers.e5 import E5
from models.training.teachers.mpnet import MPNet
from models.training.teachers.packages import ANY
from models.training.teachers.use import UniversalSentenceEncoder

Floats = np.ndarray[Any, np.dtype[np.float32]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]
TEACHERS = {"use": UniversalSentenceEncoder, "e5": E5, "mpnet": MPNet}
TOKENS = 16_384  # of a batch, padding included
__all__ = ["ANY", "TEACHERS", "Flags", "Floats", "ask", "lesson", "padded"]


def lesson(
    name: str, texts: Sequence[str], languages: Sequence[str], runs: Path, device: str
) -> tuple[Floats, Flags]:
    """What a teacher says of texts, centred and of length 1, and which of them it reads.

    Args:
        languages: (N,) of the N texts: two letters, or `ANY`.
        runs: the folder where what it said is kept.

    Returns:
        (N, C) vectors, zero where it does not read, and (N,) flags.
    """
    teacher = TEACHERS[name]
    reads = np.array([teacher.languages is None or x in teacher.languages for x in languages])
    out = np.zeros((len(texts), teacher.width), np.float32)
    if not reads.any():
        return out, reads
    readable = [text for text, does in zip(texts, reads, strict=True) if does]
    said = kept.vectors(readable, lambda new: ask(name, new, device), runs / f"{name}.npz")
    said -= said.mean(0)
    out[reads] = said / (np.linalg.norm(said, axis=1, keepdims=True) + 1e-6)
    return out, reads


@torch.inference_mode()
def ask(name: str, texts: Sequence[str], device: str) -> Floats:
    """(N, C) vectors, as the teacher gives them."""
    teacher = TEACHERS[name]().eval().to(device)
    ids, begun = teacher.ids(texts), time.monotonic()
    out = np.zeros((len(texts), teacher.width), np.float16)
    order, start = sorted(range(len(ids)), key=lambda i: len(ids[i])), 0
    while start < len(order):
        widest = len(ids[order[min(start + TOKENS // 8, len(order) - 1)]])
        part = order[start : start + max(1, TOKENS // widest)]
        rows, mask = padded([ids[i] for i in part])
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=name != "use"):
            out[part] = teacher(rows.to(device), mask.to(device)).float().cpu().numpy()
        if start // 20_000 < (start + len(part)) // 20_000:
            print(f"{name} {start}/{len(order)} {time.monotonic() - begun:.0f} s", flush=True)
        start += len(part)
    return out


def padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Token ids -> (B, T) ids and (B, T) mask."""
    ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
    return ids, mask
