"""A checkpoint and the calibration fold -> how to weigh its two parts, and cut points.

    python -m models.training.calibrate --table models/training/runs/table.jsonl.gz

Of each head, the weights of the decoder's and of the bag's logits that are likeliest on prompts
that neither was trained on: a temperature (Guo et al. 2017, arXiv:1706.04599), one for each part.
The cuts are a suggestion for policy.toml: of the expected complexity, each is where those of at
most 1, 2, 3 or 4 are best told from the rest (by Youden's J, 1950: the rates of both kinds count
the same, however many there are).
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from models.training.export import CHECKPOINT, load
from models.training.train import Config, batches, read, soft_levels, tensors

FOLD = range(8, 9)


def logits(checkpoint: Path, table: Path) -> tuple[Tensor, ...]:
    """(2, N, 5) and (2, N) logits of decoder and bag; (N,) levels, (N,) sensitive, nan unknown."""
    served, config = load(checkpoint), Config()
    out: list[tuple[Tensor, ...]] = []
    for batch in batches(read(table, FOLD, config), config.batch_tokens, random.Random(0)):
        ids, mask, levels, sensitive = tensors(batch)
        with torch.no_grad():
            decoder, bag = served.model(ids, mask), served.bag(ids, mask)
        out.append((decoder[0], bag[0], decoder[1], bag[1], levels, sensitive))
    one, two, three, four, levels, sensitive = (torch.cat(p) for p in zip(*out, strict=True))
    return torch.stack((one, two)), torch.stack((three, four)), levels, sensitive


def weights(loss: Callable[[Tensor], Tensor]) -> list[float]:
    """The (2,) weights of the least loss, neither of them negative."""
    logs = torch.full((2,), -0.7, requires_grad=True)
    optimiser = torch.optim.LBFGS([logs], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = loss(logs.exp())
        value.backward()
        return value

    optimiser.step(closure)
    return [round(weight, 4) for weight in logs.exp().tolist()]


def blend(
    complexity: Tensor, sensitivity: Tensor, levels: Tensor, sensitive: Tensor
) -> dict[str, list[float]]:
    known, told = ~levels.isnan(), ~sensitive.isnan()
    target = soft_levels(levels[known], Config().spread)

    def complexity_loss(weight: Tensor) -> Tensor:  # (2,) x (2, N, 5) -> (N, 5)
        mixed = torch.einsum("p,pnc->nc", weight, complexity[:, known])
        return -(target * F.log_softmax(mixed, -1)).sum(-1).mean()

    def sensitivity_loss(weight: Tensor) -> Tensor:  # (2,) x (2, N) -> (N,)
        mixed = weight @ sensitivity[:, told]
        return F.binary_cross_entropy_with_logits(mixed, sensitive[told])

    return {"complexity": weights(complexity_loss), "sensitivity": weights(sensitivity_loss)}


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
    said = blend(complexity, sensitivity, levels, sensitive)
    mixed = torch.einsum("p,pnc->nc", torch.tensor(said["complexity"]), complexity)
    expected = torch.softmax(mixed, -1) @ torch.arange(1.0, 6.0)
    known = ~levels.isnan()
    config["blend"] = said
    config["suggested_cuts"] = cut_points(expected[known], levels[known])
    path.write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    print(f"blend: {said}, cuts: {config['suggested_cuts']}")


if __name__ == "__main__":
    main()
