"""Encoders that differ in one choice each, which ablate.py compares.

    python -m models.training.arms --table models/training/runs/table.jsonl.gz --device cuda

Every arm reads the texts of the whole run, with its teachers and seed, for a third of the epochs.
Arms that are there already, in RUNS/arms, are not distilled again.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors.torch import load_file

from models.training import distil
from models.training.corpus import corpus
from models.training.distil import HERE, Config
from models.training.model import Encoder, Shape

CONFIG = replace(Config(), epochs=4, checkpoint_every=10**9, compiled=False)


class Bidirectional(Encoder):
    """A token sees as far ahead as behind."""

    def sees(self, distance: torch.Tensor) -> torch.Tensor:
        return distance.abs() < self.shape.sliding_window


class LastToken(Encoder):
    """The last token's state stands for the prompt."""

    def pooled(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return x[torch.arange(len(x), device=x.device), mask.sum(1) - 1]


@dataclass(frozen=True)
class Arm:
    """One thing that is changed.

    Args:
        encoder: the folder of the encoder in RUNS/arms; two arms may share one.
        tokens: that are read of a prompt at most, head and tail.
        teachers: that it is distilled by; of none it stays as it was born.
    """

    encoder: str
    shape: Shape = field(default_factory=Shape)
    kind: type[Encoder] = Encoder
    tokens: int = 512
    teachers: tuple[str, ...] = CONFIG.teachers


ARMS = {
    "as it ships: 256 wide, 1 layer, causal, mean": Arm("ships"),
    "not distilled: random weights": Arm("random", teachers=()),
    "one teacher": Arm("one-teacher", teachers=("use",)),
    "bidirectional": Arm("bidirectional", kind=Bidirectional),
    "last token": Arm("last-token", kind=LastToken),
    "2 layers": Arm("2-layers", Shape(n_layers=2)),
    "192 wide": Arm("192-wide", Shape(dim=192, n_heads=6, n_kv_heads=2, hidden_dim=768)),
    "384 wide": Arm("384-wide", Shape(dim=384, n_heads=12, n_kv_heads=3, hidden_dim=1_536)),
    "window 512": Arm("window-512", Shape(sliding_window=512)),
    "context 256": Arm("ships", tokens=256),
}


def distilled(arm: Arm, table: Path, runs: Path, device: str) -> None:
    """The arm's encoder and its curve -> RUNS/arms/ENCODER."""
    config = replace(CONFIG, shape=arm.shape, teachers=arm.teachers)
    # the same texts for every arm, whoever teaches it
    texts = corpus(table, CONFIG.teachers, config.amount, config.seed)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        for lesson in runs.glob("*.npz"):
            (scratch / lesson.name).symlink_to(lesson.resolve())
        encoder = distil.train(config, texts, scratch, arm.kind, device)
        distil.save(encoder, config, scratch, runs / "arms" / arm.encoder)


def encoder_of(arm: Arm, runs: Path) -> Encoder:
    """What `distilled` left, in fp32."""
    torch.manual_seed(CONFIG.seed)
    encoder = arm.kind(arm.shape)
    if arm.teachers:
        weights = load_file(runs / "arms" / arm.encoder / "encoder.safetensors")
        encoder.load_state_dict({name: weight.float() for name, weight in weights.items()})
    return encoder.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=HERE / "runs")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", help="one encoder's name, to distil several side by side")
    args = parser.parse_args()
    for arm in ARMS.values():
        there = (args.runs / "arms" / arm.encoder / "encoder.safetensors").exists()
        if arm.teachers and not there and args.only in (None, arm.encoder):
            distilled(arm, args.table, args.runs, args.device)


if __name__ == "__main__":
    main()
