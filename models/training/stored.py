"""Fitted heads <-> heads.safetensors, in fp16."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from models.training import complexity, hidden
from models.training.heads import PAIRS, PIECES, Head
from models.training.hidden import Deep, Hidden
from models.training.labels import KINDS, TASKS

#: Of each head, its columns in the graph.
WIDTHS = {
    "complexity": complexity.WIDTH,
    "sensitivity": 1,
    "kinds": len(KINDS),
    "task": len(TASKS),
    "dissatisfaction": 1,
}
LINEAR = ("over_state", "over_grams", "bias")
DEEP = ("inward", "bias", "outward")
FILE = "heads.safetensors"


def write(fitted: dict[str, Any], checkpoint: Path) -> None:
    """Heads by name, one of them deep -> a file of the checkpoint."""
    parts = {}
    for name, head in fitted.items():
        linear = head.linear if isinstance(head, Deep) else head
        parts |= {f"{name}.{part}": getattr(linear, part) for part in LINEAR}
        if isinstance(head, Deep):
            parts |= {f"{name}.hidden.{part}": getattr(head.hidden, part) for part in DEEP}
    save_file({k: v.astype(np.float16) for k, v in parts.items()}, checkpoint / FILE)


def read(checkpoint: Path, dim: int) -> dict[str, Any]:
    """The heads by name, or heads of zeros where nothing has been fitted yet."""
    if not (checkpoint / FILE).exists():
        return {name: _zeros(name, dim + 2) for name in WIDTHS}
    parts = {k: v.astype(np.float32) for k, v in load_file(checkpoint / FILE).items()}
    heads: dict[str, Any] = {
        name: Head(*(parts[f"{name}.{part}"] for part in LINEAR)) for name in WIDTHS
    }
    deep = Hidden(*(parts[f"sensitivity.hidden.{part}"] for part in DEEP))
    return heads | {"sensitivity": Deep(heads["sensitivity"], deep)}


def _zeros(name: str, wide: int) -> Any:
    def zeros(*shape: int) -> Any:
        return np.zeros(shape, np.float32)

    width, units = WIDTHS[name], hidden.UNITS * hidden.SEEDS
    head = Head(zeros(wide, width), zeros(PIECES + PAIRS, width), zeros(width))
    if name != "sensitivity":
        return head
    return Deep(head, Hidden(zeros(wide, units), zeros(units), zeros(units, 1)))
