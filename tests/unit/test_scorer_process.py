"""The classifier in a process of its own: the same verdicts, and what happens when it is lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from fareway import scorer_process
from fareway.classify import Classifier
from fareway.errors import ClassifierUnavailable
from fareway.scorer_process import ScorerProcess
from fareway.scoring import Scoring, Timed

FOLDER = Path(__file__).parents[2] / "models" / "classifier"
VERSION = json.loads((FOLDER / "manifest.json").read_text())["version"]
TEXTS = [
    "What is the capital of France?",
    "",
    "two\nlines, “quotes” and \\ a backslash",
    "a lone surrogate: \ud800",
    "Wie kündige ich meinen Vertrag, und was kostet das? " * 400,
]


@pytest.fixture
async def process() -> AsyncIterator[ScorerProcess]:
    process = ScorerProcess(FOLDER, VERSION)
    yield process
    process.close()


@pytest.fixture
def classifier() -> Classifier:
    return Classifier.load(FOLDER)


async def begun(process: ScorerProcess, text: str) -> asyncio.Future[Timed]:
    """The text in the process, which takes some time to start."""
    async with asyncio.timeout(60):
        while (scoring := process.score(text)) is None:
            await asyncio.sleep(0.01)
    return scoring


def pid(process: ScorerProcess) -> int:
    assert process._process is not None
    return process._process.pid


async def test_verdicts_are_the_classifiers_own(
    process: ScorerProcess, classifier: Classifier
) -> None:
    await (await begun(process, "the first"))
    scorings = [process.score(text) for text in TEXTS]
    for text, scoring in zip(TEXTS, scorings, strict=True):
        assert scoring is not None
        verdict, took_ms = await scoring
        assert verdict == classifier.score(text)
        assert took_ms > 0


async def test_an_answer_that_nobody_waits_for_is_not_the_next_ones(
    process: ScorerProcess, classifier: Classifier
) -> None:
    (await begun(process, TEXTS[0])).cancel()
    verdict, _ = await (await begun(process, TEXTS[2]))
    assert verdict == classifier.score(TEXTS[2])


async def test_those_who_wait_learn_that_it_ended_and_it_rests(
    process: ScorerProcess, logged: Callable[[], list[dict[str, str]]]
) -> None:
    await (await begun(process, "warm"))
    os.kill(pid(process), signal.SIGSTOP)
    waiting = process.score("never answered")
    os.kill(pid(process), signal.SIGKILL)
    assert waiting is not None
    with pytest.raises(ClassifierUnavailable):
        await waiting
    assert process.score("another") is None
    assert process._process is None, "it is not started again at once"
    assert [line["message"] for line in logged()] == ["scorer process lost"]


async def test_one_that_hangs_is_ended_and_started_again(
    process: ScorerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await begun(process, "warm"))
    hung = pid(process)
    os.kill(hung, signal.SIGSTOP)
    waiting = process.score("never answered")
    monkeypatch.setattr(scorer_process, "HANGS_S", 0.0)
    assert process.score("the next finds out") is None
    assert waiting is not None
    with pytest.raises(ClassifierUnavailable):
        await waiting
    monkeypatch.undo()
    monkeypatch.setattr(process, "_rests_until", 0.0)
    await (await begun(process, "again"))
    assert pid(process) != hung


async def test_what_is_too_much_goes_another_way(
    process: ScorerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await begun(process, "warm"))
    os.kill(pid(process), signal.SIGSTOP)
    taken = [process.score("x" * 8_000) for _ in range(40)]
    full = taken.index(None)
    assert 0 < full <= scorer_process.MOST_WAITING
    assert not any(taken[full:])
    os.kill(pid(process), signal.SIGCONT)
    for scoring in taken[:full]:
        assert scoring is not None
        assert (await scoring)[0] is not None


async def test_another_version_is_of_no_use(logged: Callable[[], list[dict[str, str]]]) -> None:
    process = ScorerProcess(FOLDER, "another")
    lines: list[dict[str, str]] = []
    async with asyncio.timeout(60):
        while not (lines := lines + logged()):
            assert process.score("text") is None
            await asyncio.sleep(0.01)
    assert lines[0]["reason"] == "it has another version"
    process.close()


async def test_what_makes_no_sense_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: Callable[[], list[dict[str, str]]]
) -> None:
    odd = tmp_path / "odd"
    odd.write_text(f"#!/bin/sh\necho '\"{VERSION}\"'\nread text\necho a warning\nread more\n")
    odd.chmod(0o755)
    monkeypatch.setattr(scorer_process.sys, "executable", str(odd))
    process = ScorerProcess(FOLDER, VERSION)
    with pytest.raises(ClassifierUnavailable):
        await (await begun(process, "text"))
    assert logged()[0]["reason"] == "it makes no sense"


async def test_a_verdict_lost_with_the_process_is_made_in_a_thread(
    process: ScorerProcess, classifier: Classifier
) -> None:
    ways = Scoring(classifier, 30.0, process)
    await (await begun(process, "warm"))
    os.kill(pid(process), signal.SIGSTOP)
    scoring = ways.begin(TEXTS[0], on_the_spot=False)
    os.kill(pid(process), signal.SIGKILL)
    verdict, _ = await ways.verdict(scoring, TEXTS[0])
    assert verdict == classifier.score(TEXTS[0])


async def test_it_ends_with_its_server(process: ScorerProcess) -> None:
    await (await begun(process, "warm"))
    its = pid(process)
    process.close()
    with pytest.raises(ProcessLookupError):
        os.kill(its, 0)
    assert process.score("text") is None
