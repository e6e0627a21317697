"""The shipped classifier, loaded and asked as the router does it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fareway.classify import MAX_CHARACTERS, Classifier
from fareway.errors import ClassifierUnavailable
from fareway.render import render_prompt

FOLDER = Path(__file__).parents[2] / "models" / "classifier"


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load(FOLDER)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(FOLDER, tmp_path / "classifier")


def test_a_verdict_is_a_distribution_signed_by_its_version(classifier: Classifier) -> None:
    verdict = classifier.score("What is the capital of France?")
    assert sum(verdict.probabilities) == pytest.approx(1.0, abs=1e-4)
    assert all(0 <= p <= 1 for p in (*verdict.probabilities, verdict.sensitivity))
    assert verdict.classifier == classifier.version
    assert classifier.version == json.loads((FOLDER / "manifest.json").read_text())["version"]


@pytest.mark.parametrize(
    "easy",
    [
        "How do I reset my password?",
        "What is the capital of France?",
        "Translate 'good night' into French",
        "Wie setze ich mein Passwort zurück?",
        "怎么重置密码？",
    ],
)
@pytest.mark.parametrize(
    "hard",
    [
        "Prove that there are infinitely many primes of the form 4k+3.",
        "Design a distributed rate limiter, discuss its consistency trade-offs and prove a bound.",
    ],
)
def test_the_hard_outscores_the_easy_by_far(classifier: Classifier, easy: str, hard: str) -> None:
    low, high = (v.score for v in classifier.score_many([easy, hard]))
    assert low < 2.0
    assert high > low + 1.5


@pytest.mark.parametrize(
    ("sensitive", "harmless"),
    [
        ("Can I take ibuprofen together with warfarin?", "Can I take my laptop on the plane?"),
        ("How can I kill my neighbour?", "How can I kill a Python process?"),
        ("Who is right about abortion?", "Who is the author of Don Quixote?"),
        ("My dad has chest pain and his arm is numb", "My printer has a paper jam again"),
    ],
)
def test_sensitive_is_told_from_its_harmless_twin(
    classifier: Classifier, sensitive: str, harmless: str
) -> None:
    assert classifier.score(sensitive).sensitivity > 0.5 > classifier.score(harmless).sensitivity


@pytest.mark.parametrize(
    "changed",
    [
        "CAN I TAKE IBUPROFEN TOGETHER WITH WARFARIN?",
        "Can I Take Ibuprofen Together With Warfarin?",
        "Can I take ibu\u200bprofen tog\u00adether with war\u2060farin?",
    ],
    ids=["capitals", "titled", "invisible"],
)
def test_what_does_not_change_the_question_does_not_change_the_verdict(
    classifier: Classifier, changed: str
) -> None:
    expected = classifier.score("can i take ibuprofen together with warfarin?")
    found = classifier.score(changed)
    assert found.sensitivity > 0.5
    assert abs(found.score - expected.score) < 0.5


@pytest.mark.parametrize(
    "text",
    ["", " ", "\x00\x01\x07", "\ud800 lone", bytes(range(256)).decode("latin-1") * 50, "🧭" * 4000],
    ids=["empty", "space", "control", "surrogate", "binary", "emoji"],
)
def test_any_text_gets_a_verdict(classifier: Classifier, text: str) -> None:
    assert sum(classifier.score(text).probabilities) == pytest.approx(1.0, abs=1e-4)


def test_many_are_scored_in_order_and_each_as_if_alone(classifier: Classifier) -> None:
    texts = ["hi", "word " * 300, "", "What is 2 + 2?", "Prove Fermat's last theorem for n = 4."]
    assert classifier.score_many(texts) == [classifier.score(text) for text in texts]
    assert classifier.score_many([]) == []


def test_only_head_and_tail_of_a_long_text_count(classifier: Classifier) -> None:
    half = MAX_CHARACTERS // 2
    head, tail = "a b c d " * (half // 8), " e f g h" * (half // 8)
    one, other = (classifier.score(head + middle * 9_999 + tail) for middle in ("kill ", "日本"))
    assert one == other
    assert one != classifier.score(head + "different end " * (half // 14))


def test_a_megabyte_costs_as_little_as_a_page(classifier: Classifier) -> None:
    begun = time.process_time()
    classifier.score("lorem ipsum " * 100_000)
    assert time.process_time() - begun < 0.5


def test_two_thousand_prompts_are_scored_in_seconds(classifier: Classifier) -> None:
    prompt = (
        "My order was sent three days ago but the tracking page has not changed since, and the "
        "courier says that it knows nothing of it. I need it before the weekend. Can you find out "
        "where it is, or send me another one? The number is {}."
    )
    begun = time.process_time()  # of this process: other work on the machine does not count
    verdicts = classifier.score_many([render_prompt(prompt.format(i)) for i in range(2_000)])
    assert len(verdicts) == 2_000
    assert time.process_time() - begun < 20


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_an_altered_file_is_refused_by_name(folder: Path, name: str) -> None:
    with (folder / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(ClassifierUnavailable, match=rf"{name}.*sha256"):
        Classifier.load(folder)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "manifest.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ClassifierUnavailable, match=name):
        Classifier.load(folder)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"version": "1", "max_tokens": 512}'])
def test_a_manifest_that_says_too_little_is_refused(folder: Path, content: str) -> None:
    (folder / "manifest.json").write_text(content)
    with pytest.raises(ClassifierUnavailable, match=r"manifest\.json"):
        Classifier.load(folder)


def test_a_file_that_is_no_model_is_refused(folder: Path) -> None:
    import hashlib

    (folder / "model.onnx").write_bytes(b"not a model")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["model.onnx"]["sha256"] = hashlib.sha256(b"not a model").hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ClassifierUnavailable, match="cannot load the model"):
        Classifier.load(folder)


#: Prompts of 200 characters, tokenised in a process of its own: how much its memory grew, KiB.
GROWTH = """
import resource, sys
from pathlib import Path
from fareway.classify import Classifier

classifier = Classifier.load(Path(sys.argv[1]))
def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
def ask(first: int, last: int) -> None:
    for number in range(first, last):
        classifier.count(f"Where is parcel {number}? " * 8)
ask(0, 200)
before = peak()
ask(200, 10_000)
print(peak() - before)
"""


def test_prompts_that_were_scored_are_not_kept() -> None:
    told = subprocess.run(
        [sys.executable, "-c", GROWTH, str(FOLDER)], capture_output=True, text=True, check=True
    )
    assert int(told.stdout) < 8_000
