"""The checkpoint, its fp32 graph and the shipped int8 model say the same; the shape is Mistral's.

Runs in .venv-train: PYTHONPATH=shared .venv-train/bin/python -m pytest tests/models
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

import tomllib  # noqa: E402

from sklearn.metrics import roc_auc_score  # noqa: E402

from fareway.classify import Classifier  # noqa: E402
from fareway.render import render_prompt  # noqa: E402
from models.training import complexity, heads, stored  # noqa: E402
from models.training.export import (  # noqa: E402
    CHECKPOINT,
    CLASSIFIER,
    OUTPUTS,
    TOLERANCE,
    NotTheSame,
    export_fp32,
    largest_difference,
    load,
    session,
)
from models.training.served import BEGINNING, STRIDE, WIDE, WINDOW  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

POLICY = Path(__file__).parents[2] / "shared" / "fareway" / "policy.toml"

STARTS = (
    "How do I {verb} my {noun}?",
    "Write a {lang} function that can {verb} a {noun}",
    "Explain {noun} in {n} sentences",
    "What is {n} times {m} minus {n}?",
    "Prove that no {noun} of order {n} is isomorphic to one of order {m}",
    "Design a {noun} service for {n} million users and analyse how it fails",
    "Summarise: the {noun} was sent on day {n}, but nobody could {verb} it until day {m}.",
    "Is it dangerous to {verb} a {noun} after taking {n} pills?",
    "Traduis en français : le {noun} est prêt",
    "请解释{noun}，并给出{n}个例子",
    "{noun} {verb} {n}",
    "def f(x):\n    return x ** {n} + {m}\n\nWhy does this fail for a {noun}?",
    "Find all integers x with x^{n} + {m}x = {n} and prove that there are no others",
    "Compare {lang} and Python for a {noun} and recommend one",
)
WORDS = {
    "verb": ["reset", "cancel", "sort", "parse", "kill", "encrypt", "translate", "delete", "share"],
    "noun": ["password", "graph", "queue", "invoice", "group", "matrix", "compiler", "parcel"],
    "lang": ["Rust", "Go", "Java", "C++", "SQL", "Haskell"],
}


def prompts(count: int) -> Iterator[str]:
    """Varied prompts that nobody trained on; every fourth is two or more put together."""
    chance = random.Random(11)
    for number in range(count):
        parts = [
            chance.choice(STARTS).format(
                n=chance.randrange(2, 99),
                m=chance.randrange(2, 99),
                **{slot: chance.choice(words) for slot, words in WORDS.items()},
            )
            for _ in range(1 if number % 4 else chance.randrange(2, 12))
        ]
        yield "\n".join(parts)


@pytest.fixture(scope="module")
def fp32(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("fp32") / "fp32.onnx"
    assert export_fp32(CHECKPOINT, path) <= TOLERANCE
    return session(path)


def test_the_fp32_graph_is_the_checkpoint(fp32: Any) -> None:
    assert largest_difference(load(CHECKPOINT), fp32) <= TOLERANCE


def test_a_graph_of_other_weights_would_be_seen(fp32: Any) -> None:
    served = load(CHECKPOINT)
    with torch.no_grad():
        served.encoder.layers[0].attention.wq.weight.mul_(1.5)
    assert largest_difference(served, fp32) > TOLERANCE


def test_an_export_that_differs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.training.export.TOLERANCE", -1.0)
    with pytest.raises(NotTheSame):
        export_fp32(CHECKPOINT, tmp_path / "fp32.onnx")
    assert not (tmp_path / "fp32.onnx").exists()


def test_a_head_says_in_numpy_what_it_says_in_the_graph() -> None:
    """What heads.py fits is what export.py serves: n-grams, length and all."""
    served, dim = load(CHECKPOINT), shape()["dim"]
    ids = [[5, 900, 31_000, 17], [40, 41, 42, 43, 44, 45, 40, 41]]
    fitted = stored.read(CHECKPOINT, dim)
    for tokens in ids:
        row = torch.tensor([tokens])
        with torch.no_grad():
            said = dict(zip(OUTPUTS, served(row, torch.ones_like(row)), strict=True))
        seen = heads.features_of(said["state"].numpy(), [tokens])
        expected = complexity.probabilities(fitted["complexity"].logits(seen))
        assert np.allclose(said["complexity"].numpy(), expected, atol=1e-4)
        sensitive = heads.sigmoid(fitted["sensitivity"].logits(seen))[:, 0]
        assert np.allclose(said["sensitivity"].numpy(), sensitive, atol=1e-4)


def test_text_that_follows_lowers_the_sensitivity_by_no_more_than_the_margin() -> None:
    served, chance = load(CHECKPOINT), torch.Generator().manual_seed(2)
    for length in (8, 20, 60):
        ids = torch.randint(3, 30_000, (1, length + 150), generator=chance)
        with torch.no_grad():
            alone, longer = (
                torch.logit(served(part, torch.ones_like(part))[2], 1e-6)
                for part in (ids[:, :length], ids)
            )
        assert float(longer) >= float(alone) - BEGINNING.margin - 1e-3


def test_a_text_is_as_sensitive_as_its_gravest_window_less_the_margin() -> None:
    served, chance = load(CHECKPOINT), torch.Generator().manual_seed(3)
    ids = torch.randint(3, 30_000, (1, 200), generator=chance)
    mask = torch.ones_like(ids)
    with torch.no_grad():
        said = torch.logit(served(ids, mask)[2], 1e-6)
        states = served.encoder.states(ids, mask)
        before = torch.nn.functional.pad(ids[:, :-1], (1, 0), value=1)
        grams = served.over_grams(ids) + served.over_grams(heads.pair_bucket(before, ids))
        column = (grams * served.largest)[:, :, served.place : served.place + 1]
        for start in range(0, 176, STRIDE):
            part = slice(start, start + WIDE)
            sums = (values[:, part].sum(1, keepdim=True) for values in (states, column))
            tokens = torch.full((1, 1, 1), float(states[:, part].shape[1]))
            assert float(said) >= float(served.sensitivity(*sums, tokens, WINDOW)) - 1e-3


def test_padding_does_not_change_a_verdict() -> None:
    served = load(CHECKPOINT)
    ids = torch.randint(3, 30_000, (1, 40), generator=torch.Generator().manual_seed(1))
    padded = torch.cat((ids, torch.zeros(1, 25, dtype=torch.long)), dim=1)
    mask = (torch.arange(65) < 40).long()[None]
    with torch.no_grad():
        alone, beside = served(ids, torch.ones_like(ids)), served(padded, mask)
    for one, other in zip(alone, beside, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_the_shipped_model_agrees_with_fp32_on_tiers(fp32: Any) -> None:
    """At least 97 % of the tiers, by the policy's cuts; and the sensitive lane as often."""
    policy = tomllib.loads(POLICY.read_text(encoding="utf-8"))
    cuts, threshold = policy["complexity"]["cuts"], policy["sensitivity"]["threshold"]
    classifier = Classifier.load(CLASSIFIER)
    texts = list(prompts(600))
    assert len(set(texts)) > 500
    shipped = classifier.score_many(texts)
    same_tier = same_lane = 0
    seen = set()
    for verdict, ids in zip(shipped, classifier.tokens(texts), strict=True):
        tokens = np.asarray([ids])
        feeds = {"ids": tokens, "mask": np.ones_like(tokens)}
        complexity, sensitivity = fp32.run(["complexity", "sensitivity"], feeds)
        tier = np.digitize(np.digitize(complexity[0] @ np.arange(1, 6), cuts) + 1, [3, 5])
        ours = np.digitize(np.digitize(verdict.score, cuts) + 1, [3, 5])
        seen.add(int(ours))
        same_tier += int(tier == ours)
        same_lane += int((verdict.sensitivity >= threshold) == (sensitivity[0] >= threshold))
    assert seen >= {0, 1}, "the prompts meet more than one tier"
    assert same_tier / len(texts) >= 0.97
    assert same_lane / len(texts) >= 0.97


def test_int8_costs_at_most_half_a_point_of_auc(fp32: Any) -> None:
    """On prompts that nobody trained on: sensitive or not, and complexity above 2 or not."""
    lines = (Path(__file__).parent / "look_alikes.jsonl").read_text(encoding="utf-8").splitlines()
    prompts = [json.loads(line) for line in lines]
    classifier = Classifier.load(CLASSIFIER)
    texts = [render_prompt(prompt["text"]) for prompt in prompts]
    whole: list[tuple[float, float]] = []
    for ids in classifier.tokens(texts):
        tokens = np.asarray([ids])
        feeds = {"ids": tokens, "mask": np.ones_like(tokens)}
        complexity, sensitivity = fp32.run(["complexity", "sensitivity"], feeds)
        whole.append((float(complexity[0] @ np.arange(1, 6)), float(sensitivity[0])))
    shipped = [(v.score, v.sensitivity) for v in classifier.score_many(texts)]
    answers = (
        [prompt["complexity"] > 2 for prompt in prompts],
        [prompt["sensitive"] is not None for prompt in prompts],
    )
    for place, answer in enumerate(answers):
        full, int8 = (
            float(roc_auc_score(answer, [scores[place] for scores in said]))
            for said in (whole, shipped)
        )
        print(f"AUC {('complexity', 'sensitivity')[place]}: fp32 {full:.4f}, int8 {int8:.4f}")
        assert full > 0.7
        assert full - int8 <= 0.005


def test_the_shipped_model_is_small_whole_and_int8() -> None:
    path = CLASSIFIER / "model.onnx"
    assert path.stat().st_size < 20_000_000
    assert {f.name for f in CLASSIFIER.iterdir()} == {
        "model.onnx",
        "tokenizer.json",
        "manifest.json",
        "MODEL_CARD.md",
    }
    weights = [t for t in onnx.load(path).graph.initializer if np.prod(t.dims) >= 1024]
    assert all(t.data_location == onnx.TensorProto.DEFAULT for t in weights)
    eight_bit = {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}
    decide = ("over_state", "alone", "inward", "outward")
    wide = [t for t in weights if len(t.dims) > 1 and t.name not in decide]
    assert {t.data_type for t in wide} <= eight_bit
    vocabulary = [t for t in weights if t.dims[0] == vocabulary_size()]
    assert [list(t.dims)[1] for t in vocabulary] == [shape()["dim"]]
    assert len([t for t in weights if len(t.dims) > 1]) >= 1 + 7 * shape()["n_layers"]


def shape() -> dict[str, Any]:
    shape: dict[str, Any] = json.loads((CHECKPOINT / "encoder.json").read_text())["shape"]
    return shape


def vocabulary_size() -> int:
    return len(json.loads((CLASSIFIER / "tokenizer.json").read_text())["model"]["vocab"])


def test_the_architecture_is_mistrals() -> None:
    model = load(CHECKPOINT).encoder
    attention, feed = model.layers[0].attention, model.layers[0].feed_forward
    facts = shape()
    assert facts["n_kv_heads"] < facts["n_heads"], "grouped-query attention"
    assert attention.wk.out_features == facts["n_kv_heads"] * facts["dim"] // facts["n_heads"]
    assert {feed.w1.out_features, feed.w3.out_features, feed.w2.in_features} == {
        facts["hidden_dim"]
    }, "SwiGLU"
    assert not any(name.endswith("bias") for name, _ in model.layers.named_parameters())
    assert facts["vocab_size"] == vocabulary_size() == model.tok_embeddings.num_embeddings


def test_a_token_sees_its_window_and_nothing_later() -> None:
    """Through one layer, a changed token moves itself and the window after it."""
    from models.training.model import Encoder, Shape

    torch.manual_seed(3)
    small = Shape(
        vocab_size=50,
        dim=16,
        n_layers=1,
        n_heads=4,
        n_kv_heads=2,
        hidden_dim=24,
        sliding_window=4,
        dropout=0.0,
    )
    model = Encoder(small).eval()
    states: list[torch.Tensor] = []
    model.norm.register_forward_hook(lambda _m, _i, out: states.append(out[0]))
    ids = torch.randint(0, 50, (1, 12))
    changed = ids.clone()
    changed[0, 5] = (ids[0, 5] + 1) % 50
    with torch.no_grad():
        model(ids, torch.ones_like(ids))
        model(changed, torch.ones_like(ids))
    moved = ((states[0] - states[1]).abs().amax(-1) > 1e-7).nonzero().flatten().tolist()
    assert moved == [5, 6, 7, 8]


def test_the_manifest_tells_what_was_trained() -> None:
    manifest = json.loads((CLASSIFIER / "manifest.json").read_text())
    assert manifest["config"] == json.loads((CHECKPOINT / "encoder.json").read_text())
    assert manifest["version"].endswith(manifest["files"]["model.onnx"]["sha256"][:8])
    assert {"seed", "commit", "data", "metrics", "max_tokens"} <= set(manifest)
