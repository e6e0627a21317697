"""Which pieces and pairs of pieces a text has -> logits of both heads; trained beside the decoder.

    python -m models.training.bag --table models/training/runs/table.jsonl.gz

A linear model over hashed n-grams, as tf-idf with logistic regression is, inside of the same
graph: rare words tell more than a small decoder learns of them in an hour. calibrate.py weighs
the two on a fold that neither was trained on.
Source of the hashing: Weinberger et al. 2009 (arXiv:0902.2206).
"""

from __future__ import annotations

import argparse
import json
import random
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from models.training.train import HERE, Config, Example, batches, read, soft_levels, tensors


@dataclass(frozen=True)
class BagConfig:
    pieces: int = 32_768
    pairs: int = 98_304  # hash buckets
    epochs: int = 6
    batch_tokens: int = 16_384
    learning_rate: float = 0.02
    shrink: float = 2e-7  # L2, of every weight


class NgramBag(nn.Module):
    """Token ids -> (complexity logits (B, 5), sensitivity logit (B,))."""

    def __init__(self, config: BagConfig) -> None:
        super().__init__()
        self.config = config
        self.weights = nn.Embedding(config.pieces + config.pairs, 6)
        self.bias = nn.Parameter(torch.zeros(6))
        self.length = nn.Parameter(torch.zeros(6))  # of the logarithm of the tokens
        nn.init.zeros_(self.weights.weight)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """ids (B, T) int64; mask (B, T) int64."""
        left = F.pad(ids[:, :-1], (1, 0), value=1)  # the piece before; 1 opens a text
        pairs = (left * 1_000_003 + ids * 7_919) % self.config.pairs + self.config.pieces
        seen = mask[:, :, None].to(torch.float32)  # (B, T, 1)
        tokens = seen.sum(1).clamp(min=1.0)  # (B, 1)
        summed = ((self.weights(ids) + self.weights(pairs)) * seen).sum(1)  # (B, 6)
        out = summed / tokens.sqrt() + self.length * tokens.log() + self.bias
        return out[:, :5], out[:, 5]


def train(config: BagConfig, examples: list[Example], seed: int, spread: float) -> NgramBag:
    torch.manual_seed(seed)
    bag = NgramBag(config)
    optimiser = torch.optim.Adam(bag.parameters(), lr=config.learning_rate)
    for epoch in range(config.epochs):
        total = 0.0
        plan = batches(examples, config.batch_tokens, random.Random(seed + epoch))
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * (1 - epoch / config.epochs)
        for batch in plan:
            ids, mask, levels, sensitive = tensors(batch)
            complexity, sensitivity = bag(ids, mask)
            known, told = ~levels.isnan(), ~sensitive.isnan()
            loss = config.shrink * bag.weights.weight.square().sum()
            if known.any():
                target = soft_levels(levels[known], spread)
                loss = loss - (target * F.log_softmax(complexity[known], -1)).sum(-1).mean()
            if told.any():
                loss = loss + F.binary_cross_entropy_with_logits(sensitivity[told], sensitive[told])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.item()
        print(f"epoch {epoch + 1}/{config.epochs}  loss {total / len(plan):.4f}", flush=True)
    return bag.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=HERE / "checkpoint")
    parser.add_argument("--set", default="{}", help="fields of BagConfig as JSON")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    config, run = BagConfig(**json.loads(args.set)), Config()
    bag = train(config, read(args.table, range(8), run), run.seed, run.spread)
    args.out.mkdir(parents=True, exist_ok=True)
    state = {name: value.half().contiguous() for name, value in bag.state_dict().items()}
    save_file(state, str(args.out / "bag.safetensors"))
    print(f"saved {args.out / 'bag.safetensors'}")


if __name__ == "__main__":
    main()
