"""`fareway train`: what labels may and may not do to the shipped classifier."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from fareway.classify import Classifier
from fareway.cli import app
from fareway.errors import ClassifierUnavailable
from fareway.graft import graft
from fareway.render import render_prompt
from fareway.train import Compared, Correction, auc, expected, fit, held_out
from tests.builders import ROOT, a_policy

SHIPPED = ROOT / "models" / "classifier"
PROMPTS = [
    json.loads(line)["text"]
    for line in (ROOT / "tests" / "models" / "golden.jsonl").read_text("utf-8").splitlines()
]


def world(rows, width=8, seed=1):
    """Random vectors of N prompts, and a head that believes in each complexity alike."""
    states = np.random.default_rng(seed).normal(size=(rows, width))
    return [f"prompt {n}" for n in range(rows)], states, np.full((rows, 5), 0.2)


def right(p, labels):
    return (p.argmax(1) == labels).astype(float)


def test_what_hangs_on_the_prompt_is_learned():
    texts, states, before = world(600)
    labels = np.where(states[:, 0] > 0, 4, 1)
    after = held_out(texts, states, before, labels)
    assert right(after, labels).mean() > 0.9
    assert Compared(right(before, labels), right(after, labels)).better


def test_labels_at_random_are_not_better():
    texts, states, before = world(600)
    labels = np.random.default_rng(2).integers(0, 5, 600)
    after = held_out(texts, states, before, labels)
    assert not Compared(right(before, labels), right(after, labels)).better


def test_a_gain_within_chance_is_none():
    before = np.array([0.0] * 10 + [1.0] * 90)
    after = np.ones(100)
    assert Compared(before, after).better
    after[-8:] = 0  # ten more are right and eight fewer
    assert not Compared(before, after).better
    assert not Compared(before, before).better


def test_few_labels_move_a_certain_head_little_and_many_as_far_as_they_say():
    before = np.tile([0.9, 0.025, 0.025, 0.025, 0.025], (2000, 1))
    _, states, _ = world(2000)
    moved = []
    for rows in (30, 2000):
        correction = fit(states[:rows], before[:rows], np.full(rows, 4))
        moved.append(correction.apply(states, before)[:, 4].mean())
    assert 0.1 < moved[0] < 0.7
    assert moved[1] > 0.95


def test_without_labels_against_it_a_head_stays_as_it_is():
    _, states, before = world(200)
    labels = np.arange(200) % 5  # as many of each, as the head believes
    after = fit(np.zeros_like(states), before, labels).apply(states, before)
    assert np.abs(after - before).max() < 1e-3


def test_equal_prompts_are_never_on_both_sides():
    """Labels that can only be known by heart: the same prompt in other folds would tell them."""
    texts, states, before = world(40, width=200)
    labels = np.tile(np.random.default_rng(3).integers(0, 5, 40), 6)
    often = np.tile(states, (6, 1)), np.tile(before, (6, 1)), labels
    honest = held_out(texts * 6, *often)
    by_heart = held_out([str(n) for n in range(240)], *often)
    assert right(honest, labels).mean() < 0.35
    assert right(by_heart, labels).mean() > 0.7


def test_auc_counts_pairs_in_order_and_ties_half():
    positive = np.array([True, False, True, False])
    assert auc(np.array([0.9, 0.1, 0.4, 0.6]), positive) == 0.75
    assert auc(np.array([0.5, 0.5, 0.5, 0.5]), positive) == 0.5
    assert auc(np.array([0.9, 0.8, 0.7, 0.6]), np.ones(4, bool)) is None


def a_correction(outputs, size=1.0):
    chance = np.random.default_rng(4)
    width = Classifier.load(SHIPPED).states([[1]]).shape[1]
    return Correction(size * chance.normal(size=(width, outputs)), chance.normal(size=outputs))


def said(classifier, texts):
    """(N, C) vectors, (N, 5) and (N, 2) probabilities of the texts, one by one."""
    verdicts = classifier.score_many(texts)
    sensitivity = np.array([v.sensitivity for v in verdicts])
    return (
        classifier.states(classifier.tokens(texts)),
        np.array([v.probabilities for v in verdicts]),
        np.stack([1 - sensitivity, sensitivity], axis=1),
    )


def test_the_new_graph_computes_the_correction_and_can_be_corrected_again(tmp_path):
    texts = [render_prompt(text) for text in PROMPTS[::5]]
    corrections = {"complexity": a_correction(5), "sensitivity": a_correction(2)}
    source, seen = SHIPPED, {Classifier.load(SHIPPED).version}
    for name in ("once", "twice"):
        states, complexity, sensitivity = said(Classifier.load(source), texts)
        version = graft(source, tmp_path / name, corrections, {"rows": 50})
        corrected = Classifier.load(tmp_path / name)
        assert corrected.version == version not in seen
        same, got_complexity, got_sensitivity = said(corrected, texts)
        assert np.array_equal(states, same)
        for got, output, before in (
            (got_complexity, "complexity", complexity),
            (got_sensitivity, "sensitivity", sensitivity),
        ):
            assert np.abs(got - corrections[output].apply(states, before)).max() < 1e-4
        source, seen = tmp_path / name, seen | {version}


def test_the_manifest_says_what_it_is_and_no_longer_what_it_was(tmp_path):
    graft(SHIPPED, tmp_path / "new", {"complexity": a_correction(5)}, {"rows": 50})
    old, new = (
        json.loads((folder / "manifest.json").read_text("utf-8"))
        for folder in (SHIPPED, tmp_path / "new")
    )
    content = (tmp_path / "new" / "model.onnx").read_bytes()
    assert new["files"]["model.onnx"] == {
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
    }
    assert new["trained"] == {"from": old["version"], "rows": 50}
    assert "metrics" not in new
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == [
        "manifest.json",
        "model.onnx",
        "tokenizer.json",
    ]


def test_what_was_impossible_can_still_be_learned_in_the_graph_as_in_the_fit(tmp_path):
    flat = a_correction(5, size=0.0)
    certain = replace(flat, bias=np.array([0.0, 0, 0, 0, 50.0]))
    graft(SHIPPED, tmp_path / "new", {"complexity": certain}, {})
    verdict = Classifier.load(tmp_path / "new").score("What is the capital of France?")
    assert verdict.probabilities[4] == pytest.approx(1.0)


def test_neither_the_trained_classifier_nor_a_strangers_folder_is_written_over(tmp_path):
    copy = shutil.copytree(SHIPPED, tmp_path / "classifier")
    with pytest.raises(ClassifierUnavailable, match="give another --out"):
        graft(copy, copy, {}, {})
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "mine.txt").write_text("dear")
    with pytest.raises(ClassifierUnavailable, match="holds other files"):
        graft(SHIPPED, tmp_path / "letters", {}, {})


@pytest.fixture(scope="module")
def shipped():
    """What the shipped classifier and policy make of each prompt: complexity and sensitivity."""
    verdicts = Classifier.load(SHIPPED).score_many([render_prompt(text) for text in PROMPTS])
    policy = a_policy()
    return [
        (policy.complexity(v.score), v.sensitivity >= policy.sensitivity.threshold)
        for v in verdicts
    ]


@pytest.fixture
def data(tmp_path):
    def write(*lines):
        file = tmp_path / "labels.jsonl"
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        file.write_text("\n".join(texts) + "\n", encoding="utf-8")
        return file

    return write


@pytest.fixture
def run(tmp_path):
    def run(file):
        out = tmp_path / "classifier"
        result = CliRunner().invoke(
            app, ["train", "--data", str(file), "--out", str(out), "--workers", "2"]
        )
        return result, out

    return run


def test_a_users_own_scale_is_learned_and_used(run, data, shipped, monkeypatch):
    """A user for whom all is one harder than the shipped model thinks."""
    rows = [
        {"text": text, "complexity": min(5, complexity + 1), "task": "any"}
        for text, (complexity, _) in zip(PROMPTS, shipped, strict=True)
    ]
    result, out = run(data(*rows))
    assert result.exit_code == 0, result.output
    assert "better" in result.stdout
    assert "sensitivity stays as it is" in result.stderr
    texts = [render_prompt(f"{text} Thanks!") for text in PROMPTS[:60]]
    old, new = (said(Classifier.load(folder), texts) for folder in (SHIPPED, out))
    assert expected(new[1]).mean() > expected(old[1]).mean() + 0.4
    assert np.array_equal(old[2], new[2])
    monkeypatch.setenv("FAREWAY_CLASSIFIER_DIR", str(out))
    explained = CliRunner().invoke(app, ["route", "Hello"]).stdout
    assert Classifier.load(out).version in " ".join(explained.split())


@pytest.mark.parametrize(
    ("label", "why"),
    [
        (lambda text, was: was, "already right"),
        (lambda text, was: 1 + hashlib.sha256(text.encode()).digest()[0] % 5, "at random"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_head_that_is_not_better_on_held_out_rows_is_refused(run, data, shipped, label, why):
    rows = [
        {"text": text, "complexity": label(text, complexity), "sensitive": bool(flagged)}
        for text, (complexity, flagged) in zip(PROMPTS, shipped, strict=True)
    ]
    result, out = run(data(*rows))
    assert result.exit_code == 1
    assert "nothing is written" in result.stderr
    assert not out.exists()


def test_false_alarms_can_be_unlearned_and_what_is_missed_is_told(run, data, shipped):
    """A user whose sensitive prompts are the long ones, whatever they say."""
    rows = [
        {"text": text, "complexity": complexity, "sensitive": len(text) > 80}
        for text, (complexity, _) in zip(PROMPTS, shipped, strict=True)
    ]
    result, out = run(data(*rows))
    sensitive = sum(len(text) > 80 for text in PROMPTS)
    assert result.exit_code == 0, result.output
    for figure in (f"missed of {sensitive} sensitive", "false alarms of", "AUC, sensitive"):
        assert figure in result.stdout
    assert "corrected sensitivity" in result.stderr
    old, new = (said(Classifier.load(folder), PROMPTS[:30]) for folder in (SHIPPED, out))
    assert np.array_equal(old[1], new[1])


def test_too_few_prompts_are_refused(run, data):
    rows = [{"text": f"Hello {n}", "complexity": 1} for n in range(29)]
    result, out = run(data(*rows, rows[0]))
    assert result.exit_code == 1
    assert "29 different prompts are labelled; 30 are needed" in " ".join(result.stderr.split())
    assert not out.exists()


def test_bad_lines_are_named_and_left_out(run, data):
    result, _ = run(
        data(
            "{broken",
            {"text": "x", "complexity": 6},
            {"text": "x", "complexity": "3"},
            {"text": "x", "complexity": True},
            {"text": "x", "complexity": 2, "sensitive": "no"},
            {"complexity": 2},
            {"id": 1, "text": "x", "error": "timeout"},
            {"text": "x", "complexity": 2},
        )
    )
    said = " ".join(result.stderr.split())
    for line in range(1, 7):
        assert f"left out: line {line}: " in said
    assert "left out: 1 rows without a complexity" in said
    assert "1 different prompts are labelled" in said


@pytest.mark.parametrize("package", ["scipy", "onnx"])
def test_a_missing_extra_is_named_with_the_way_to_get_it(run, data, monkeypatch, package):
    for module in ("fareway.train", "fareway.learn", "fareway.graft"):
        monkeypatch.delitem(sys.modules, module)
    for module in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    result, _ = run(data({"text": "x", "complexity": 1}))
    assert result.exit_code == 1
    assert f"{package} is missing: pip install 'fareway[train]'" in result.stderr
