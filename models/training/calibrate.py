"""A checkpoint and the calibration fold -> a temperature for each head, and cut points.

    python -m models.training.calibrate --table models/training/runs/table.jsonl.gz

Source: Guo et al. 2017 (arXiv:1706.04599): one number a head, by the least negative
log-likelihood on prompts that were not trained on. The cuts are a suggestion for policy.toml: of
the expected complexity, each is where those of at most 1, 2, 3 or 4 are best told from the rest
(by Youden's J, 1950: the rates of both kinds count the same, however many there are).
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.training.export import CHECKPOINT, load
from models.training.train import Config, batches, read, soft_levels, tensors

FOLD = range(8, 9)
CANDIDATES = [round(float(t), 3) for t in np.geomspace(0.4, 3.0, 60)]


def logits(checkpoint: Path, table: Path) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(N, 5) and (N,) logits of the heads; (N,) levels and (N,) sensitive, nan where unknown."""
    config = Config()
    model = load(checkpoint).model
    out: list[tuple[Tensor, ...]] = []
    for batch in batches(read(table, FOLD, config), config.batch_tokens, random.Random(0)):
        ids, mask, levels, sensitive = tensors(batch)
        with torch.no_grad():
            out.append((*model(ids, mask), levels, sensitive))
    one, two, three, four = (torch.cat(parts) for parts in zip(*out, strict=True))
    return one, two, three, four


def best(loss: dict[float, float]) -> float:
    return min(loss, key=lambda t: loss[t])


def temperatures(
    complexity: Tensor, sensitivity: Tensor, levels: Tensor, sensitive: Tensor
) -> dict[str, float]:
    known, told = ~levels.isnan(), ~sensitive.isnan()
    target = soft_levels(levels[known], Config().spread)
    return {
        "complexity": best(
            {
                t: -(target * F.log_softmax(complexity[known] / t, -1)).sum(-1).mean().item()
                for t in CANDIDATES
            }
        ),
        "sensitivity": best(
            {
                t: F.binary_cross_entropy_with_logits(sensitivity[told] / t, sensitive[told]).item()
                for t in CANDIDATES
            }
        ),
    }


def cut_points(expected: Tensor, levels: Tensor) -> list[float]:
    """(N,) expected complexities and (N,) levels -> four ascending cuts."""
    grid = [round(1.2 + 0.05 * i, 2) for i in range(72)]

    def youden(cut: float, most: int) -> float:
        below = expected < cut
        easy = levels < most + 0.5
        return (below[easy].float().mean() - below[~easy].float().mean()).item()

    return [max(grid, key=lambda cut: youden(cut, most)) for most in (1, 2, 3, 4)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    args = parser.parse_args()
    path = args.checkpoint / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    torch.set_num_threads(1)
    complexity, sensitivity, levels, sensitive = logits(args.checkpoint, args.table)
    said = temperatures(complexity, sensitivity, levels, sensitive)
    known = ~levels.isnan()
    expected = torch.softmax(complexity[known] / said["complexity"], -1) @ torch.arange(1.0, 6.0)
    config["temperatures"] = said
    config["suggested_cuts"] = cut_points(expected, levels[known])
    path.write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    print(f"temperatures: {said}, cuts: {config['suggested_cuts']}")


if __name__ == "__main__":
    main()
