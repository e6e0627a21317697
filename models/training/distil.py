"""Texts -> an encoder that puts them where sentence encoders put them. No label is read.

    python -m models.training.distil --table models/training/runs/table.jsonl.gz

The student reads the texts of corpus.py; a line from its vector to each teacher's space
(teachers/) is learned beside it, and left behind. Its token embeddings start where the teachers
put each piece (PCA). As no label is read, the heads can be cross-validated over one encoder.
Resumable and seeded; loss.csv beside the checkpoint is the curve.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import shutil
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from models.training.corpus import Amount, corpus
from models.training.model import Encoder, Shape
from models.training.teachers import ANY, TEACHERS, Flags, Floats, lesson, padded

HERE = Path(__file__).parent
TOKENIZER = HERE.parent / "classifier" / "tokenizer.json"


@dataclass(frozen=True)
class Config:
    """Every choice of a run."""

    shape: Shape = field(default_factory=Shape)
    seed: int = 20261125
    amount: Amount = field(default_factory=Amount)
    teachers: tuple[str, ...] = tuple(TEACHERS)
    epochs: int = 12
    batch_tokens: int = 6_144
    precision: str = "bfloat16"  # of the products; the weights are float32
    compiled: bool = True  # by torch.compile, which needs a C++ compiler
    learning_rate: float = 8e-4
    warmup_steps: int = 100
    weight_decay: float = 0.01
    checkpoint_every: int = 200  # steps
    threads: int = 1  # two wait for each other where other work shares the cores


QUICK = replace(
    Config(),
    shape=Shape(dim=128, n_layers=2, n_heads=4, hidden_dim=352),
    amount=Amount(texts=1_000, copies=0),
    teachers=("use",),
    epochs=1,
    compiled=False,
)


def first_embeddings(config: Config, runs: Path, device: str) -> Tensor:
    """Where the teachers put each piece of Mistral's, reduced by PCA -> (vocabulary, dim)."""
    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    names = (tokenizer.id_to_token(i) or "" for i in range(tokenizer.get_vocab_size()))
    pieces = [name.replace("▁", " ").strip() or "," for name in names]
    told = [lesson(name, pieces, [ANY] * len(pieces), runs, device) for name in config.teachers]
    vectors = np.concatenate([said for said, reads in told if reads.any()], axis=1)
    _, _, directions = np.linalg.svd(vectors[::4], full_matrices=False)
    reduced = vectors @ directions[: config.shape.dim].T
    return torch.from_numpy(reduced / reduced.std() * 0.05)


def batches(lengths: list[int], tokens: int, chance: random.Random) -> list[list[int]]:
    """Positions of texts of like length, about `tokens` padded tokens a batch, in random order."""
    out: list[list[int]] = [[]]
    for position in sorted(range(len(lengths)), key=lambda i: lengths[i] + chance.random() * 4):
        if out[-1] and (len(out[-1]) + 1) * lengths[position] > tokens:
            out.append([])
        out[-1].append(position)
    chance.shuffle(out)
    return out


def schedule(step: int, steps: int, warmup: int) -> float:
    """Linear warm-up, constant, and linear to a fiftieth over the last two fifths."""
    if step < warmup:
        return (step + 1) / warmup
    left = (steps - step) / (0.4 * steps)
    return max(0.02, min(1.0, left))


class Student(nn.Module):
    """The encoder and, for this stage only, a line to each teacher's space."""

    def __init__(self, encoder: Encoder, teachers: Sequence[str]) -> None:
        super().__init__()
        self.encoder = encoder
        widths = {name: TEACHERS[name].width for name in teachers}
        self.lines = nn.ModuleDict({n: nn.Linear(encoder.shape.dim, w) for n, w in widths.items()})

    def forward(self, ids: Tensor, mask: Tensor) -> list[Tensor]:
        vector = self.encoder(ids, mask)
        return [line(vector) for line in self.lines.values()]


def train(
    config: Config,
    texts: dict[str, str],
    runs: Path,
    kind: type[Encoder] = Encoder,
    device: str = "cpu",
) -> Encoder:
    """Texts and their languages -> an encoder. A killed run goes on from what is in `runs`."""
    torch.manual_seed(config.seed)
    torch.set_flush_denormal(True)
    student = Student(kind(config.shape), config.teachers)
    student.encoder.tok_embeddings.weight.data.copy_(first_embeddings(config, runs, device))
    student.to(device)
    read, languages = [*texts], [*texts.values()]
    lessons = [lesson(name, read, languages, runs, device) for name in config.teachers]
    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    ids = [e.ids[:512] or [0] for e in tokenizer.encode_batch(read, add_special_tokens=False)]
    plan = [
        batch
        for epoch in range(config.epochs)
        for batch in batches([*map(len, ids)], config.batch_tokens, random.Random(epoch))
    ]
    tokens = sum(map(len, ids))
    torch.set_num_threads(config.threads)
    print(f"{len(texts)} texts, {tokens} tokens an epoch, {len(plan)} steps", flush=True)
    optimiser = torch.optim.AdamW(
        student.parameters(),
        lr=config.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=config.weight_decay,
        fused=True,
    )
    checkpoint, curve, step = runs / "distil.pt", runs / "loss.csv", 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        student.load_state_dict(saved["student"])
        optimiser.load_state_dict(saved["optimiser"])
        step = saved["step"]
        print(f"resumed at step {step}", flush=True)
    forward = torch.compile(student, dynamic=True) if config.compiled else student
    begun, first_step, losses = time.monotonic(), step, deque[Tensor](maxlen=50)
    for batch in plan[step:]:
        for group in optimiser.param_groups:
            rate = schedule(step, len(plan), config.warmup_steps)
            group["lr"] = config.learning_rate * rate
        rows, mask = padded([ids[i] for i in batch])
        with torch.autocast(torch.device(device).type, getattr(torch, config.precision)):
            said = forward(rows.to(device), mask.to(device))
        loss = missed(said, [(vectors[batch], reads[batch]) for vectors, reads in lessons])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimiser.step()
        step += 1
        losses.append(loss.detach())
        if step % 50 == 0:
            mean = float(torch.stack([*losses]).mean())
            left = (time.monotonic() - begun) / (step - first_step) * (len(plan) - step) / 60
            print(
                f"step {step}/{len(plan)}  1 - cosine {mean:.4f}  {left:.0f} min left", flush=True
            )
            with curve.open("a", newline="", encoding="utf-8") as file:
                csv.writer(file).writerow((step, round(mean, 4)))
        if step % config.checkpoint_every == 0:
            state = {"student": student.state_dict(), "optimiser": optimiser.state_dict()}
            torch.save({**state, "step": step}, checkpoint)
    return student.encoder.eval().cpu()


def missed(said: Sequence[Tensor], told: Sequence[tuple[Floats, Flags]]) -> Tensor:
    """1 - cosine between what the student said to each teacher and what it should have.

    The mean over all pairs of a text and a teacher that reads it.
    """
    total, many = torch.zeros((), device=said[0].device), 0
    for ours, (vectors, reads) in zip(said, told, strict=True):
        theirs = torch.from_numpy(vectors).to(ours.device)
        known = torch.from_numpy(reads).to(ours.device)
        total = total + ((1 - F.cosine_similarity(ours.float(), theirs)) * known).sum()
        many += int(reads.sum())
    return total / max(many, 1)


def save(encoder: Encoder, config: Config, runs: Path, folder: Path) -> None:
    """The weights as fp16, the choices, and the curve of the run."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {k: v.to(torch.float16).contiguous() for k, v in encoder.state_dict().items()}
    save_file(weights, str(folder / "encoder.safetensors"))
    (folder / "encoder.json").write_text(json.dumps(asdict(config), indent=1) + "\n")
    if (curve := runs / "loss.csv").exists():
        shutil.copy(curve, folder / "loss.csv")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=HERE / "runs")
    parser.add_argument("--out", type=Path, default=HERE / "checkpoint")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--set", default="{}", help="fields of Config as JSON: '{\"epochs\": 3}'")
    args = parser.parse_args()
    overrides = json.loads(args.set)
    for name, kind in (("shape", Shape), ("amount", Amount)):
        if name in overrides:
            overrides[name] = kind(**overrides[name])
    config = replace(QUICK if args.quick else Config(), **overrides)
    args.runs.mkdir(parents=True, exist_ok=True)
    texts = corpus(args.table, config.teachers, config.amount, config.seed)
    encoder = train(config, texts, args.runs, device=args.device)
    save(encoder, config, args.runs, args.out)
    print(f"saved {args.out}")


if __name__ == "__main__":
    main()
