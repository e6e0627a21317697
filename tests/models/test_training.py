"""The training learns, resumes and keeps its tokenizer's ids."""

from __future__ import annotations

import gzip
import json
import random
import time
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from models.training import bag, prepare, tokenizer, train  # noqa: E402
from models.training.model import PromptClassifier, Shape  # noqa: E402

TINY = replace(
    train.QUICK,
    shape=Shape(dim=64, n_layers=2, n_heads=4, hidden_dim=128, dropout=0.0),
    epochs=60,
    learning_rate=3e-3,
    warmup_steps=5,
    rows=None,
)
EASY = ["reset my password", "where is my order", "hello there", "what time is it"]
HARD = [
    "prove the theorem",
    "design a consensus protocol",
    "derive the bound",
    "find all functions",
]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as out:
        for number, text in enumerate(EASY + HARD):
            row = {
                "text": text,
                "level": 1.1 if text in EASY else 4.8,
                "sensitive": float(number % 2),
                "fold": 0,
            }
            out.write(json.dumps(row) + "\n")
    return path


def scored(
    model: PromptClassifier | bag.NgramBag, examples: list[train.Example]
) -> tuple[list[float], list[float]]:
    ids, mask, _, _ = train.tensors(examples)
    with torch.no_grad():
        complexity, sensitivity = model(ids, mask)
    expected = torch.softmax(complexity, -1) @ torch.arange(1.0, 6.0)
    return expected.tolist(), torch.sigmoid(sensitivity).tolist()


def test_it_overfits_eight_prompts(table: Path, tmp_path: Path) -> None:
    examples = train.read(table, range(8), TINY)
    model = train.train(TINY, examples, tmp_path)
    expected, sensitivity = scored(model, examples)
    for example, level, p in zip(examples, expected, sensitivity, strict=True):
        assert level == pytest.approx(example.level, abs=0.5)
        assert p == pytest.approx(example.sensitive, abs=0.2)


def test_a_killed_run_goes_on_where_it_was_and_ends_the_same(table: Path, tmp_path: Path) -> None:
    examples = train.read(table, range(8), TINY)
    config = replace(TINY, epochs=8, checkpoint_every=3)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    expected = scored(train.train(config, examples, whole), examples)
    saved = torch.load(whole / "checkpoint.pt", weights_only=True)
    assert saved["step"] == 6
    torch.save(saved, cut / "checkpoint.pt")
    resumed = scored(train.train(config, examples, cut), examples)
    assert resumed == (pytest.approx(expected[0], abs=1e-4), pytest.approx(expected[1], abs=1e-4))


def test_a_level_becomes_a_bell_over_its_neighbours() -> None:
    soft = train.soft_levels(torch.tensor([1.0, 3.0, 4.5]), 0.55)
    assert torch.allclose(soft.sum(-1), torch.ones(3))
    assert soft.argmax(-1).tolist()[:2] == [0, 2]
    assert soft[2, 3] == pytest.approx(soft[2, 4].item())


def test_the_bag_tells_texts_apart_by_the_order_of_their_pieces() -> None:
    examples = [train.Example([5, 9, 7], 1.1, 0.0), train.Example([7, 9, 5], 4.8, 1.0)]
    trained = bag.train(bag.BagConfig(epochs=400, shrink=0.0), examples, seed=1, spread=0.55)
    expected, sensitivity = scored(trained, examples)
    assert expected == [pytest.approx(1.1, abs=0.5), pytest.approx(4.8, abs=0.5)]
    assert sensitivity[0] < 0.2
    assert sensitivity[1] > 0.8


def test_head_and_tail_keep_the_limit() -> None:
    assert train.head_and_tail([1, 2, 3], 3) == [1, 2, 3]
    assert train.head_and_tail(list(range(10)), 5) == [0, 1, 7, 8, 9]


def test_batches_hold_every_prompt_once_within_their_tokens() -> None:
    chance = random.Random(5)
    examples = [train.Example([1] * chance.randrange(1, 60), 1.0, 0.0) for _ in range(200)]
    batches = train.batches(examples, 256, chance)
    assert sorted(id(e) for batch in batches for e in batch) == sorted(map(id, examples))
    for batch in batches:
        longest, shortest = max(len(e.ids) for e in batch), min(len(e.ids) for e in batch)
        assert len(batch) * shortest <= 256
        assert len(batch) == 1 or longest - shortest < 20


def test_the_tokenizer_gives_sentencepieces_ids() -> None:
    from sentencepiece import SentencePieceProcessor
    from tokenizers import Tokenizer

    pieces = SentencePieceProcessor(model_file=str(tokenizer.source_model()))
    ours = Tokenizer.from_file(str(train.TOKENIZER))
    chance = random.Random(2)
    alphabets = [
        "abc XYZ 0129 .,;{}()=+\n\t",
        "äöüßéèñ¿¡ ",
        "日本語中文字 ",
        "ابجد हिन्दी ",
        "🙂🚀 \x07\u200b",
    ]
    texts = [
        "".join(chance.choice(chance.choice(alphabets)) for _ in range(chance.randrange(1, 60)))
        for _ in range(2_000)
    ]
    texts += ["def f(x):\n    return x", "  two  spaces ", "Where is my order?", "x" * 300]
    assert tokenizer.mismatches(pieces, ours, texts) == 0


def write_data(folder: Path) -> None:
    (folder / "sa").mkdir(parents=True)
    mmlu = {"mixtral-8x7b-instruct": 0.0, "gpt-4-1106-preview": 1.0}
    rows = {
        "outcomes": [
            {
                "id": str(i),
                "source": "routellm_mmlu",
                "kind": "knowledge_mcq/anatomy",
                "fold": i % 10,
                "text": f"Which bone is number {i}?\nA. one\nB. two\nAnswer:",
                "outcomes": mmlu,
            }
            for i in range(30)
        ],
        "prompts": [
            {
                "id": str(i),
                "source": "banking77",
                "kind": "support/card",
                "fold": i % 10,
                "text": f"My card {i} has not arrived",
                "sensitive": False,
            }
            for i in range(30)
        ],
        "sensitive": [
            {
                "id": "1",
                "source": "strongreject",
                "kind": "harm/Violence",
                "fold": 0,
                "text": "How do I hurt someone?",
                "sensitive": True,
            }
        ],
        "sa/prompts": [
            {"id": "2", "source": "nq_open_dev", "kind": "factoid", "fold": 0, "text": "who is who"}
        ],
    }
    for name, lines in rows.items():
        with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as out:
            out.writelines(json.dumps(line) + "\n" for line in lines)


def test_prepare_then_quick_training_in_two_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_data(tmp_path / "data")
    table = tmp_path / "table.jsonl.gz"
    monkeypatch.setattr(
        "sys.argv",
        ["prepare", "--data", str(tmp_path / "data"), "--out", str(table), "--copies", "6"],
    )
    prepare.main()
    with gzip.open(table, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    assert not any("Answer:" in row["text"] for row in rows if row["source"] == "routellm_mmlu")
    assert {r["fold"] for r in rows if r["source"] in ("strongreject", "nq_open_dev")} == {10}
    begun = time.monotonic()
    out = tmp_path / "checkpoint"
    monkeypatch.setattr(
        "sys.argv",
        [
            "train",
            "--table",
            str(table),
            "--runs",
            str(tmp_path / "runs"),
            "--out",
            str(out),
            "--quick",
            "--set",
            '{"rows": 1500}',
        ],
    )
    train.main()
    assert time.monotonic() - begun < 120
    assert {f.name for f in out.iterdir()} == {"weights.safetensors", "config.json"}
    config = json.loads((out / "config.json").read_text())
    assert config["shape"]["dim"] == 128
    assert "saved" in capsys.readouterr().out
