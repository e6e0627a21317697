"""What the teachers share: where a package keeps its weights, and the mean over a text."""

from __future__ import annotations

import sys
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

PIECES = 256  # that a teacher reads of a text
ANY = ""  # the language of words that a teacher of many languages may know


def folder_of(package: str) -> Path:
    """Where a package is installed, without importing it.

    Raises:
        ModuleNotFoundError: it is not.
    """
    for place in map(Path, sys.path):
        if (place / package).is_dir():
            return place / package
    raise ModuleNotFoundError(f"{package}: make .venv-train/.teachers")


def averaged(states: Tensor, mask: Tensor) -> Tensor:
    """(B, T, C) states and (B, T) mask -> the unit vector of each text's mean, (B, C)."""
    here = mask[:, :, None].float()
    return F.normalize((states.float() * here).sum(1) / here.sum(1), dim=1)
